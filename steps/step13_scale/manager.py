"""Knows who is connected, in which room and in how many windows, and is the only one who sends."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from .events import Pass
from .messages import Joined, Left, Message, ServerMessage, Welcome
from .outbox import Outbox


class ConnectionManager:
    """The connections of one process, by room and by person, and who is at the other processes.

    What is empty is not kept.
    """

    changed: asyncio.Event  # somebody has come or gone, and the others do not know it yet

    def __init__(self) -> None:
        self.rooms: dict[str, dict[Outbox, str]] = {}  # who is behind each
        self.people: dict[str, set[Outbox]] = {}
        self.positions: dict[str, int] = {}  # of the reader of the log, in each room
        self.elsewhere: dict[str, dict[str, list[str]]] = {}  # by process, by room
        self.deadlines: dict[str, float] = {}  # by process: when it counts as crashed
        self.heard = 0.0  # when we have last heard ourselves

    @contextmanager
    def connected(self, outbox: Outbox, room: str, name: str, newest: int) -> Iterator[None]:
        """Have somebody in a room. Who is there in three windows comes once and goes once."""
        first = name not in self.here(room)
        self.positions.setdefault(room, newest)
        self.rooms.setdefault(room, {})[outbox] = name
        self.people.setdefault(name, set()).add(outbox)
        self.changed.set()
        try:
            self.send([outbox], Welcome(name=name, here=self.here(room)))
            if first:
                self.broadcast(room, Joined(name=name), skip=name)
            yield
        finally:
            self.changed.set()
            del self.rooms[room][outbox]
            self.people[name].remove(outbox)
            if not self.people[name]:
                del self.people[name]
            if not self.rooms[room]:
                del self.rooms[room], self.positions[room]
            elif name not in self.here(room):
                self.broadcast(room, Left(name=name))

    def here(self, room: str) -> list[str]:
        """Return the names of who is in a room, each once."""
        names = set(self.rooms.get(room, {}).values())
        return sorted(names.union(*(rooms.get(room, ()) for rooms in self.elsewhere.values())))

    def windows(self) -> dict[str, list[str]]:
        """Return who is in which room of this process, each as often as they have windows."""
        return {room: list(members.values()) for room, members in self.rooms.items()}

    def everyone(self) -> list[str]:
        """Return who is in any room of any process, each as often as they have windows."""
        processes = self.windows(), *self.elsewhere.values()
        return [name for rooms in processes for names in rooms.values() for name in names]

    def heard_from(self, process: str, rooms: dict[str, list[str]], deadline: float) -> None:
        """Note who is at another process, and tell those here who has come and gone by it."""
        before = {room: set(self.here(room)) for room in self.rooms}
        self.elsewhere[process], self.deadlines[process] = rooms, deadline
        if not rooms:
            del self.elsewhere[process], self.deadlines[process]
        for room, names in before.items():
            now = set(self.here(room))
            for name in now - names:
                self.broadcast(room, Joined(name=name))
            for name in names - now:
                self.broadcast(room, Left(name=name))

    def forget_silent(self, now: float, beat: float) -> None:
        """Take processes that have crashed for empty. We hear ourselves, so we would hear them."""
        if now - self.heard > 2 * beat:
            # We have not heard anybody. Let them speak first.
            self.deadlines = dict.fromkeys(self.deadlines, now + 3 * beat)
        self.heard = now
        for process, deadline in list(self.deadlines.items()):
            if deadline < now:
                self.heard_from(process, {}, 0)

    def end(self, name: str, jti: str, code: int, reason: str) -> None:
        """End all connections that a sign-in has let in."""
        for outbox in self.people.get(name, ()):
            if outbox.jti == jti:
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

    def pass_on(self, event: Pass) -> None:
        """Send a frame to those here whom it is for."""
        if event.room is not None:
            self.broadcast(event.room, event.frame, event.skip)
        else:
            people = self.people if event.people is None else event.people
            self.send(set().union(*(self.people.get(name, ()) for name in people)), event.frame)


manager = ConnectionManager()
