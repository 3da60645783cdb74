"""Knows who is connected, in which room and in how many windows, and is the only one who sends."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from .messages import Joined, Left, Message, Notice, ServerMessage, Welcome, Whispered
from .outbox import Outbox


class ConnectionManager:
    """The connections of one process, by room and by person. What is empty is not kept."""

    def __init__(self) -> None:
        self.rooms: dict[str, dict[Outbox, str]] = {}  # who is behind each
        self.people: dict[str, set[Outbox]] = {}

    @contextmanager
    def connected(self, outbox: Outbox, room: str, name: str) -> Iterator[None]:
        """Have somebody in a room. Who is there in three windows comes once and goes once."""
        first = name not in self.here(room)
        self.rooms.setdefault(room, {})[outbox] = name
        self.people.setdefault(name, set()).add(outbox)
        try:
            self.send([outbox], Welcome(name=name, here=self.here(room)))
            if first:
                self.broadcast(room, Joined(name=name), skip=name)
            yield
        finally:
            del self.rooms[room][outbox]
            self.people[name].remove(outbox)
            if not self.people[name]:
                del self.people[name]
            if not self.rooms[room]:
                del self.rooms[room]
            elif name not in self.here(room):
                self.broadcast(room, Left(name=name))

    def here(self, room: str) -> list[str]:
        """Return the names of who is in a room, each once."""
        return sorted(set(self.rooms.get(room, {}).values()))

    def end(self, name: str, code: int, reason: str) -> None:
        """End all connections of somebody."""
        for outbox in self.people.get(name, ()):
            outbox.end(code, reason)

    def send(self, outboxes: Iterable[Outbox], message: ServerMessage) -> None:
        """Send to some clients. Nobody is waited for."""
        for outbox in outboxes:
            outbox.put(message.model_dump_json())

    def broadcast(self, room: str, message: ServerMessage, skip: str = "") -> None:
        """Send to all in a room but the person `skip`."""
        members = self.rooms.get(room, {})
        self.send([outbox for outbox, name in members.items() if name != skip], message)

    def publish(self, room: str, message: Message) -> None:
        """Send what has just been kept to all in a room who have heard what was before it."""
        for outbox in self.rooms.get(room, ()):
            outbox.put_next(message)

    def whisper(self, message: Whispered) -> bool:
        """Send to all windows of two people; return whether the other one has any."""
        to = self.people.get(message.to)
        if to is None:
            return False
        self.send(to | self.people[message.name], message)
        return True

    def announce(self, notice: Notice) -> int:
        """Send to everyone in every room; return how many connections they have."""
        everyone = [outbox for tabs in self.people.values() for outbox in tabs]
        self.send(everyone, notice)
        return len(everyone)


manager = ConnectionManager()
