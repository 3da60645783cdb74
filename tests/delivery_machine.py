"""Clients, lines and servers that fail at any point, as Hypothesis wants them to."""

import asyncio
import json
import socket
import sqlite3
import struct
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar
from uuid import uuid4

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.delivery_server import Append, Killable, proof

PATIENCE = 5  # seconds until all have to be where they should be

T = TypeVar("T")
Way = Literal["up", "down"]
Said = tuple[int, str, str]


class Line:
    """The way from a client to the server. It can stand still, and break after any byte."""

    def __init__(self) -> None:
        self.left: dict[Way, float] = {"up": inf, "down": inf}
        self.when_broken: Callable[[], object] = lambda: None
        self.flows = asyncio.Event()
        self.flows.set()
        self.broken = asyncio.Event()

    async def open(self, address: str) -> socket.socket:
        """Lay it to a server; return the client's end."""
        loop = asyncio.get_running_loop()
        ends = ours, theirs = socket.socketpair()
        server = socket.socket()
        for end in (*ends, server):
            end.setblocking(False)
        host, port = address.split(":")
        await loop.sock_connect(server, (host, int(port)))
        self.ends = theirs, server
        self.task = asyncio.create_task(self._carry_both())
        return ours

    async def cut(self) -> None:
        """Break it."""
        self.broken.set()
        await asyncio.wait([self.task])

    async def _carry_both(self) -> None:
        client, server = self.ends
        until = [
            asyncio.create_task(self._carry("up", client, server)),
            asyncio.create_task(self._carry("down", server, client)),
            asyncio.create_task(self.broken.wait()),
        ]
        await asyncio.wait(until, return_when=asyncio.FIRST_COMPLETED)
        for task in until:
            task.cancel()
        await asyncio.wait(until)
        # To the server it is a TCP RST: no close frame, no goodbye.
        linger_for_no_time = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_no_time)
        server.close()
        client.close()

    async def _carry(self, way: Way, source: socket.socket, target: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while data := await loop.sock_recv(source, 4096):
                if way == "down":
                    await self.flows.wait()
                await loop.sock_sendall(target, data[: int(min(self.left[way], 4096))])
                self.left[way] -= len(data)
                if self.left[way] <= 0:
                    self.when_broken()
                    return


class Person:
    """A client that does what the page does: it keeps what is not acknowledged, and where it is."""

    def __init__(self, name: str, memory: "Person | None" = None) -> None:
        self.name = name
        # A second window, with what the first one remembers.
        self.typed: list[str] = list(memory.typed) if memory else []
        self.unsent: deque[tuple[str, str]] = deque(memory.unsent if memory else ())
        self.heard: list[Said] = list(memory.heard) if memory else []
        self.last: int = memory.last if memory else 0
        self.online = self.waiting = False
        self.line: Line | None = None

    @property
    def reached(self) -> bool:
        """Whether whatever is on its way to it, and from it, gets there."""
        return bool(self.online and self.line and self.line.flows.is_set())

    def key(self) -> str:
        """Return the key of the next message."""
        return str(uuid4())

    async def come(self, address: str, line: Line) -> None:
        """Connect, and talk until the line breaks, in a task of its own."""
        self.line = line
        self.visit = asyncio.create_task(self._talk(address, await line.open(address)))

    async def _talk(self, address: str, end: socket.socket) -> None:
        try:
            async with connect(
                f"ws://{address}/ws/lobby?last={self.last}",
                sock=end,
                additional_headers=proof(self.name),
                proxy=None,
                compression=None,
                ping_interval=None,
                max_queue=None,
                close_timeout=1,
            ) as self.connection:
                async for text in self.connection:
                    await self.receive(json.loads(text))
        except (WebSocketException, OSError, EOFError):
            pass  # the line broke
        finally:
            self.online = self.waiting = False
            self.line = None

    async def receive(self, frame: dict[str, Any]) -> None:
        """Do what the page does with a frame."""
        match frame:
            case {"type": "welcome"}:
                self.online = True
            case {"type": "message", "id": number, "name": name, "text": text}:
                self.heard.append((number, name, text))
                self.last = number
            case {"type": "ack", "key": key}:
                self.unsent = deque(one for one in self.unsent if one[1] != key)
                self.waiting = False
            case {"type": "error"}:
                raise AssertionError(frame)
        await self.flush()

    async def say(self, text: str) -> None:
        """Say something, now or as soon as it can be."""
        self.typed.append(text)
        self.unsent.append((text, self.key()))
        await self.flush()

    async def flush(self) -> None:
        """Send what is next, unless an answer is awaited."""
        if self.online and self.unsent and not self.waiting:
            self.waiting = True
            await self.send(*self.unsent[0])

    async def send(self, text: str, key: str) -> None:
        """Send a message."""
        with suppress(ConnectionClosed):
            await self.connection.send(json.dumps({"type": "say", "text": text, "key": key}))


class NeverResends(Person):
    """Takes for sent what it has sent."""

    async def send(self, text: str, key: str) -> None:
        self.unsent.popleft()
        self.waiting = False
        await super().send(text, key)
        await self.flush()


class NewKeys(Person):
    """Makes up a new key when it sends again."""

    async def send(self, text: str, _: str) -> None:
        self.unsent[0] = text, self.key()
        await super().send(*self.unsent[0])


class NumbersItsMessages(Person):
    """Makes ids that another window makes as well, like two that have had no connection yet."""

    def key(self) -> str:
        return f"00000000-0000-4000-8000-{len(self.typed):012}"


class HearsWithItsAck(Person):
    """Takes an ack for a sign that it has heard all until then."""

    async def receive(self, frame: dict[str, Any]) -> None:
        await super().receive(frame)
        self.last = max(self.last, frame.get("id", 0))


WHO = st.integers(0, 4)
BREAKS = st.none() | st.tuples(st.sampled_from(["up", "down"]), st.integers(1, 400), st.booleans())


class Delivery(RuleBasedStateMachine):
    """Three people, or more windows of theirs, on lines that break, and a server that is killed."""

    def __init__(self, change: Append | None, person: type[Person]) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.file = Path(self.folder.name) / "chat.db"
        self.server = Killable(f"sqlite:///{self.file}", change)
        self.loop = asyncio.Runner()
        self.person = person
        self.people = [person(name) for name in ("ada", "bob", "eve")]
        self.texts = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the clients live until something is done."""
        return self.loop.run(work)

    @initialize()
    def all_come(self) -> None:
        self.server.start()
        for person in self.people:
            self.run(person.come(self.server.address, Line()))
        self.run(self.until(lambda: all(person.online for person in self.people)))

    @rule(who=WHO)
    def somebody_speaks(self, who: int) -> None:
        self.texts += 1
        self.run(self.whom(who).say(f"number {self.texts}"))

    @rule(who=WHO, breaks=BREAKS)
    def somebody_comes_back(self, who: int, breaks: tuple[Way, int, bool] | None) -> None:
        person, line = self.whom(who), Line()
        if person.line is None:
            self.weaken(line, breaks)
            self.run(person.come(self.server.address, line))

    @rule(who=WHO, breaks=BREAKS)
    def a_line_gets_weak(self, who: int, breaks: tuple[Way, int, bool] | None) -> None:
        if line := self.whom(who).line:
            self.weaken(line, breaks)

    @rule(who=WHO)
    def a_line_is_cut(self, who: int) -> None:
        if line := self.whom(who).line:
            self.run(line.cut())

    @rule(who=WHO)
    def a_line_stands_still_or_flows_again(self, who: int) -> None:
        if line := self.whom(who).line:
            (line.flows.clear if line.flows.is_set() else line.flows.set)()

    @rule(who=WHO)
    def a_window_is_opened_twice(self, who: int) -> None:
        if len(self.people) < 5:
            person = self.whom(who)
            self.people.append(self.person(person.name, memory=person))

    @rule()
    def the_server_is_killed(self) -> None:
        self.server.kill()

    @rule()
    def the_server_is_started(self) -> None:
        if not self.server.runs:
            self.server.ended()
            self.server.start()

    @rule()
    def all_that_can_arrive_arrives(self) -> None:
        self.run(self.until(self.quiet))

    @invariant()
    def nobody_misses_anything_or_hears_it_twice(self) -> None:
        for person in self.people:
            assert [number for number, _, _ in person.heard] == [*range(1, len(person.heard) + 1)]

    def teardown(self) -> None:
        try:
            self.run(self.until_all_have_heard_everything())
            said = self.log()
            assert [number for number, _, _ in said] == [*range(1, self.texts + 1)]
            for person in self.people:
                assert person.heard == said
                texts = [text for _, _, text in said if text in person.typed]
                assert texts == person.typed
        finally:
            self.server.__exit__()
            self.run(self.until(lambda: all(person.line is None for person in self.people)))
            self.loop.close()
            self.folder.cleanup()

    async def until_all_have_heard_everything(self) -> None:
        """Let everybody come back, as often as weak lines make it necessary."""
        for person in self.people:
            if person.line and not person.reached:
                await person.line.cut()
        async with asyncio.timeout(PATIENCE):
            while not (self.quiet() and all(person.reached for person in self.people)):
                self.the_server_is_started()
                for person in self.people:
                    if person.line is None:
                        await person.come(self.server.address, Line())
                await asyncio.sleep(0.002)

    def whom(self, who: int) -> Person:
        """Return somebody."""
        return self.people[who % len(self.people)]

    def weaken(self, line: Line, breaks: tuple[Way, int, bool] | None) -> None:
        """Have a line break after some more bytes, and perhaps the server die with it."""
        if breaks:
            way, left, dies = breaks
            line.left[way] = left
            if dies:
                line.when_broken = self.server.kill

    def quiet(self) -> bool:
        """Whether all is said and heard, as far as those are concerned who can be reached."""
        newest = len(self.log())
        return all(
            not person.unsent and person.last == newest for person in self.people if person.reached
        )

    def log(self) -> list[Said]:
        """Return what the log has kept."""
        with closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as database:
            query = "SELECT id, name, text FROM messages ORDER BY id"
            rows: list[Said] = database.execute(query).fetchall()
            return rows

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            while not true():  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0.002)


def play(change: Append | None = None, person: type[Person] = Person, examples: int = 15) -> None:
    """Run the machine, with the same examples each time. Raises AssertionError if one fails."""

    def machine() -> Delivery:
        return Delivery(change, person)

    chosen = settings(
        max_examples=examples,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(machine, settings=chosen)  # type: ignore[arg-type] # a factory
    except (TimeoutError, Flaky) as found:
        # Lines and processes are real: what has failed once may not fail in the same way again.
        raise AssertionError from found
