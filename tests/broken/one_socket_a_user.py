"""A chat that keeps one socket for each user: the one that came last."""

from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
online: dict[str, WebSocket] = {}


async def broadcast(message: dict[str, Any]) -> None:
    for websocket in list(online.values()):
        await websocket.send_json(message)


@app.websocket("/ws")
async def chat(websocket: WebSocket, name: str) -> None:
    await websocket.accept()
    online[name] = websocket
    await websocket.send_json({"type": "welcome", "name": name, "here": list(online)})
    try:
        while True:
            text = (await websocket.receive_json())["text"]
            at = datetime.now(UTC).isoformat()
            await broadcast({"type": "message", "name": name, "text": text, "at": at})
    except WebSocketDisconnect:
        online.pop(name, None)
        await broadcast({"type": "left", "name": name})
