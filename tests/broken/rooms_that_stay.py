"""Rooms in a defaultdict: to ask for one is to have it, and nobody takes it away."""

from collections import defaultdict

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()


class ConnectionManager:
    def __init__(self) -> None:
        self.rooms: defaultdict[str, set[WebSocket]] = defaultdict(set)

    async def connect(self, websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        self.rooms[room].add(websocket)

    def disconnect(self, websocket: WebSocket, room: str) -> None:
        self.rooms[room].discard(websocket)

    async def broadcast(self, room: str, text: str) -> None:
        for websocket in list(self.rooms[room]):
            await websocket.send_text(text)


manager = ConnectionManager()


@app.websocket("/ws/{room}")
async def chat(websocket: WebSocket, room: str) -> None:
    await manager.connect(websocket, room)
    try:
        while True:
            await manager.broadcast(room, await websocket.receive_text())
    except WebSocketDisconnect:
        manager.disconnect(websocket, room)


@app.get("/rooms/{room}")
async def how_many(room: str) -> dict[str, int]:
    return {"here": len(manager.rooms[room])}
