"""A manager whose methods are one level too deep: they are local names of `__init__`."""

from fastapi import FastAPI, WebSocket

app = FastAPI()


class ConnectionManager:
    def __init__(self) -> None:
        self.connections: list[WebSocket] = []

        async def connect(self: "ConnectionManager", websocket: WebSocket) -> None:
            await websocket.accept()
            self.connections.append(websocket)


manager = ConnectionManager()


@app.websocket("/ws")
async def talk(websocket: WebSocket) -> None:
    await manager.connect(websocket)
