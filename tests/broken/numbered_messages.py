"""A chat that takes two messages for one: both were typed offline, and got the same id."""

from itertools import count
from secrets import token_hex
from typing import Any

from fastapi import FastAPI, WebSocket

app = FastAPI()
said: dict[str, str] = {}


@app.websocket("/ws")
async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json({"type": "connected", "id": token_hex(10)})
    async for frame in websocket.iter_json():
        said.setdefault(frame["id"], frame["text"])
        await websocket.send_json({"type": "ack", "id": frame["id"]})


@app.get("/said")
async def all_of_it() -> dict[str, str]:
    return said


class Client:
    """What a page does: it numbers what it says, behind the id of its connection."""

    def __init__(self) -> None:
        self.connection_id: str | None = None
        self.numbers = count()

    def receive(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "connected":
            self.connection_id = frame["id"]

    def message(self, text: str) -> dict[str, str]:
        return {"id": f"{self.connection_id}-{next(self.numbers)}", "text": text}
