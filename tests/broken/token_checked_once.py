"""A chat that looks at the token of those who come, and never again."""

import jwt
from fastapi import FastAPI, WebSocket, WebSocketException

KEY = "anybody who reads this can sign a token"

app = FastAPI()


@app.websocket("/ws")
async def chat(websocket: WebSocket, token: str) -> None:
    try:
        claims = jwt.decode(token, KEY, ["HS256"])
    except jwt.InvalidTokenError:
        raise WebSocketException(1008, "That is no good token.") from None
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{claims['sub']}: {text}")
