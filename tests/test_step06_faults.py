"""Step 6: every end of a connection has a cause and a code, and hurts nobody else."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, HTTPException, WebSocket, WebSocketException
from starlette.types import Message as Event
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response

from steps.step06_faults import connection, main
from tests.conftest import Client, Serve, Server, StartProcess, faulty, registered, reset

ROOT = Path(__file__).parents[1]
OURS = (1011, "The server made a mistake; its log says which.")
Log = pytest.LogCaptureFixture
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and /dev/fd")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what nothing announces. The timeout of the test is the limit."""
    while not condition():  # noqa: ASYNC110 - nothing that could set an event
        await asyncio.sleep(0.01)


class Work:
    """Keeps a step's handler busy with each `say` of "work", until the test says it is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: str = "step06_faults") -> None:
        self.begun = threading.Event()
        self.done = threading.Event()
        manager: Any = import_module(f"steps.{step}.main").manager
        broadcast = manager.broadcast

        async def work_first(message: Any, **options: Any) -> int:
            if getattr(message, "text", "") == "work":
                self.begun.set()
                await until(self.done.is_set)
            reached: int = await broadcast(message, **options)
            return reached

        monkeypatch.setattr(manager, "broadcast", work_first)

    async def has_begun(self) -> None:
        """Wait until the handler is busy."""
        await until(self.begun.is_set)


class Pinged(ClientConnection):
    """A client that counts the pings which it answers."""

    pings = 0

    def process_event(self, event: Any) -> None:
        super().process_event(event)
        self.pings += isinstance(event, Frame) and event.opcode is Opcode.PING


def crash_on(word: str, monkeypatch: pytest.MonkeyPatch, step: str = "step06_faults") -> None:
    """Have a step's endpoint fail on a frame with this word in it."""
    module = import_module(f"steps.{step}.main")
    read = module.read

    def read_or_fail(text: str | None) -> object:
        if text and word in text:
            raise ZeroDivisionError(word)
        return read(text)

    monkeypatch.setattr(module, "read", read_or_fail)


async def welcomed(*clients: Client) -> None:
    """Read the welcome of each client, and who joined after it."""
    for number, client in enumerate(clients, 1):
        kinds = [(await client.receive())["type"] for _ in range(1 + len(clients) - number)]
        assert kinds == ["welcome"] + ["joined"] * (len(clients) - number)


# A busy handler


@pytest.mark.parametrize("step", [faulty("step05_chat", AssertionError), "step06_faults"])
async def test_a_busy_handler_does_not_cost_its_client_the_connection(
    serve: Serve, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(monkeypatch, step)
    server = serve(step, ws_ping_interval=0.3, ws_ping_timeout=1)
    async with server.connect("/ws?name=ada", create_connection=Pinged) as ada:
        await welcomed(ada)
        await ada.say("work")
        await work.has_begun()
        await ada.say("are you there?")  # nobody takes it: its pong is behind it
        line = ada.connection
        assert isinstance(line, Pinged)
        # The next ping comes only after the pong to the last: three of them are two seen pongs.
        await until(lambda: line.pings == 3 or line.close_code is not None)
        work.done.set()
        # In step 5 she has been closed: 1011, keepalive ping timeout.
        assert line.close_code is None
        assert [await ada.hears(), await ada.hears()] == ["work", "are you there?"]


async def test_a_busy_handler_keeps_nobody_else_waiting(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(monkeypatch)
    server = serve("step06_faults")
    async with server.connect("/ws?name=ada") as ada, server.connect("/ws?name=bob") as bob:
        await welcomed(ada, bob)
        await ada.say("work")
        await work.has_begun()
        await bob.say("anybody?")
        assert [await ada.hears(), await bob.hears()] == ["anybody?", "anybody?"]
        work.done.set()
        assert await bob.hears() == "work"


async def test_what_was_said_just_before_leaving_is_still_heard(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Work(monkeypatch)
    server = serve("step06_faults")
    async with server.connect("/ws?name=bob") as bob:
        async with server.connect("/ws?name=ada") as ada:
            await welcomed(bob, ada)
            await ada.say("work")
            await work.has_begun()
            await ada.say("one more thing")
            await ada.say("bye")
        # She has gone, and her handler is still at her first message.
        work.done.set()
        assert [await bob.hears() for _ in range(3)] == ["work", "one more thing", "bye"]
        assert await bob.receive() == {"type": "left", "name": "ada"}


async def test_an_inbox_that_stays_full_ends_its_connection_with_1013(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: Log
) -> None:
    monkeypatch.setattr(connection, "INBOX", 4)
    monkeypatch.setattr(connection, "PATIENCE", 0.1)
    work = Work(monkeypatch)
    server = serve("step06_faults")
    async with server.connect("/ws?name=bob") as bob, server.connect("/ws?name=ada") as ada:
        await welcomed(bob, ada)
        await ada.say("work")
        await work.has_begun()
        for number in range(4):  # four are not too many
            await ada.say(f"number {number}")
        assert await ada.connection.ping()
        await ada.say("one too many")
        assert await ada.closed() == (1013, "Too much at once. Try again later.")
        # What she waits for is given up, and bob hears no word of it.
        assert await bob.receive() == {"type": "left", "name": "ada"}
    server.stop()
    assert caplog.text == ""


async def test_patience_that_outlasts_a_ping_ends_with_1011_after_all(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "INBOX", 1)
    work = Work(monkeypatch)
    # Ten seconds of patience, and pings that do not wait so long: at the defaults they wait 20.
    server = serve("step06_faults", ws_ping_interval=0.2, ws_ping_timeout=0.2)
    async with server.connect("/ws?name=ada") as ada:
        for _ in range(5):
            await ada.say("work")
        assert await ada.closed() == (1011, "keepalive ping timeout")
        work.done.set()


def echo(inboxes: list[asyncio.Queue[Event]], go_on: threading.Event) -> FastAPI:
    """Return an app that shows its inboxes and answers nothing before it may go on."""
    app = FastAPI()

    @app.websocket("/ws")
    async def answer(websocket: WebSocket) -> None:
        async with connection.accepted(websocket) as inbox:
            inboxes.append(inbox)
            await until(go_on.is_set)
            while (event := await inbox.get())["type"] == "websocket.receive":
                await websocket.send_text(event["text"])

    return app


async def test_an_inbox_that_was_full_for_a_while_has_lost_nothing(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "INBOX", 3)
    inboxes: list[asyncio.Queue[Event]] = []
    go_on = threading.Event()
    server = serve(echo(inboxes, go_on))
    async with server.connect() as ada:
        sent = [json.dumps(number) for number in range(200)]
        for frame in sent:
            await ada.send(frame)
        await until(lambda: bool(inboxes) and inboxes[0].full())
        assert inboxes[0].qsize() == 3
        go_on.set()
        assert [await ada.connection.recv() for _ in sent] == sent


# Every end has a cause and a code


@pytest.mark.parametrize("step", [faulty("step05_chat", AssertionError), "step06_faults"])
async def test_a_crash_ends_one_connection_with_1011_and_is_logged_once(
    serve: Serve, step: str, monkeypatch: pytest.MonkeyPatch, caplog: Log
) -> None:
    crash_on("divide", monkeypatch, step)
    server = serve(step)
    async with server.connect("/ws?name=ada") as ada, server.connect("/ws?name=bob") as bob:
        await welcomed(ada, bob)
        await ada.say("divide by zero")
        # In step 5 nobody says anything: 1006.
        assert await ada.closed() == OURS
        assert await bob.receive() == {"type": "left", "name": "ada"}
        async with server.connect("/ws?name=ada") as again:
            assert (await again.receive())["here"] == ["ada", "bob"]
            await again.say("I am back")
            assert (await bob.receive())["type"] == "joined"
            assert [await again.hears(), await bob.hears()] == ["I am back", "I am back"]
    server.stop()
    [record] = caplog.records
    assert record.name == "steps.step06_faults.connection"
    assert record.levelname == "ERROR"
    assert caplog.text.count("Traceback (most recent call last)") == 1
    assert caplog.text.count("in read_or_fail\n") == 1


async def whatever(_: asyncio.Queue[Event]) -> None:
    """Return, as a handler does that has nothing more to say."""


async def until_left(inbox: asyncio.Queue[Event]) -> None:
    while (await inbox.get())["type"] == "websocket.receive":
        pass


async def refuse_at_length(_: asyncio.Queue[Event]) -> None:
    raise WebSocketException(4403, "No." * 42)


async def fail(_: asyncio.Queue[Event]) -> None:
    raise KeyError("text")


async def fail_at_the_third(inbox: asyncio.Queue[Event]) -> None:
    for _ in range(3):
        await inbox.get()
    raise KeyError("text")


async def refuse(_: asyncio.Queue[Event]) -> None:
    raise WebSocketException(4403, "Not today.")


async def refuse_as_a_route(_: asyncio.Queue[Event]) -> None:
    raise HTTPException(404)


async def time_out(_: asyncio.Queue[Event]) -> None:
    raise TimeoutError


async def fail_twice(inbox: asyncio.Queue[Event]) -> None:
    try:
        await refuse(inbox)
    finally:
        await fail(inbox)


async def fail_while_it_is_given_up(_: asyncio.Queue[Event]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        raise KeyError("text")


def ending(body: Callable[[asyncio.Queue[Event]], Awaitable[None]]) -> FastAPI:
    """Return an app whose handler is `body`."""
    app = FastAPI()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        async with connection.accepted(websocket) as inbox:
            await body(inbox)

    return app


@pytest.mark.parametrize(
    ("body", "end", "logged"),
    [
        (whatever, (1000, ""), []),
        (refuse, (4403, "Not today."), []),
        (refuse_at_length, (4403, "No." * 41), []),
        (fail, OURS, [KeyError]),
        (fail_at_the_third, OURS, [KeyError]),
        (refuse_as_a_route, OURS, [HTTPException]),
        (time_out, OURS, [TimeoutError]),
        (fail_twice, OURS, [KeyError]),
        (
            fail_while_it_is_given_up,
            (1013, "Too much at once. Try again later."),
            [KeyError],
        ),
    ],
)
async def test_what_a_handler_does_last_decides_how_its_connection_ends(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: Log,
    body: Callable[[asyncio.Queue[Event]], Awaitable[None]],
    end: tuple[int, str],
    logged: list[type[Exception]],
) -> None:
    monkeypatch.setattr(connection, "INBOX", 2)
    monkeypatch.setattr(connection, "PATIENCE", 0.1)
    server = serve(ending(body))
    async with server.connect() as client:
        with suppress(ConnectionClosed):  # the first two end at once
            for _ in range(3):
                await client.send("hello")
        assert await client.closed() == end
    server.stop()
    assert [record.exc_info and record.exc_info[0] for record in caplog.records] == logged


async def test_a_handler_that_ends_after_its_client_says_nothing_more(
    serve: Serve, caplog: Log
) -> None:
    server = serve(ending(until_left))
    async with server.connect() as polite, server.connect() as rude:
        await polite.connection.close(4000, "bored")
        assert await polite.closed() == (4000, "bored")
        reset(rude)
    server.stop()
    assert caplog.text == ""


async def close_politely(client: Client) -> None:
    await client.connection.close(1001)


async def cut_the_line(client: Client) -> None:
    reset(client)


async def send_half_a_frame_and_leave(client: Client) -> None:
    client.connection.transport.write(b"\x81\xff\x00")
    client.connection.transport.close()


async def send_too_much(client: Client) -> None:
    await client.say("x" * 1000)


async def send_what_is_not_utf_8(client: Client) -> None:
    client.connection.transport.write(b"\x81\x82\x00\x00\x00\x00\xff\xfe")


async def send_an_opcode_that_does_not_exist(client: Client) -> None:
    client.connection.transport.write(b"\x83\x80\x00\x00\x00\x00")


async def send_without_a_mask(client: Client) -> None:
    client.connection.transport.write(b"\x81\x02hi")


@pytest.mark.parametrize(
    ("leave", "code"),
    [
        (close_politely, 1001),
        (cut_the_line, 1006),
        (send_half_a_frame_and_leave, 1006),
        (send_too_much, 1009),
        (send_what_is_not_utf_8, 1007),
        (send_an_opcode_that_does_not_exist, 1002),
        (send_without_a_mask, 1002),
    ],
)
async def test_however_one_ends_the_others_hear_that_it_left_and_go_on(
    serve: Serve, caplog: Log, leave: Callable[[Client], Awaitable[None]], code: int
) -> None:
    server = serve("step06_faults", ws_max_size=500)
    async with server.connect("/ws?name=bob") as bob, server.connect("/ws?name=eve") as eve:
        await welcomed(bob, eve)
        await leave(eve)
        assert (await eve.closed())[0] == code
        assert await bob.receive() == {"type": "left", "name": "eve"}
        await bob.say("marker")
        assert await bob.hears() == "marker"
    server.stop()
    # uvicorn's own traceback for a text that is none, and not a line of ours.
    assert [record.name for record in caplog.records] == ["uvicorn.error"] * (code == 1007)


async def test_a_client_that_answers_no_ping_is_given_up(serve: Serve) -> None:
    server = serve("step06_faults", ws_ping_interval=0.2, ws_ping_timeout=0.2)
    async with server.connect("/ws?name=eve") as eve:
        await welcomed(eve)
        eve.connection.transport.pause_reading()  # its pongs stay unsent
        await until(lambda: not registered(main))
        eve.connection.transport.resume_reading()
        assert await eve.closed() == (1011, "keepalive ping timeout")


# The handshake


async def refused(server: Server, path: str) -> Response:
    """Return the answer to a handshake that is refused."""
    with pytest.raises(InvalidStatus) as refusal:
        async with server.connect(path):
            pass
    return refusal.value.response


@pytest.mark.parametrize("step", [faulty("step05_chat", AssertionError), "step06_faults"])
async def test_a_path_that_does_not_exist_is_a_404_with_a_sentence(serve: Serve, step: str) -> None:
    server = serve(step)
    for path in ("/", "/chat", "/ws/", "/ws/lobby", "/a/b?c=d"):
        response = await refused(server, path)
        # In step 5 it is a 403, with nothing in it.
        assert response.status_code == 404
        where = path.partition("?")[0]
        assert json.loads(response.body or b"") == {
            "detail": f"There is no socket at {where}. The chat is at /ws."
        }


async def test_the_socket_that_refuses_takes_no_request_from_the_pages(serve: Serve) -> None:
    server = serve("step06_faults")
    async with httpx2.AsyncClient(base_url=server.url) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert "<title>" in (await http.get("/")).text
        assert (await http.get("/nowhere")).status_code == 404


async def test_uvicorn_logs_an_error_for_each_such_refusal_that_is_none(
    serve: Serve, caplog: Log
) -> None:
    # Kludex/uvicorn#3138 is open. When this fails it has been mended: the page says that it is not.
    server = serve("step06_faults")
    assert (await refused(server, "/nowhere")).status_code == 404
    server.stop()
    [record] = caplog.records
    assert record.message == "ASGI callable returned without completing handshake."


# Nothing is left behind


CROWD = """
import asyncio, sys
from websockets.asyncio.client import connect

async def main(url, people):
    crowd = [await connect(url, proxy=None, compression=None) for _ in range(people)]
    print("here", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@asynccontextmanager
async def crowd(server: Server, people: int) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Connect people from another process, which answers pings until it is stopped or killed."""
    command = [sys.executable, "-c", CROWD, f"ws://{server.address}/ws", str(people)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220
        assert process.stdout
        try:
            assert await asyncio.to_thread(process.stdout.readline) == b"here\n"
            process.stdout.close()  # one file less that is ours
            yield process
        finally:
            process.kill()


@posix
async def test_after_a_thousand_connections_that_ended_in_every_way_nothing_is_left(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: Log
) -> None:
    crash_on("crash", monkeypatch)
    monkeypatch.setattr(connection, "INBOX", 1)
    monkeypatch.setattr(connection, "PATIENCE", 3600)  # who is left waiting waits
    loops: set[asyncio.AbstractEventLoop] = set()
    connect = main.manager.connect

    def noting_the_loop(websocket: WebSocket, name: str) -> str:
        loops.add(asyncio.get_running_loop())
        return connect(websocket, name)

    monkeypatch.setattr(main.manager, "connect", noting_the_loop)
    server = serve("step06_faults", ws_ping_interval=0.5, ws_ping_timeout=0.5)

    def left() -> tuple[Counter[str], int, set[Any]]:
        [loop] = loops
        tasks = (task.get_coro() for task in asyncio.all_tasks(loop))
        running = Counter(getattr(coroutine, "__qualname__", "") for coroutine in tasks)
        return running, len(os.listdir("/dev/fd")), registered(main)

    async def visit(number: int) -> None:
        async with server.connect(compression=None) as client:
            if number % 3 == 0:
                reset(client)
            elif number % 3 == 1:
                with suppress(ConnectionClosed):
                    for _ in range(4):  # more than the inbox holds: the reader waits for room
                        await client.say("crash")
                await client.closed()

    await visit(2)
    await until(lambda: not any(name.endswith("run_asgi") for name in left()[0]))
    before = left()

    for _ in range(30):
        await asyncio.gather(*map(visit, range(20)))
    async with crowd(server, 200) as killed:
        killed.kill()
        await until(lambda: left()[1:] == before[1:])
    async with crowd(server, 200) as frozen:
        frozen.send_signal(signal.SIGSTOP)  # the kernel keeps its lines open; nobody is there
        await until(lambda: left()[2] == set())
        await until(lambda: left() == before)
    assert {record.message for record in caplog.records} == {"A fault of ours ended a connection"}
    assert len(caplog.records) == 30 * 7


# Stopping


# The chat, where "work" takes for ever, and which prints what happens to its lines.
TROUBLED = """
import asyncio
from steps.step06_faults.main import app, manager
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol as Line

broadcast, pause_writing, handle_close = manager.broadcast, Line.pause_writing, Line.handle_close

async def work_first(message, **options):
    if getattr(message, "text", "") == "work":
        print("busy", flush=True)
        await asyncio.Event().wait()
    return await broadcast(message, **options)

def full(line):
    pause_writing(line)
    print("full", flush=True)

def closing(line, event):
    handle_close(line, event)
    print("closing", flush=True)

manager.broadcast, Line.pause_writing, Line.handle_close = work_first, full, closing
"""


@pytest.fixture
def troubled(tmp_path: Path) -> list[str]:
    """Make an app with trouble in it; return what starts it."""
    (tmp_path / "troubled.py").write_text(TROUBLED)
    return ["troubled:app", f"--app-dir={tmp_path}", "--timeout-graceful-shutdown=1"]


async def speak_until_closed(client: Client) -> None:
    """Say more than a client that does not read can take."""
    with suppress(ConnectionClosed):
        while True:
            await client.say("👋" * 2000)


@posix
async def test_on_sigterm_all_are_told_1012_and_whatever_hangs_the_process_ends(
    start_process: StartProcess, troubled: list[str]
) -> None:
    server = await start_process(*troubled)
    async with (
        server.connect("?name=ada", compression=None) as ada,
        server.connect("?name=bob", compression=None) as bob,
        server.connect("?name=eve", compression=None) as eve,
        asyncio.TaskGroup() as tasks,
    ):
        await welcomed(ada, bob, eve)
        await ada.say("work")
        await server.prints("busy")
        eve.connection.transport.pause_reading()
        tasks.create_task(speak_until_closed(bob))
        await server.prints("full")
        stopping = asyncio.create_task(server.terminate())
        assert await ada.closed() == (1012, "")
        assert await bob.closed() == (1012, "")
        # By that signal, once it has done what it could.
        assert await stopping == -signal.SIGTERM
        # The lifespan ends after all that waiting, and not before it.
        assert re.search(
            "timeout graceful shutdown exceeded.*Waiting for application shutdown.*"
            "Application shutdown complete",
            server.printed(),
            re.DOTALL,
        )
        eve.connection.transport.resume_reading()


@posix
async def test_on_sigterm_a_server_where_nothing_hangs_ends_without_a_complaint(
    start_process: StartProcess,
) -> None:
    server = await start_process("step06_faults")
    async with (
        server.connect("?name=ada", compression=None) as ada,
        server.connect("?name=bob", compression=None) as bob,
    ):
        await welcomed(ada, bob)
        assert await server.terminate() == -signal.SIGTERM
        assert [await ada.closed(), await bob.closed()] == [(1012, ""), (1012, "")]
    assert not re.search("ERROR|WARNING|Traceback", server.printed())


async def test_without_a_limit_the_stop_waits_for_a_busy_handler(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: Log
) -> None:
    caplog.set_level("INFO", "uvicorn.error")
    work = Work(monkeypatch)
    server = serve("step06_faults", timeout_graceful_shutdown=None)
    async with server.connect("/ws?name=ada") as ada:
        await ada.say("work")
        await work.has_begun()
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        await until(lambda: "Waiting for background tasks to complete" in caplog.text)
        assert not stopping.done()
        work.done.set()
        await stopping


@posix
async def test_uvicorn_stumbles_over_a_goodbye_that_it_could_not_answer_yet(
    start_process: StartProcess, troubled: list[str]
) -> None:
    # When this fails it has been mended: the page says that it is not.
    server = await start_process(*troubled)
    async with (
        server.connect("?name=bob", compression=None) as bob,
        server.connect("?name=eve", compression=None) as eve,
        asyncio.TaskGroup() as tasks,
    ):
        await welcomed(bob, eve)
        line = eve.connection
        line.transport.pause_reading()
        tasks.create_task(speak_until_closed(bob))
        await server.prints("full")
        line.protocol.send_close(1001)
        line.transport.write(b"".join(line.protocol.data_to_send()))
        await server.prints("closing")
        assert await server.terminate() == 1
        assert "InvalidState: connection is closing" in server.printed()
        assert "Application shutdown complete." not in server.printed()
        line.transport.resume_reading()


@posix
async def test_an_edit_reloads_the_server_although_a_handler_is_busy(
    start_process: StartProcess, troubled: list[str], tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "steps/step06_faults", tmp_path / "steps/step06_faults")
    server = await start_process(*troubled, "--reload", cwd=tmp_path)
    async with (
        server.connect("?name=ada", compression=None) as ada,
        server.connect("?name=bob", compression=None) as bob,
    ):
        await welcomed(ada, bob)
        await ada.say("work")
        await server.prints("busy")
        edited = tmp_path / "steps/step06_faults/main.py"
        edited.write_text(edited.read_text("utf-8").replace("Step 6: faults", "Edited"), "utf-8")
        assert [await ada.closed(), await bob.closed()] == [(1012, ""), (1012, "")]
    async with server.connect("?name=ada", compression=None) as ada, httpx2.AsyncClient() as http:
        assert (await ada.receive())["here"] == ["ada"]
        response = await http.get(f"{server.url}/openapi.json")
        assert response.json()["info"]["title"] == "Edited"
        assert await server.terminate(signal.SIGINT) == 0  # Ctrl+C
        assert await ada.closed() == (1012, "")
