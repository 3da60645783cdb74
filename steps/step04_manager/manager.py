"""Knows who is connected, and is the only one who sends."""

from contextlib import suppress

from fastapi import WebSocket, WebSocketDisconnect

from .messages import ServerMessage


class ConnectionManager:
    """The connections of one process. Another process has a manager, and clients, of its own."""

    def __init__(self) -> None:
        self.connections: set[WebSocket] = set()

    async def connect(self, websocket: WebSocket) -> None:
        """Complete the handshake and take the connection into the books."""
        await websocket.accept()
        self.connections.add(websocket)

    def disconnect(self, websocket: WebSocket) -> None:
        """Take the connection out of the books, if it is in them."""
        self.connections.discard(websocket)

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
