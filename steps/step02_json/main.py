"""Answers one client in JSON, whatever that client sends."""

from contextlib import suppress
from pathlib import Path

from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect

from .caching import revalidate
from .messages import Message, Say, ServerMessage, read

app = FastAPI(title="Step 2: JSON", dependencies=[Depends(revalidate)])


@app.websocket("/ws")
async def talk(websocket: WebSocket) -> None:
    """Answer every frame, with a message or with an error, until the client leaves."""
    await websocket.accept()
    with suppress(WebSocketDisconnect):
        # receive() takes any frame; receive_text() raises KeyError on a binary one.
        while (event := await websocket.receive())["type"] == "websocket.receive":
            frame = read(event.get("text"))
            reply: ServerMessage = Message(text=frame.text) if isinstance(frame, Say) else frame
            await websocket.send_text(reply.model_dump_json())


app.frontend("/", directory=Path(__file__).parent / "static")
