"""The log in a file: for one process, or for all on one machine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from time import time
from uuid import UUID

from .database import Database
from .log import EVENTS, PAGE, RECENT
from .messages import Message

POLL = 0.1  # seconds: as long may another process's messages wait, for a file calls nobody


class SqliteLog:
    """A MessageLog."""

    def __init__(self, path: str) -> None:
        self.file = Database(path)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Have the log open. What is followed begins here."""
        with self.file.opened():
            [(self.read,)] = self.file.rows("SELECT coalesce(max(rowid), 0) FROM messages")
            [(self.heard,)] = self.file.rows("SELECT coalesce(max(number), 0) FROM events")
            self.news = asyncio.Event()
            yield

    async def append(self, room: str, name: str, text: str, key: UUID | None) -> int:
        """Keep a message and return its id: of what has been kept with this key, the id of then."""
        number = await self.file.run(self.insert, room, name, text, str(key) if key else None)
        self.news.set()
        return number

    def insert(self, room: str, name: str, text: str, key: str | None) -> int:
        """Keep a message and its key, both or neither."""
        with self.file.connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            # A key is its sender's own: nobody can use up that of somebody else.
            same = "SELECT id FROM keys WHERE room = ? AND name = ? AND key = ?"
            for (number,) in self.file.rows(same, room, name, key):
                return int(number)
            [(number,)] = self.file.rows(
                "INSERT INTO messages SELECT ?1, coalesce(max(id), 0) + 1, ?2, ?3, ?4"
                " FROM messages WHERE room = ?1 RETURNING id",
                *(room, name, text, datetime.now(UTC).isoformat()),
            )
            if key:
                self.file.rows("INSERT INTO keys VALUES (?, ?, ?, ?)", room, name, key, number)
        return int(number)

    async def since(self, room: str, last: int) -> list[Message]:
        """Return the messages after an id, the oldest first, a page of them at most."""
        after = "SELECT * FROM messages WHERE room = ? AND id > ? ORDER BY id LIMIT ?"
        return [message(*row) for row in await self.file.ask(after, room, last, PAGE)]

    async def newest(self, room: str) -> int:
        """Return the id of the newest message in a room, or 0."""
        newest = "SELECT coalesce(max(id), 0) FROM messages WHERE room = ?"
        [(number,)] = await self.file.ask(newest, room)
        return int(number)

    async def tell(self, event: str) -> None:
        """Have all processes hear an event, this one too."""
        await self.file.ask("INSERT INTO events (at, event) VALUES (?, ?)", time(), event)
        self.news.set()
        # A few, from the old end: one thread works for all.
        await self.file.ask(
            "DELETE FROM events WHERE number IN (SELECT number FROM events ORDER BY number LIMIT 9)"
            " AND (at < ? OR number <= (SELECT max(number) FROM events) - ?)",
            *(time() - RECENT, EVENTS),
        )

    async def follow(self, positions: dict[str, int]) -> AsyncIterator[str | tuple[str, Message]]:
        """Yield events, and each message after the position of its room; advance the positions."""
        messages = "SELECT rowid, * FROM messages WHERE rowid > ? ORDER BY rowid LIMIT ?"
        events = "SELECT number, event FROM events WHERE number > ? ORDER BY number LIMIT ?"
        while True:
            self.news.clear()
            told = await self.file.ask(events, self.heard, PAGE)
            for self.heard, event in told:
                yield event
            said = await self.file.ask(messages, self.read, PAGE)
            for self.read, room, number, *rest in said:
                if positions.get(room, number) < number:
                    positions[room] = number
                    yield room, message(room, number, *rest)
            if not said and not told:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL):
                        await self.news.wait()

    async def claim(self, fact: str, value: str, seconds: float) -> str:
        """Have a fact for so long, if there is no other by this name; return what it is now."""
        await self.file.ask("DELETE FROM facts WHERE until <= ?", time())
        [(current,)] = await self.file.ask(
            "INSERT INTO facts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET"
            " until = max(until, excluded.until * (value = excluded.value)) RETURNING value",
            *(fact, value, time() + seconds),
        )
        return str(current)

    async def look(self, fact: str) -> str | None:
        """Return a fact, if there is one."""
        current = "SELECT value FROM facts WHERE fact = ? AND until > ?"
        return next((value for (value,) in await self.file.ask(current, fact, time())), None)

    async def drop(self, fact: str, value: str) -> bool:
        """Forget a fact, if it is this; return whether it was."""
        same = "DELETE FROM facts WHERE fact = ? AND value = ? AND until > ? RETURNING 1"
        return bool(await self.file.ask(same, fact, value, time()))


def message(_: str, number: int, name: str, text: str, at: datetime) -> Message:
    """Return the message of a row."""
    return Message(id=number, name=name, text=text, at=at)
