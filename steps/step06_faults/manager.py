"""Knows who is connected under which name, and is the only one who sends."""

from contextlib import suppress
from itertools import count

from fastapi import WebSocket, WebSocketDisconnect, WebSocketException

from .messages import ServerMessage


class ConnectionManager:
    """The connections of one process. Another process has a manager, and clients, of its own."""

    def __init__(self) -> None:
        self.connections: dict[WebSocket, str] = {}

    def connect(self, websocket: WebSocket, name: str) -> str:
        """Take the connection into the books; return its name.

        Who brings no name gets one. Raises WebSocketException, which closes the connection: 1008
        for a name that is no good, 4409 for one that is taken.
        """
        taken = set(self.connections.values())
        name = name.strip() or next(f"guest-{n}" for n in count(1) if f"guest-{n}" not in taken)
        if len(name) > 20 or not name.isprintable():
            raise WebSocketException(1008, "A name is at most 20 printable characters.")
        if name in taken:
            raise WebSocketException(4409, "Somebody here has that name. Try another.")
        # Nothing is awaited here: of two who want one name, one gets it.
        self.connections[websocket] = name
        return name

    def disconnect(self, websocket: WebSocket) -> None:
        """Take the connection out of the books, if it is in them."""
        self.connections.pop(websocket, None)

    async def send(self, websocket: WebSocket, message: ServerMessage) -> bool:
        """Send to one client; return whether it was still there. Waits while its buffer is full."""
        # To a client that is gone the first send raises the one, and every later send the other.
        with suppress(WebSocketDisconnect, RuntimeError):
            await websocket.send_text(message.model_dump_json())
            return True
        return False

    async def broadcast(self, message: ServerMessage, skip: WebSocket | None = None) -> int:
        """Send to all but `skip`, one after the other; return how many were still there."""
        # A copy: clients may come and go while we wait for one of them.
        others = [websocket for websocket in self.connections if websocket is not skip]
        return sum([await self.send(websocket, message) for websocket in others])
