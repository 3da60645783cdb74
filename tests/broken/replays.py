"""Two ways to send what somebody missed: the first leaves a gap, the second says things twice."""

import asyncio
from typing import Any

from fastapi import FastAPI, WebSocket

app = FastAPI()
log: list[dict[str, Any]] = []
connections: set[WebSocket] = set()


@app.websocket("/replay-then-join")
async def replay_then_join(websocket: WebSocket, last: int = 0) -> None:
    await websocket.accept()
    missed = [message for message in log if message["id"] > last]
    await busy()  # the answer of the database is on its way
    for message in missed:
        await websocket.send_json(message)
    connections.add(websocket)
    await talk(websocket)


@app.websocket("/join-then-replay")
async def join_then_replay(websocket: WebSocket, last: int = 0) -> None:
    await websocket.accept()
    connections.add(websocket)
    await busy()  # the question to the database is on its way
    missed = [message for message in log if message["id"] > last]
    for message in missed:
        await websocket.send_json(message)
    await talk(websocket)


async def busy() -> None:
    await asyncio.sleep(0.5)


async def talk(websocket: WebSocket) -> None:
    try:
        async for text in websocket.iter_text():
            log.append({"id": len(log) + 1, "text": text})
            for connection in list(connections):
                await connection.send_json(log[-1])
    finally:
        connections.discard(websocket)
