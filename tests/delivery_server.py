"""Step 12 in processes that start in a moment, to be killed at any point, and ways to break it."""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from time import time
from typing import Self
from uuid import UUID

import jwt
import uvicorn

from steps.step12_delivery import history
from steps.step12_delivery.main import app
from steps.step12_delivery.settings import settings
from tests.conftest import Host

SIGNED_WITH = "thirty-two letters, or some more."
UNTIL = int(time()) + 3600  # one for all: with another it would be another sign-in

History = history.History
append = History.append
Append = Callable[..., Awaitable[int]]


def proof(name: str) -> dict[str, str]:
    """Return the headers by which somebody is signed in, here and after each restart."""
    claims = {"sub": name, "jti": name, "exp": UNTIL}
    return {"authorization": f"Bearer {jwt.encode(claims, SIGNED_WITH, 'HS256')}"}


class Killable(Host):
    """A server that is forked from a process which has imported it already: that takes 50 ms.

    With `change`, that takes the place of the history's `append`.
    """

    def __init__(self, log: str, change: Append | None = None) -> None:
        # It outlives the processes: who comes between two of them waits for the next.
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.path = "/ws/lobby"
        self.log = log
        self.change = change
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__, "pytest"])
        self._process: multiprocessing.process.BaseProcess | None = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it, and take its port away."""
        self.kill()
        self.listener.close()

    @property
    def runs(self) -> bool:
        """Whether there is a process now."""
        return self._process is not None and self._process.is_alive()

    def start(self) -> None:
        """Start a process on the same port, and with the log that it has now."""
        arguments = (self.listener, self.log, self.change)
        self._process = self._context.Process(target=run, args=arguments, daemon=True)
        self._process.start()

    def kill(self) -> None:
        """Kill it, if it runs (SIGKILL): it has no time to say goodbye."""
        if self._process:
            self._process.kill()
            self.ended()

    def stop(self) -> None:
        """Have it stand still from now on (SIGSTOP)."""
        if self._process and self._process.pid:
            os.kill(self._process.pid, signal.SIGSTOP)

    def ended(self) -> None:
        """Wait until it has ended, by whatever."""
        if self._process:
            self._process.join()
            self._process.close()
            self._process = None

    def restart(self) -> None:
        """Kill it, if it runs, and start it again."""
        self.kill()
        self.start()


def run(listener: socket.socket, log: str, change: Append | None) -> None:
    """Serve step 12, changed, until the process is killed."""
    logging.disable()
    settings.log, settings.secret, settings.rate = log, SIGNED_WITH, 1000
    if change:
        History.append = change  # type: ignore[assignment, method-assign]
    uvicorn.Server(uvicorn.Config(app, log_config=None)).run([listener])


# Killed at a point


async def dies_before_it_is_kept(*_: object) -> int:
    """Kill the process when somebody says something."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


async def dies_before_it_is_acknowledged(
    self: History, room: str, name: str, text: str, key: UUID | None
) -> int:
    """Kill the process when a message is safe, and who said it has not been told."""
    number = await append(self, room, name, text, key)
    os.kill(os.getpid(), signal.SIGKILL)
    return number


# Broken


async def forgets_keys(self: History, room: str, name: str, text: str, _: UUID | None) -> int:
    """Keep no key: what comes again is said again."""
    return await append(self, room, name, text, None)


known: dict[UUID | None, int] = {}


async def remembers_keys_until_it_ends(
    self: History, room: str, name: str, text: str, key: UUID | None
) -> int:
    """Keep the keys in memory, as many do: after a restart they are gone."""
    if key not in known:
        known[key] = await append(self, room, name, text, None)
    return known[key]


async def keeps_the_key_afterwards(
    self: History, room: str, name: str, text: str, key: UUID | None
) -> int:
    """Keep a message, and then its key, in a transaction of its own."""
    row = (room, name, str(key))
    query = "SELECT id FROM keys WHERE room = ? AND name = ? AND key = ?"
    if found := await self.run(lambda: self.database.execute(query, row).fetchone()):
        return int(found[0])
    number = await append(self, room, name, text, None)
    insert = "INSERT INTO keys VALUES (?, ?, ?, ?)"
    await self.run(lambda: self.database.execute(insert, (*row, number)))
    return number


at_work: set[asyncio.Task[int]] = set()


async def acknowledges_first(
    self: History, room: str, name: str, text: str, key: UUID | None
) -> int:
    """Answer before a message is safe."""
    query = "SELECT count(*) + 1 FROM messages WHERE room = ?"
    number = await self.run(lambda: self.database.execute(query, (room,)).fetchone()[0])
    at_work.add(asyncio.create_task(append(self, room, name, text, key)))
    return int(number)
