"""A handler that takes its time: meanwhile uvicorn reads nothing, not even a pong."""

import asyncio
from contextlib import suppress

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()


@app.websocket("/ws")
async def work(websocket: WebSocket) -> None:
    await websocket.accept()
    with suppress(WebSocketDisconnect):
        while True:
            text = await websocket.receive_text()
            await asyncio.sleep(5)  # a slow query, a language model, somebody else's API
            await websocket.send_text(f"done: {text}")
