"""Passes what one client says to all the others."""

from contextlib import suppress
from pathlib import Path

from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect

from .caching import revalidate
from .messages import Error, Message, Say, ServerMessage, read

app = FastAPI(title="Step 3: broadcast", dependencies=[Depends(revalidate)])
connections: set[WebSocket] = set()


@app.websocket("/ws")
async def talk(websocket: WebSocket) -> None:
    """Pass on what this client says, until it leaves."""
    await websocket.accept()
    connections.add(websocket)
    try:
        while (event := await websocket.receive())["type"] == "websocket.receive":
            match read(event.get("text")):
                case Say(text=text):
                    await broadcast(Message(text=text), sender=websocket)
                case Error() as error:
                    await send(websocket, error)
    finally:
        connections.discard(websocket)


async def broadcast(message: ServerMessage, sender: WebSocket) -> None:
    """Send a message to everyone but its sender."""
    # The difference is a new set: clients may come and go while we wait for one of them.
    for websocket in connections - {sender}:
        await send(websocket, message)


async def send(websocket: WebSocket, message: ServerMessage) -> None:
    """Send a message to one client. That this client is gone is no error of whoever spoke."""
    # To a client that is gone the first send raises the one, and every later send the other.
    with suppress(WebSocketDisconnect, RuntimeError):
        await websocket.send_text(message.model_dump_json())


app.frontend("/", directory=Path(__file__).parent / "static")
