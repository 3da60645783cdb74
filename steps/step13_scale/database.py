"""A file of SQLite, which comes with Python, and the one thread that waits for the disk."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from .log import answering

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages
    (room TEXT, id INTEGER, name TEXT, text TEXT, at TEXT, PRIMARY KEY (room, id));
CREATE TABLE IF NOT EXISTS keys
    (room TEXT, name TEXT, key TEXT, id INTEGER, PRIMARY KEY (room, name, key));
CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, at REAL, event TEXT);
CREATE TABLE IF NOT EXISTS facts (fact TEXT PRIMARY KEY, value TEXT, until REAL);
"""

T = TypeVar("T")


class Database:
    """A file of SQLite. Its methods raise Unavailable while another process has it locked."""

    def __init__(self, path: str) -> None:
        self.path = path

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Have the file open. Raises sqlite3.Error if it cannot be."""
        # In autocommit each statement is a transaction of its own, and over when it returns.
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        # One thread waits for the disk, for all: SQLite takes one writer at a time anyway.
        with closing(connection) as self.connection, ThreadPoolExecutor(1) as self.thread:
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.executescript(SCHEMA)
            yield

    def rows(self, statement: str, *values: object) -> list[Any]:
        """Return the rows that a statement finds, and have it over."""
        return self.connection.execute(statement, values).fetchall()

    async def run(self, work: Callable[..., T], *values: object) -> T:
        """Have the thread do something with the file, after all that was asked for before."""
        with answering(sqlite3.OperationalError):
            return await asyncio.get_running_loop().run_in_executor(self.thread, work, *values)

    async def ask(self, statement: str, *values: object) -> list[Any]:
        """Have the thread return the rows that a statement finds."""
        return await self.run(self.rows, statement, *values)
