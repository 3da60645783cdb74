"""Step 11: what was said is kept, and whoever comes back hears it, once and in order."""

import asyncio
import json
import os
import random
import re
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import pytest
from fastapi import Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from sqlalchemy import Engine, create_engine, literal, select
from sqlalchemy.orm import Session
from websockets.exceptions import ConnectionClosed, InvalidStatus

from steps.step11_history import history as step11
from steps.step11_history import main, outbox
from steps.step11_history.history import PAGE, History, history
from steps.step11_history.manager import manager
from steps.step11_history.messages import Message
from steps.step11_history.settings import from_environment, settings
from tests.broken import replays, session_for_life
from tests.conftest import Client, Host, Serve, Server, StartProcess, browse, faulty, reset, sign_in

ROOT = Path(__file__).parents[1]
STEP10, STEP11 = "step10_rooms", "step11_history"
REPLAYS = "tests.broken.replays"
SECRET = {"CHAT_SECRET": "forty-three letters that somebody has kept.", "CHAT_RATE": "1000000"}
OUR_FAULT = (1011, "The server made a mistake; its log says which.")
TOO_SLOW = (1013, "You read too slowly. Come back for the rest.")
# The kernel would keep 4 MB for one connection before uvicorn notices that nobody reads.
SMALL = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)]
Frame = dict[str, Any]
Headers = dict[str, str]
Log = pytest.LogCaptureFixture
Patch = pytest.MonkeyPatch


@pytest.fixture
def unhurried(monkeypatch: Patch) -> None:
    """Let everybody speak as fast as a test does."""
    monkeypatch.setattr(settings, "rate", 1_000_000)


def file_of(log: str) -> str:
    """Return the path of a log."""
    return log.removeprefix("sqlite:///")


@contextmanager
def opened(log: str) -> Iterator[sqlite3.Connection]:
    """Open the file of a log, as another program would."""
    with closing(sqlite3.connect(file_of(log), isolation_level=None)) as database:
        yield database


def fill(log: str, ids: Iterable[int], room: str = "lobby", size: int = 1) -> None:
    """Have things said before the server starts, each as long as `size` words."""
    with History().opened(log), opened(log) as database:
        database.execute("BEGIN")
        now = datetime.now(UTC).isoformat()
        rows = (
            (room, number, "eve", f"number {number}" + " word" * (size - 1), now) for number in ids
        )
        database.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?)", rows)
        database.execute("COMMIT")


def kept(log: str, room: str = "lobby") -> list[tuple[int, str]]:
    """Return the ids and the texts of what is kept, in the order of the ids."""
    with opened(log) as database:
        query = "SELECT id, text FROM messages WHERE room = ? ORDER BY id"
        return list(database.execute(query, (room,)))


async def until(condition: Callable[[], object]) -> None:
    """Wait for what nobody is told of."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - that is what it is for
            await asyncio.sleep(0.002)


async def people(server: Host, *names: str) -> list[Headers]:
    """Sign some people in."""
    return [await sign_in(server, name) for name in names]


@asynccontextmanager
async def entered(
    server: Host, who: Headers, last: int | str | None = None, room: str = "lobby", **options: Any
) -> AsyncIterator[Client]:
    """Connect somebody who has heard all up to the id `last`, and read the welcome."""
    path = f"/ws/{quote(room, safe='')}" + ("" if last is None else f"?last={last}")
    async with server.connect(path, additional_headers=who, **options) as client:
        assert (await receive(client))["type"] == "welcome"
        yield client


async def receive(client: Client) -> Frame:
    """Return the next frame. Raises `TimeoutError` if there is none, and will be none."""
    async with asyncio.timeout(5):
        return await client.receive()


async def hears(client: Client, last: int | str) -> list[int]:
    """Return the ids of the messages up to the one with this id, or with this text."""
    ids: list[int] = []
    while True:
        frame = await receive(client)
        if "id" in frame:
            ids.append(frame["id"])
            if last in (frame["id"], frame["text"]):
                return ids


async def hears_to_the_end(client: Client) -> list[int]:
    """Return the ids of all the messages that come before the connection ends."""
    ids: list[int] = []
    with suppress(ConnectionClosed):
        while True:
            frame = await receive(client)
            ids += [frame["id"]] if "id" in frame else []
    return ids


async def say(client: Client, *texts: str) -> list[int]:
    """Say something and wait until it is heard; return the ids that come meanwhile."""
    ids: list[int] = []
    for each in texts:
        await client.say(each)
        ids += await hears(client, each)
    return ids


def through(first: int, last: int) -> list[int]:
    """Return these ids and all between them."""
    return list(range(first, last + 1))


class Gate:
    """A place at which a server waits until it is let through."""

    def __init__(self) -> None:
        self._reached, self._open = threading.Event(), threading.Event()

    async def wait(self) -> None:
        """Wait there."""
        self._reached.set()
        await asyncio.to_thread(self._open.wait, 10)

    async def reached(self) -> None:
        """Wait until the server waits there."""
        assert await asyncio.to_thread(self._reached.wait, 10)

    def open(self) -> None:
        """Let it through, now and always."""
        self._open.set()


@contextmanager
def locked(log: str) -> Iterator[sqlite3.Connection]:
    """Have another program write to the file, until it is closed or does ROLLBACK."""
    with opened(log) as database:
        database.execute("BEGIN IMMEDIATE")
        yield database


def elsewhere(log: str, number: int) -> None:
    """Have a message kept by somebody who is no server here."""
    with opened(log) as database:
        message = ("lobby", number, "eve", "elsewhere", datetime.now(UTC).isoformat())
        database.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?)", message)


async def asked(statement: str) -> list[Any]:
    """Have the server's own connection to the file do something."""
    return await history.run(lambda: history.database.execute(statement).fetchall())


# What is kept, and who hears it


@pytest.mark.parametrize("step", [faulty(STEP10, AssertionError), STEP11])
async def test_who_comes_back_hears_what_was_said_meanwhile(serve: Serve, step: str) -> None:
    server = serve(step)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, ada) as client:
        async with entered(server, bob) as listener:
            await client.say("before")
            heard = await receive(listener)
        await client.say("while you were away")
        await client.say("marker")
        while (await receive(client)).get("text") != "marker":
            pass
        async with entered(server, bob, heard.get("id", 0)) as listener:
            await client.say("welcome back")
            texts: list[str] = []
            while texts[-1:] != ["welcome back"]:
                texts.append((await receive(listener))["text"])
            assert texts == ["while you were away", "marker", "welcome back"]


async def test_who_enters_for_the_first_time_hears_the_last_fifty(serve: Serve, log: str) -> None:
    for there in (3, 50, 51, 120):
        fill(log, through(1, there), room=f"of {there}")
    server = serve(STEP11)
    [ada] = await people(server, "ada")
    for there, first in [(0, 1), (3, 1), (50, 1), (51, 2), (120, 71)]:
        async with entered(server, ada, room=f"of {there}") as client:
            assert await say(client, "new") == through(first, there + 1)


async def test_ids_grow_by_one_in_each_room(serve: Serve, log: str) -> None:
    server = serve(STEP11)
    [ada] = await people(server, "ada")
    async with entered(server, ada) as lobby, entered(server, ada, room="garden") as garden:
        assert await say(lobby, "a", "b") == [1, 2]
        assert await say(garden, "c") == [1]
        assert await say(lobby, "d") == [3]
    assert kept(log) == [(1, "a"), (2, "b"), (3, "d")]
    assert kept(log, "garden") == [(1, "c")]


async def test_a_replayed_message_is_the_one_that_was_heard(serve: Serve) -> None:
    server = serve(STEP11)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, ada, room="' or 1 = 1; --") as client:
        said = ["hello", "'); DROP TABLE messages; --", "🦊\nzwei", "\x00", "٣" * 2000]
        frames = []
        for each in said:
            await client.say(each)
            frames.append(await receive(client))
        assert [frame["text"] for frame in frames] == said
        async with entered(server, bob, 0, room="' or 1 = 1; --") as listener:
            assert [await receive(listener) for _ in said] == frames
    assert frames[0].keys() == {"type", "id", "name", "text", "at"}


async def test_the_replay_begins_after_the_last_id_before_anything_new(
    serve: Serve, log: str
) -> None:
    fill(log, through(1, 120))
    server = serve(STEP11)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, bob) as speaker:
        cases: list[tuple[int | str, int]] = [(0, 1), (17, 18), (119, 120), (123, 124), ("", 75)]
        for last, first in cases:
            async with entered(server, ada, last) as client:
                await speaker.say(f"after {last}")
                assert await hears(client, f"after {last}") == through(first, max(kept(log))[0])
        # More than there are is another file's: as if one came for the first time.
        for last in (126, 10**17):
            async with entered(server, ada, last) as client:
                assert await hears(client, 125) == through(76, 125)


async def test_what_is_no_id_is_refused_with_a_sentence(serve: Serve) -> None:
    server = serve(STEP11)
    [ada] = await people(server, "ada")
    sentence = {"detail": "last is the id of the last message that you have heard."}
    for last in ("x", "-1", "1.5", "1e3", "%20", "%D9%A3", "9" * 19, "17&last=x"):
        with pytest.raises(InvalidStatus) as refused:
            async with server.connect(f"?last={last}", additional_headers=ada):
                pass
        response = refused.value.response
        assert (response.status_code, json.loads(response.body or b"")) == (400, sentence)


async def test_more_than_a_page_is_read_page_by_page(serve: Serve, log: str) -> None:
    fill(log, through(1, 111))
    server = serve(STEP11)
    [ada] = await people(server, "ada")
    for missed in (1, 49, 50, 51, 100, 101):
        async with entered(server, ada, 111 - missed) as client:
            assert await hears(client, 111) == through(112 - missed, 111)


async def test_whispers_notices_and_signs_of_typing_are_not_kept(serve: Serve, log: str) -> None:
    server = serve(STEP11)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, ada) as client:
        await client.send({"type": "whisper", "to": "ada", "text": "to myself"})
        await client.send({"type": "typing"})
        async with browse(server) as http:
            await http.post("/announce", json={"text": "Lunch is ready"}, headers=ada)
        assert await say(client, "for all") == [1]
        async with entered(server, bob, 0) as listener:
            assert (await receive(listener))["text"] == "for all"
    assert kept(log) == [(1, "for all")]
    with opened(log) as database:
        assert "to myself" not in "\n".join(database.iterdump())


# No gap and no doubling


def gated(monkeypatch: Patch, place: str) -> Gate:
    """Make the server wait, when it reads what somebody has missed, before or after it reads."""
    gate, read = Gate(), history.since

    async def since(room: str, last: int) -> list[Message]:
        if place == "before":
            await gate.wait()
        found = await read(room, last)
        if place == "after":
            await gate.wait()
        return found

    monkeypatch.setattr(history, "since", since)
    monkeypatch.setattr(replays, "busy", gate.wait)
    return gate


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("missed", [0, PAGE])
async def test_what_is_said_during_a_replay_comes_after_it_and_once(
    serve: Serve, log: str, monkeypatch: Patch, missed: int, place: str
) -> None:
    fill(log, through(1, 1 + missed))
    server = serve(STEP11)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, ada, 1 + missed) as client:
        await say(client, "marker")  # her own replay is over
        gate = gated(monkeypatch, place)
        async with entered(server, bob, 2) as listener:
            await gate.reached()
            await say(client, "said", "meanwhile")
            gate.open()
            await client.say("new")
            assert await hears(listener, "new") == through(3, 1 + missed + 4)


@pytest.mark.parametrize("place", ["before", "after"])
async def test_what_others_write_during_a_replay_is_not_overlooked(
    serve: Serve, log: str, monkeypatch: Patch, place: str
) -> None:
    fill(log, [1])
    server = serve(STEP11)
    [ada] = await people(server, "ada")
    gate = gated(monkeypatch, place)
    async with entered(server, ada, 1) as client:
        await gate.reached()
        elsewhere(log, 2)
        await client.say("three")
        await until(lambda: len(kept(log)) == 3)
        async with browse(server) as http:  # a round trip: it has been published
            await http.get("/healthz")
        gate.open()
        assert await hears(client, "three") == [2, 3]


@pytest.mark.parametrize(
    ("way", "heard"), [("replay-then-join", [1, 2, 4]), ("join-then-replay", [3, 1, 2, 3, 4])]
)
async def test_the_two_usual_ways_to_replay_leave_a_gap_or_say_things_twice(
    serve: Serve, monkeypatch: Patch, way: str, heard: list[int]
) -> None:
    replays.log.clear()
    server = serve(REPLAYS)
    gate = gated(monkeypatch, "")
    gate.open()
    async with server.connect(f"/{way}") as ada:

        async def speak(said: str) -> None:
            await ada.send(said)
            await hears(ada, said)

        await speak("one")
        await speak("two")
        gate = gated(monkeypatch, "")
        async with server.connect(f"/{way}") as bob:
            await gate.reached()
            await speak("three")
            gate.open()
            before = await hears(bob, 2)
            await ada.send("four")
            assert before + await hears(bob, "four") == heard


@pytest.mark.usefixtures("unhurried")
async def test_whoever_comes_back_hears_everything_once_and_in_order(
    serve: Serve, log: str
) -> None:
    fill(log, through(1, 130))
    server = serve(STEP11)
    speakers = await people(server, "ada", "bob", "eve")
    listeners = await people(server, *(f"listener {number}" for number in range(6)))
    everything = through(1, 130 + 3 * 100)
    chance = random.Random(11)  # noqa: S311 - the same every time

    async def speak(who: Headers) -> None:
        async with entered(server, who, 130) as client:
            await say(client, *(f"{who} {number}" for number in range(100)))

    async def listen(who: Headers) -> list[int]:
        heard: list[int] = []
        while len(heard) < len(everything):
            async with entered(server, who, len(heard)) as client:
                for _ in range(chance.choice([0, 1, 2, 10, 49, 50, 51, 70])):
                    if len(heard) < len(everything):
                        heard += await hears(client, len(heard) + 1)
                reset(client)  # in a replay, in a conversation, or between the two
        return heard

    async with asyncio.TaskGroup() as tasks:
        listening = [tasks.create_task(listen(who)) for who in listeners]
        for who in speakers:
            tasks.create_task(speak(who))
    assert [task.result() for task in listening] == [everything] * len(listeners)


async def test_a_replay_that_is_cut_goes_on_where_it_was(serve: Serve, log: str) -> None:
    fill(log, through(1, 120))
    server = serve(STEP11)
    [ada] = await people(server, "ada")
    for cut_after in (0, 1, 49, 50, 51, 99, 119):
        async with entered(server, ada, 0) as client:
            heard = [(await receive(client))["id"] for _ in range(cut_after)]
            reset(client)
        async with entered(server, ada, len(heard)) as client:
            assert heard + await hears(client, 120) == through(1, 120)


# Who reads slowly


@asynccontextmanager
async def deaf(server: Server, who: Headers, last: int) -> AsyncIterator[Client]:
    """Connect a client that reads nothing. When the block ends, so does its connection."""
    path = f"?last={last}"
    async with server.connect(path, additional_headers=who, compression=None) as client:
        transport = client.connection.transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        transport.pause_reading()
        try:
            yield client
        finally:
            if not transport.is_closing():
                reset(client)


def read_on(client: Client) -> None:
    """Let a client read what there is, and what comes."""
    transport = client.connection.transport
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_000_000)
    transport.resume_reading()


@pytest.mark.parametrize(
    "at_once", [pytest.param(10_000, marks=pytest.mark.xfail(raises=AssertionError)), PAGE]
)
async def test_ten_thousand_messages_wait_in_the_file_for_who_reads_slowly(
    serve: Serve, log: str, monkeypatch: Patch, at_once: int
) -> None:
    fill(log, through(1, 10_000), size=200)
    server = serve(STEP11, socket_options=SMALL)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, ada) as client:
        await say(client, "marker")
        monkeypatch.setattr(step11, "PAGE", at_once)
        async with deaf(server, bob, 0) as slow:
            books = manager.rooms["lobby"]
            await until(lambda: any(box.stuck for box in books))
            # She is not delayed, and he costs a page and not ten thousand messages.
            await say(client, *"abcdefgh")
            [his] = [box for box, name in books.items() if name == "bob"]
            waiting = his.frames.qsize()
            assert waiting <= PAGE
            assert his.bytes < 100_000
            read_on(slow)
            assert await hears(slow, "h") == through(1, 10_009)
            assert await say(client, "all are here") == [10_010]
            assert await hears(slow, "all are here") == [10_010]


@pytest.mark.usefixtures("unhurried")
async def test_who_was_cut_off_as_too_slow_comes_back_and_has_lost_nothing(serve: Serve) -> None:
    server = serve(STEP11, socket_options=SMALL)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, ada) as client:
        said = 0
        async with deaf(server, bob, 0) as slow:
            await until(lambda: len(manager.rooms["lobby"]) == 2)
            while len(manager.rooms["lobby"]) == 2:
                said += 1
                # As it is, and not in twelve bytes for each: more than that the server refuses.
                await client.send(f'{{"type":"say","text":"{said} {"👋" * 1990}"}}')
                await hears(client, said)
            read_on(slow)
            heard = await hears_to_the_end(slow)
            assert await slow.closed() == TOO_SLOW
            assert len(heard) < said
        async with entered(server, bob, heard[-1]) as back:
            await say(client, "new")
            assert heard + await hears(back, "new") == through(1, said + 1)


@pytest.mark.usefixtures("unhurried")
async def test_under_another_policy_a_replay_that_loses_frames_comes_to_its_end(
    serve: Serve, log: str, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(outbox, "POLICY", "drop oldest")
    monkeypatch.setattr(outbox, "MESSAGES", 60)
    fill(log, through(1, 120), size=400)
    server = serve(STEP11, socket_options=SMALL)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, ada, 120) as client, deaf(server, bob, 0) as slow:
        await until(lambda: any(box.stuck for box in manager.rooms["lobby"]))
        for number in range(100):
            await client.send({"type": "whisper", "to": "bob", "text": f"psst {number}"})
        await say(client, "marker")
        read_on(slow)
        heard = await hears(slow, "marker")
        assert len(heard) < 121
        assert heard == sorted(set(heard))


# The server is killed, stopped, or starts again


async def test_a_kill_of_the_server_loses_nothing_that_was_broadcast(
    start_process: StartProcess, log: str
) -> None:
    server = await start_process(STEP11, env=SECRET)
    names = [f"speaker {number}" for number in range(5)]
    headers = await people(server, *names)
    heard: list[list[tuple[int, str]]] = [[] for _ in names]
    enough = asyncio.Event()

    async def listen(client: Client, into: list[tuple[int, str]]) -> None:
        with suppress(ConnectionClosed):
            while True:
                frame = await client.receive()
                into += [(frame["id"], frame["text"])] if "id" in frame else []
                if len(into) == 200:
                    enough.set()

    async def speak(client: Client, name: str) -> None:
        with suppress(ConnectionClosed):
            for number in range(100_000):
                await client.say(f"{name} {number}")
                await asyncio.sleep(0)

    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for who, name, into in zip(headers, names, heard, strict=True):
            client = await stack.enter_async_context(entered(server, who, 0))
            tasks.create_task(listen(client, into))
            tasks.create_task(speak(client, name))
        await enough.wait()
        server.kill()
    everything = kept(log)
    assert [number for number, _ in everything] == through(1, len(everything))
    assert len(everything) >= 200
    for into in heard:
        assert into == everything[: len(into)]
    await server.start()
    for who, into in zip(headers, heard, strict=True):
        async with entered(server, who, len(into)) as client:
            if missed := through(len(into) + 1, len(everything)):
                assert await hears(client, len(everything)) == missed
    async with entered(server, headers[0], len(everything)) as client:
        assert await say(client, "and on it goes") == [len(everything) + 1]


async def test_servers_one_after_another_go_on_with_one_file(serve: Serve, log: str) -> None:
    for number in range(1, 4):
        server = serve(STEP11)
        [ada] = await people(server, "ada")
        async with entered(server, ada, number - 1) as client:
            assert await say(client, f"server {number}") == [number]
            async with browse(server) as http:
                await http.delete("/session", headers=ada)
        await asyncio.to_thread(server.stop)
    assert kept(log) == [(1, "server 1"), (2, "server 2"), (3, "server 3")]


async def test_after_a_stop_the_file_is_closed_and_no_thread_is_left(
    serve: Serve, log: str, tmp_path: Path
) -> None:
    before = set(threading.enumerate())
    server = serve(STEP11)
    [ada] = await people(server, "ada")
    async with entered(server, ada) as client:
        await say(client, "hello")
        assert {"chat.db", "chat.db-wal", "chat.db-shm"} <= set(os.listdir(tmp_path))
    await asyncio.to_thread(server.stop)
    left = {thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}
    assert left <= before
    with pytest.raises(sqlite3.ProgrammingError, match="Cannot operate on a closed database"):
        history.database.execute("SELECT 1")
    # The last to close the file moves what is in the log beside it into the file.
    assert not {"chat.db-wal", "chat.db-shm"} & set(os.listdir(tmp_path))
    assert kept(log) == [(1, "hello")]


# What else happens to a file


async def test_while_another_program_writes_all_else_goes_on(serve: Serve, log: str) -> None:
    server = serve(STEP11)
    ada, bob, eve, late = await people(server, "ada", "bob", "eve", "late")
    async with (
        entered(server, ada) as client,
        entered(server, bob) as listener,
        entered(server, eve) as third,
    ):
        await say(client, "marker")
        await hears(listener, "marker")
        with locked(log) as database:
            await client.say("this has to wait")
            async with server.connect(additional_headers=late) as newcomer:
                await third.send({"type": "typing"})
                await third.send({"type": "whisper", "to": "bob", "text": "are you there?"})
                frames = [await receive(listener) for _ in range(2)]
                assert [frame["type"] for frame in frames] == ["typing", "whisper"]
                async with browse(server) as http:
                    assert (await http.get("/healthz")).status_code == 200
                # Who speaks waits, and so does who comes: there is one thread.
                database.execute("ROLLBACK")
                assert (await receive(newcomer))["type"] == "welcome"
                assert await hears(newcomer, "this has to wait") == [1, 2]
        assert await hears(listener, "this has to wait") == [2]


async def test_who_waits_too_long_for_a_locked_file_is_told_and_nobody_else_notices(
    serve: Serve, log: str, caplog: Log
) -> None:
    server = serve(STEP11)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, ada) as client, entered(server, bob) as listener:
        await say(client, "marker")
        [(patience,)] = await asked("PRAGMA busy_timeout")
        assert patience == 5000  # milliseconds
        await asked("PRAGMA busy_timeout = 20")
        with locked(log):
            await client.say("lost")
            assert await client.closed() == OUR_FAULT
        assert await say(listener, "still here") == [1, 2]
    [fault] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert fault.exc_info
    assert repr(fault.exc_info[1]) == "OperationalError('database is locked')"


async def test_on_a_full_disk_who_speaks_is_told_and_the_others_can_read(
    serve: Serve, log: str, caplog: Log
) -> None:
    server = serve(STEP11)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, bob) as listener:
        async with entered(server, ada) as client:
            await say(client, "before")
            [(pages,)] = await asked("PRAGMA page_count")
            await asked(f"PRAGMA max_page_count = {pages}")
            with suppress(ConnectionClosed):
                for number in range(100):
                    await client.say(f"{number}" * 900)
            assert await client.closed() == OUR_FAULT
        said = len(kept(log))
        assert await hears(listener, said) == through(1, said)
        async with entered(server, ada, 0) as client:
            assert await hears(client, said) == through(1, said)
        await asked("PRAGMA max_page_count = 1000000")
        assert await say(listener, "after") == [said + 1]
    assert "database or disk is full" in caplog.text


def broken_file(folder: Path) -> Path:
    """Return a file that is no database."""
    (folder / "letter.txt").write_text("Dear Ada, " * 1000)
    return folder / "letter.txt"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (lambda folder: folder / "missing" / "chat.db", "unable to open database file"),
        (lambda folder: folder, "unable to open database file"),
        (broken_file, "file is not a database"),
    ],
)
def test_a_file_that_cannot_be_stops_the_start_with_a_sentence(
    tmp_path: Path, monkeypatch: Patch, path: Callable[[Path], Path], why: str
) -> None:
    url = f"sqlite:///{path(tmp_path)}"
    monkeypatch.setattr(settings, "log", url)
    with pytest.raises(RuntimeError) as stopped, TestClient(main.app):
        pass
    cure = "Its folder has to be there, and writable."
    assert str(stopped.value) == f"CHAT_LOG ({url}): {why}. {cure}"


@pytest.mark.parametrize("value", ["", "chat.db", "sqlite://chat.db", "sqlite:///", "mysql://x/y"])
def test_a_wrong_value_stops_the_start_with_a_sentence_that_names_it(
    monkeypatch: Patch, value: str
) -> None:
    monkeypatch.setenv("CHAT_LOG", value)
    with pytest.raises(SystemExit, match=r"CHAT_LOG \(file of messages, sqlite:///chat\.db, or"):
        from_environment()


async def test_two_processes_on_one_file_give_each_id_once(
    serve: Serve, start_process: StartProcess, log: str
) -> None:
    here, there = serve(STEP11), await start_process(STEP11, env=SECRET)
    [ada], [bob] = await people(here, "ada"), await people(there, "bob")
    async with entered(here, ada) as client, entered(there, bob) as other:
        first = asyncio.create_task(say(client, *(f"here {number}" for number in range(20))))
        second = asyncio.create_task(say(other, *(f"there {number}" for number in range(20))))
        await asyncio.gather(first, second)
        assert [number for number, _ in kept(log)] == through(1, 40)
        # One of the two has not heard the last of the other yet.
        heard = [*first.result(), *second.result()]
        assert set(heard) == set(through(1, 40))
        for ids in (first.result(), second.result()):
            assert ids == through(1, len(ids))


async def test_what_another_process_says_is_heard_with_what_is_said_next_here(
    serve: Serve, log: str
) -> None:
    server = serve(STEP11)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, ada) as client, entered(server, bob) as listener:
        await say(client, "one")
        await hears(listener, "one")
        elsewhere(log, 2)
        assert await say(client, "three") == [2, 3]
        assert await say(listener, "four") == [2, 3, 4]


async def test_who_is_up_to_date_reads_nothing_from_the_file(serve: Serve, log: str) -> None:
    server = serve(STEP11)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, ada) as client, entered(server, bob) as listener:
        await say(client, "one")
        elsewhere(log, 2)
        await say(client, "three")
        await hears(listener, "three")
        await say(client, "four")  # what each of them had to read has been read
        statements: list[str] = []
        history.database.set_trace_callback(statements.append)
        await say(client, "five", "six")
        await hears(listener, "six")
        assert not [each for each in statements if each.startswith("SELECT")]


async def test_what_is_deleted_is_no_gap_that_anybody_waits_for(serve: Serve, log: str) -> None:
    fill(log, [1, 2, 3, 40, 41, 120])
    server = serve(STEP11)
    [ada] = await people(server, "ada")
    async with entered(server, ada, 2) as client:
        assert await say(client, "new") == [3, 40, 41, 120, 121]


async def test_the_retention_on_the_page_leaves_each_room_its_newest(
    serve: Serve, log: str
) -> None:
    fill(log, through(1, 20))
    page = (ROOT / "docs/steps/step11_history.md").read_text("utf-8")
    [statement] = re.findall(r"^ +(DELETE FROM messages .+)$", page, re.MULTILINE)
    with opened(log) as database:
        database.execute("UPDATE messages SET at = '2020-01-01T00:00:00+00:00'")
    server = serve(STEP11)
    [ada] = await people(server, "ada")
    async with entered(server, ada) as client:
        await hears(client, 20)
        with opened(log) as database:
            database.execute(statement)
        assert [number for number, _ in kept(log)] == [20]
        assert await say(client, "new") == [21]


# A handler that ends in the middle


def after_the_wait(database_history: History) -> Callable[[str, str, str], Awaitable[None]]:
    """Return an `append` as it is usually written: keep, wait for that, then publish."""

    async def append(room: str, name: str, text: str) -> None:
        now = datetime.now(UTC)

        def insert() -> int:
            [(number,)] = database_history.database.execute(
                "INSERT INTO messages SELECT ?, coalesce(max(id), 0) + 1, ?, ?, ?"
                " FROM messages WHERE room = ? RETURNING id",
                (room, name, text, now.isoformat(), room),
            )
            return int(number)

        number = await database_history.run(insert)
        manager.publish(room, Message(id=number, name=name, text=text, at=now))

    return append


@pytest.mark.parametrize(
    "usual", [pytest.param(True, marks=pytest.mark.xfail(raises=AssertionError)), False]
)
async def test_what_is_kept_is_heard_even_if_its_handler_has_just_ended(
    serve: Serve, log: str, monkeypatch: Patch, usual: bool
) -> None:
    if usual:
        monkeypatch.setattr(history, "append", after_the_wait(history))
    server = serve(STEP11)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, ada) as client, entered(server, bob) as listener:
        await say(client, "marker")
        await hears(listener, "marker")
        with locked(log):
            begun = threading.Event()
            history.database.set_trace_callback(lambda _: begun.set())
            await client.say("my last words")
            # The insert waits for the lock, in its thread; and she signs out, so her handler ends.
            assert await asyncio.to_thread(begun.wait, 10)
            async with browse(server) as http:
                await http.delete("/session", headers=ada)
            assert (await client.closed())[0] == 4401
        await until(lambda: len(kept(log)) == 2)
        await listener.send({"type": "whisper", "to": "bob", "text": "and now?"})
        texts: list[str] = []
        while texts[-1:] != ["and now?"]:
            texts += [frame["text"]] if "text" in (frame := await receive(listener)) else []
        assert texts == ["my last words", "and now?"]


# Questions


def asks_for_each_message(engine: Engine) -> FastAPI:
    """Return what `session_for_life` does, with a session for each message."""
    app = FastAPI()

    @app.websocket("/ws")
    async def prices(websocket: WebSocket) -> None:
        await websocket.accept()
        async for _ in websocket.iter_text():
            with Session(engine) as session:
                price = session.scalar(select(literal(42)))
            await websocket.send_text(f"It costs {price}.")

    return app


def asks_in_the_scope_of_the_function() -> FastAPI:
    """Return it with the scope that gives a request's session back before its answer is sent."""
    app = FastAPI()

    @app.websocket("/ws")
    async def prices(
        websocket: WebSocket,
        session: Annotated[Session, Depends(session_for_life.get_db, scope="function")],
    ) -> None:
        await session_for_life.prices(websocket, session)

    return app


@pytest.mark.parametrize("scope", ["for life", "function", "each message"])
async def test_a_session_for_the_life_of_a_socket_uses_up_the_pool(
    serve: Serve, tmp_path: Path, monkeypatch: Patch, caplog: Log, scope: str
) -> None:
    # As by default, but that the last one does not wait for thirty seconds.
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db", pool_timeout=0.1)
    monkeypatch.setattr(session_for_life, "engine", engine)
    app = asks_for_each_message(engine) if scope == "each message" else session_for_life.app
    if scope == "function":
        app = asks_in_the_scope_of_the_function()
    server = serve(app)
    answers: list[str] = []
    async with AsyncExitStack() as stack:
        for _ in range(16):
            client = await stack.enter_async_context(server.connect())
            await client.send("What does it cost?")
            with suppress(ConnectionClosed):
                answers.append(str(await client.connection.recv()))
    engine.dispose()
    assert answers == ["It costs 42."] * (16 if scope == "each message" else 15)
    if scope != "each message":
        [fault] = [record for record in caplog.records if record.levelname == "ERROR"]
        assert fault.exc_info
        assert str(fault.exc_info[1]).startswith(
            "QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 0.10"
        )


async def test_a_connection_to_sqlite_belongs_to_the_thread_that_made_it() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        elsewhere = "SQLite objects created in a thread can only be used in that same thread. "
        with pytest.raises(sqlite3.ProgrammingError, match=elsewhere):
            await asyncio.to_thread(database.execute, "SELECT 1")
    with closing(sqlite3.connect(":memory:", check_same_thread=False)) as database:
        cursor = await asyncio.to_thread(database.execute, "SELECT 1")
        assert cursor.fetchall() == [(1,)]


async def test_a_commit_waits_for_the_disk(serve: Serve) -> None:
    server = serve(STEP11)
    [ada] = await people(server, "ada")
    async with entered(server, ada) as client:
        await say(client, "hello")
        assert await asked("PRAGMA journal_mode") == [("wal",)]
        assert await asked("PRAGMA synchronous") == [(2,)]  # FULL
