"""Knows who is connected under which name, and is the only one who sends."""

from fastapi import WebSocketException

from .messages import ServerMessage
from .outbox import Outbox


class ConnectionManager:
    """The connections of one process. Another process has a manager, and clients, of its own."""

    def __init__(self) -> None:
        self.connections: dict[Outbox, str] = {}

    def connect(self, outbox: Outbox, name: str) -> None:
        """Take the connection into the books.

        Raises WebSocketException, which closes the connection: 4409 for a name that is here.
        """
        if name in self.connections.values():
            raise WebSocketException(4409, "You are here already, in another window.")
        self.connections[outbox] = name

    def disconnect(self, outbox: Outbox) -> None:
        """Take the connection out of the books, if it is in them."""
        self.connections.pop(outbox, None)

    def end(self, name: str, code: int, reason: str) -> None:
        """End the connection of somebody, if there is one."""
        for outbox, connected in self.connections.items():
            if connected == name:
                outbox.end(code, reason)

    def send(self, outbox: Outbox, message: ServerMessage) -> None:
        """Send to one client."""
        outbox.put(message.model_dump_json())

    def broadcast(self, message: ServerMessage, skip: Outbox | None = None) -> int:
        """Send to all but `skip`; return how many they are. Nobody is waited for."""
        others = [outbox for outbox in self.connections if outbox is not skip]
        for outbox in others:
            self.send(outbox, message)
        return len(others)


manager = ConnectionManager()
