"""A manager whose method has one name where it is defined and another where it is used."""

from fastapi import FastAPI, WebSocket

app = FastAPI()


class ConnectionManager:
    def __init__(self) -> None:
        self.connections: list[WebSocket] = []

    async def connect(self, websocket: WebSocket) -> None:
        await websocket.accept()
        self.connections.append(websocket)

    async def broadcast(self, text: str) -> None:
        for websocket in list(self.connections):
            await websocket.send_text(text)


manager = ConnectionManager()


@app.websocket("/ws")
async def talk(websocket: WebSocket) -> None:
    await manager.connect(websocket)
    while True:
        text = await websocket.receive_text()
        await manager.brodcast(text)
