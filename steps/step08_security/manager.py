"""Knows who is connected under which name, and is the only one who sends."""

from itertools import count

from fastapi import WebSocketException

from .messages import ServerMessage
from .outbox import Outbox


class ConnectionManager:
    """The connections of one process. Another process has a manager, and clients, of its own."""

    def __init__(self) -> None:
        self.connections: dict[Outbox, str] = {}

    def connect(self, outbox: Outbox, name: str) -> str:
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
        self.connections[outbox] = name
        return name

    def disconnect(self, outbox: Outbox) -> None:
        """Take the connection out of the books, if it is in them."""
        self.connections.pop(outbox, None)

    def send(self, outbox: Outbox, message: ServerMessage) -> None:
        """Send to one client."""
        outbox.put(message.model_dump_json())

    def broadcast(self, message: ServerMessage, skip: Outbox | None = None) -> int:
        """Send to all but `skip`; return how many they are. Nobody is waited for."""
        others = [outbox for outbox in self.connections if outbox is not skip]
        for outbox in others:
            self.send(outbox, message)
        return len(others)
