"""Keeps what was said, in a file that outlives the process: SQLite, which comes with Python."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from fastapi import FastAPI

from .manager import manager
from .messages import Message
from .settings import settings

PAGE = 50  # messages: as many are read at once, and shown to who enters for the first time

T = TypeVar("T")


class History:
    """The messages of all rooms. In each room their ids grow by one, from 1 on."""

    @contextmanager
    def opened(self, url: str) -> Iterator[None]:
        """Keep them in the file of `sqlite:///chat.db`. Raises sqlite3.Error if it cannot be."""
        # In autocommit each statement is a transaction of its own, and over when it returns.
        database = sqlite3.connect(
            url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
        )
        # One thread waits for the disk, for all: SQLite takes one writer at a time anyway.
        with closing(database) as self.database, ThreadPoolExecutor(1) as self.thread:
            self.database.execute("PRAGMA journal_mode = WAL")
            self.database.execute(
                "CREATE TABLE IF NOT EXISTS messages (room TEXT, id INTEGER,"
                " name TEXT, text TEXT, at TEXT, PRIMARY KEY (room, id))"
            )
            self.database.execute(
                "CREATE TABLE IF NOT EXISTS keys (room TEXT, name TEXT, key TEXT,"
                " id INTEGER, PRIMARY KEY (room, name, key))"
            )
            yield

    async def run(self, work: Callable[[], T]) -> T:
        """Do something with the file, after all that was asked for before."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, work)

    async def append(self, room: str, name: str, text: str, key: UUID | None) -> int:
        """Keep a message and return its id: of what has been kept with this key, the id of then.

        It is published once it is safe, whatever has become of who waits for it here.
        """
        loop = asyncio.get_running_loop()

        def insert() -> int:
            now = datetime.now(UTC)
            with self.database:  # the message and its key are kept both, or neither
                self.database.execute("BEGIN IMMEDIATE")
                # A key is its sender's own: nobody can use up that of somebody else.
                known = self.database.execute(
                    "SELECT id FROM keys WHERE room = ? AND name = ? AND key = ?",
                    (room, name, str(key)),
                ).fetchone()
                if known:
                    return int(known[0])
                [(number,)] = self.database.execute(
                    "INSERT INTO messages SELECT ?, coalesce(max(id), 0) + 1, ?, ?, ?"
                    " FROM messages WHERE room = ? RETURNING id",
                    (room, name, text, now.isoformat(), room),
                )
                if key:
                    self.database.execute(
                        "INSERT INTO keys VALUES (?, ?, ?, ?)", (room, name, str(key), number)
                    )
            message = Message(id=number, name=name, text=text, at=now)
            loop.call_soon_threadsafe(manager.publish, room, message)
            return int(number)

        return await self.run(insert)

    async def since(self, room: str, last: int) -> list[Message]:
        """Return the messages after an id, the oldest first, a page of them at most."""
        query = (
            "SELECT id, name, text, at FROM messages WHERE room = ? AND id > ? ORDER BY id LIMIT ?"
        )
        rows = await self.run(lambda: self.database.execute(query, (room, last, PAGE)).fetchall())
        return [Message(id=row[0], name=row[1], text=row[2], at=row[3]) for row in rows]

    async def start(self, room: str, last: int | None) -> int:
        """Return the id after which a client is to hear everything."""
        query = "SELECT coalesce(max(id), 0) FROM messages WHERE room = ?"
        rows = await self.run(lambda: self.database.execute(query, (room,)).fetchall())
        newest: int = rows[0][0]
        # More than there are: it means those of another file, in which ids have gone further.
        if last is None or last > newest:
            return max(0, newest - PAGE)
        return last


history = History()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Have the history open from before the first request until after the last."""
    try:
        with history.opened(settings.log):
            yield
    except sqlite3.Error as wrong:
        cure = "Its folder has to be there, and writable."
        raise RuntimeError(f"CHAT_LOG ({settings.log}): {wrong}. {cure}") from None
