"""Step 7: nobody waits for a client that does not read."""

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio.from_thread
import anyio.to_thread
import httpx2
import pytest
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.testclient import TestClient
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import ConnectionClosed

from steps.step07_backpressure import main as step07
from steps.step07_backpressure import outbox
from steps.step07_backpressure.messages import Notice
from tests import backpressure_curve
from tests.conftest import Client, Serve, Server, faulty, registered, reset

ROOT = Path(__file__).parents[1]
STEP6, STEP7 = "step06_faults", "step07_backpressure"
TOO_SLOW = (1013, "You read too slowly. What was said meanwhile is lost.")
BIG = "👋" * 1990  # 8 KB on the wire, as long as nothing compresses it
# The kernel would keep 4 MB for one connection before uvicorn notices that nobody reads.
SMALL = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)]
linux = pytest.mark.skipif(sys.platform != "linux", reason="it asks Linux")


def text(number: int) -> str:
    """Return a text of 8 KB that says which one it is."""
    return f"{number} {BIG}"


def numbers(frames: list[dict[str, Any]]) -> list[int]:
    """Return which of these texts are among the frames."""
    return [int(frame["text"].split()[0]) for frame in frames if frame["type"] == "message"]


@asynccontextmanager
async def deaf(server: Server, path: str = "/ws") -> AsyncIterator[Client]:
    """Connect a client that reads nothing. When the block ends, so does its connection."""
    async with server.connect(path, compression=None) as client:
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


async def hears(client: Client) -> dict[str, Any]:
    """Return the next frame. Raises `TimeoutError` if the server stands still."""
    async with asyncio.timeout(1):
        return await client.receive()


async def hears_until(client: Client, last: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the frames up to the one that has all that `last` has."""
    frames = [await hears(client)]
    while not last.items() <= frames[-1].items():
        frames.append(await hears(client))
    return frames


async def hears_to_the_end(client: Client) -> list[dict[str, Any]]:
    """Return the frames that come before the connection ends."""
    frames = []
    with suppress(ConnectionClosed):
        while True:
            frames.append(await hears(client))
    return frames


async def speak_until_gone(ada: Client, name: str) -> list[int]:
    """Have Ada speak, one text after the other, until she hears that somebody has left."""
    said: list[int] = []
    for number in range(200):
        await ada.say(text(number))
        heard = await hears_until(ada, {"type": "message", "text": text(number)})
        said += numbers(heard)
        if {"type": "left", "name": name} in heard:
            return said
    raise AssertionError(f"{name} is still there")


PROGRAM = """
import json, socket, sys
from importlib import import_module
import uvicorn

step, fd, settings, options = json.loads(sys.argv[1])
for name, value in settings.items():
    setattr(import_module(f"steps.{step}.outbox"), name, value)
config = uvicorn.Config(f"steps.{step}.main:app", **options)
uvicorn.Server(config).run(sockets=[socket.socket(fileno=fd)])
"""


class Process(Server):
    """A step on uvicorn in a process of its own. `settings` are those of its outbox."""

    def __init__(self, step: str, settings: dict[str, Any], options: dict[str, Any]) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
            self.address = f"127.0.0.1:{listener.getsockname()[1]}"
            for option in SMALL:
                listener.setsockopt(*option)
            fd = listener.fileno()
            command = [sys.executable, "-c", PROGRAM, json.dumps([step, fd, settings, options])]
            self._process = subprocess.Popen(
                command, cwd=ROOT, pass_fds=[fd], stderr=subprocess.PIPE, text=True
            )
        self.pid = self._process.pid

    def terminate(self) -> str:
        """Stop it with SIGTERM; return what it printed. Raises `TimeoutExpired`."""
        self._process.terminate()
        return self._process.communicate(timeout=10)[1]

    def stop(self) -> None:
        """Kill it, if it still runs."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def process(step: str, settings: dict[str, Any] | None = None, **options: Any) -> Iterator[Process]:
    """Start a step in a process of its own, with `options` of `uvicorn.Config`."""
    server = Process(step, settings or {}, options)
    try:
        yield server
    finally:
        server.stop()


def with_routes() -> FastAPI:
    """Return step 7 with a route that names all tasks, and two that speak from threads."""
    app = FastAPI()

    @app.get("/tasks")
    async def tasks() -> list[str]:
        coroutines: list[Any] = [task.get_coro() for task in asyncio.all_tasks()]
        return sorted(coroutine.__qualname__ for coroutine in coroutines)

    @app.post("/news/route")
    def from_a_plain_route() -> None:
        anyio.from_thread.run_sync(step07.manager.broadcast, Notice(text="route"))

    @app.post("/news/thread")
    async def from_a_thread() -> None:
        push = asyncio.get_running_loop().call_soon_threadsafe
        news = Notice(text="thread")
        threading.Thread(target=push, args=[step07.manager.broadcast, news]).start()

    app.mount("/", step07.app)
    return app


async def until_tasks(http: httpx2.AsyncClient, wanted: list[str]) -> None:
    """Wait until there are these tasks and no others."""
    async with asyncio.timeout(5):
        while (await http.get("/tasks")).json() != sorted(wanted):
            pass


# Nobody waits


@pytest.mark.parametrize("step", [faulty(STEP6, TimeoutError), STEP7])
async def test_a_client_that_never_reads_stops_nobody(serve: Serve, step: str) -> None:
    # With the buffers that the kernel gives, and the bounds that the step has.
    server = serve(step)
    async with (
        server.connect("/ws?name=ada", compression=None) as ada,
        server.connect("/ws?name=bob", compression=None) as bob,
        deaf(server, "/ws?name=eve"),
    ):
        heard: list[dict[str, Any]] = []
        for number in range(1000):
            await ada.say(text(number))
            heard += await hears_until(bob, {"type": "message", "text": text(number)})
        assert numbers(heard) == list(range(1000))
        assert heard.count({"type": "left", "name": "eve"}) == 1


@pytest.mark.parametrize("step", [faulty(STEP6, TimeoutError), STEP7])
async def test_whoever_keeps_up_hears_everything_in_order_whatever_the_others_do(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(outbox, "MESSAGES", 50)
    server = serve(step, socket_options=SMALL)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        speakers = [await enter(server.connect(f"/ws?name=speaker-{n}")) for n in range(3)]
        crowd = [await enter(server.connect(compression=None)) for _ in range(8)]
        silent = [await enter(deaf(server)) for _ in range(6)]

        async def speak(speaker: Client, turn: int) -> None:
            for number in range(5 * turn, 5 * turn + 5):
                await speaker.say(text(number))

        async def listen(client: Client, turn: int) -> None:
            heard: dict[str, list[int]] = {f"speaker-{n}": [] for n in range(3)}
            while sum(map(len, heard.values())) < 15:
                frame = await hears(client)
                if frame["type"] == "message":
                    heard[frame["name"]] += numbers([frame])
            assert all(said == list(range(5 * turn, 5 * turn + 5)) for said in heard.values())

        for turn in range(12):
            await asyncio.gather(
                *(speak(speaker, turn) for speaker in speakers),
                *(listen(client, turn) for client in [*speakers, *crowd]),
            )
            # Meanwhile some vanish, of those who read and of those who do not, and some read on.
            if turn == 2:
                for client in (crowd.pop(), *silent[:2]):
                    reset(client)
            if turn == 8:
                for client in silent[2:4]:
                    read_on(client)


async def test_many_frames_in_one_turn_of_the_loop_cut_off_nobody_who_reads(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MESSAGES", 5)
    server = serve(STEP7)
    async with server.connect("/ws?name=ada") as ada, server.connect("/ws?name=bob") as bob:
        # In one packet: the handler passes them all on before a writer has its turn.
        protocol = ada.connection.protocol
        for number in range(60):
            protocol.send_text(b'{"type":"say","text":"%d"}' % number)
        ada.connection.transport.write(b"".join(protocol.data_to_send()))
        for client in (ada, bob):
            frames = await hears_until(client, {"type": "message", "text": "59"})
            assert numbers(frames) == list(range(60))


async def test_news_can_be_pushed_from_threads(serve: Serve) -> None:
    server = serve(with_routes())
    async with server.connect() as ada, httpx2.AsyncClient(base_url=server.url) as http:
        for where in ("route", "thread"):
            await http.post(f"/news/{where}")
            assert (await hears_until(ada, {"type": "notice"}))[-1]["text"] == where


async def test_a_push_that_awaits_what_is_no_coroutine_fails() -> None:
    def push() -> int:
        return anyio.from_thread.run(step07.manager.broadcast, Notice(text="news"))  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="object int can't be used in 'await' expression"):
        await anyio.to_thread.run_sync(push)
    loop = asyncio.get_running_loop()
    sent = step07.manager.broadcast(Notice(text="news"))
    with pytest.raises(TypeError, match="A coroutine object is required"):
        asyncio.run_coroutine_threadsafe(sent, loop)  # type: ignore[arg-type]


def test_a_test_client_may_leave_at_any_moment() -> None:
    # It cancels the app's task a moment after it has said goodbye. A TaskGroup that is ending on
    # an exception at that moment swallows the cancellation, before Python 3.13.
    for _ in range(50):
        with TestClient(step07.app) as client, client.websocket_connect("/ws") as socket:
            assert socket.receive_json()["type"] == "welcome"


# What becomes of the one that does not read


@pytest.mark.parametrize("bound", [{"MESSAGES": 20}, {"BYTES": 160_000}], ids=["MESSAGES", "BYTES"])
async def test_a_full_outbox_ends_the_connection_with_1013(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, bound: dict[str, int]
) -> None:
    for name, value in ({"MESSAGES": 10**9, "BYTES": 10**9} | bound).items():
        monkeypatch.setattr(outbox, name, value)
    server = serve(STEP7, socket_options=SMALL)
    async with server.connect("/ws?name=ada") as ada, deaf(server, "/ws?name=eve") as eve:
        said = await speak_until_gone(ada, "eve")
        # Eve reads on: what was on its way, in order and without a gap, and then why it ended.
        read_on(eve)
        heard = numbers(await hears_to_the_end(eve))
        assert heard == said[: len(heard)]
        assert await eve.closed() == TOO_SLOW
        # Either bound leaves room for about 20 of these.
        assert 18 <= len(said) - len(heard) <= 25


async def test_another_policy_drops_the_oldest_frames_and_keeps_the_client(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MESSAGES", 20)
    monkeypatch.setattr(outbox, "POLICY", "drop oldest")
    server = serve(STEP7, socket_options=SMALL)
    async with server.connect("/ws?name=ada") as ada, deaf(server, "/ws?name=eve") as eve:
        for number in range(100):
            await ada.say(text(number))
            await hears_until(ada, {"type": "message", "text": text(number)})
        read_on(eve)
        heard = numbers(await hears_until(eve, {"type": "message", "text": text(99)}))
        # What was on its way, then a gap, then the newest.
        early = len(heard) - 20
        assert heard == [*range(early), *range(80, 100)]
        assert early < 80
        # From here on she misses nothing, and nobody has heard that she left.
        await eve.say("marker")
        assert await hears(eve) == await hears(ada)


async def test_one_who_is_cut_off_has_left_and_its_name_is_free_before_it_reads_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MESSAGES", 20)
    server = serve(with_routes(), socket_options=SMALL)
    connected = ["WebSocketsSansIOProtocol.run_asgi", "read_ahead"]
    connected += ["Outbox.drain", "Outbox.until_ended"]
    async with httpx2.AsyncClient(base_url=server.url) as http:
        nobody = (await http.get("/tasks")).json()
        async with server.connect("/ws?name=ada") as ada, deaf(server, "/ws?name=eve") as eve:
            await until_tasks(http, [*nobody, *connected, *connected])
            [full] = [box for box, name in step07.manager.connections.items() if name == "eve"]
            await speak_until_gone(ada, "eve")
            async with server.connect("/ws?name=eve") as again:
                assert (await hears(again))["here"] == ["ada", "eve"]
            # She has not read a word. One task waits, for as long as her connection lasts, to
            # tell her why it ends. It keeps none of the frames: it may wait for hours.
            await until_tasks(http, [*nobody, *connected, connected[0]])
            assert full.frames.empty()
            reset(eve)
            await until_tasks(http, [*nobody, *connected])
        await until_tasks(http, nobody)
    assert not registered(step07)


@pytest.mark.parametrize("step", [faulty(STEP6, AssertionError), STEP7])
async def test_a_stop_has_to_give_up_on_the_silent_one_and_on_nobody_else(step: str) -> None:
    with process(step, timeout_graceful_shutdown=1) as server:
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            ada, *crowd = [await enter(server.connect()) for _ in range(5)]
            await enter(deaf(server))
            for number in range(30):
                await ada.say(text(number))
            # Step 6 stands still after some of these, and is told to stop all the same.
            with suppress(TimeoutError):
                await hears_until(ada, {"type": "message", "text": text(29)})
            printed = await asyncio.to_thread(server.terminate)
            for client in (ada, *crowd):
                assert (await client.closed())[0] == 1012
    assert "Cancel 1 running task(s), timeout graceful shutdown exceeded" in printed
    assert "CancelledError" in printed


async def test_the_limit_without_a_timeout_the_stop_still_waits_for_the_silent_one(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MESSAGES", 20)
    server = serve(STEP7, socket_options=SMALL, timeout_graceful_shutdown=None)
    async with server.connect() as ada, deaf(server, "/ws?name=eve") as eve:
        await speak_until_gone(ada, "eve")
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        assert (await ada.closed())[0] == 1012
        done, _ = await asyncio.wait({stopping}, timeout=1)
        assert not done
        reset(eve)
        await stopping


# What an app can do about a client that does not read, and what it cannot


class Waiting:
    """An app that sends without an end, on uvicorn's own protocol, which tells of itself."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.app.websocket("/ws")(self.send)
        self.sent = 0
        self.buffered = 0
        self.timed_out = threading.Event()
        self.ended = threading.Event()
        waiting = self

        class Protocol(WebSocketsSansIOProtocol):
            def keepalive_timeout(self) -> None:
                waiting.buffered = self.transport.get_write_buffer_size()
                super().keepalive_timeout()
                waiting.timed_out.set()

        self.protocol = Protocol

    async def send(self, websocket: WebSocket) -> None:
        """Send until that fails."""
        await websocket.accept()
        with suppress(WebSocketDisconnect):
            while True:
                await websocket.send_text(BIG)
                self.sent += 1
        self.ended.set()


async def happened(event: threading.Event) -> None:
    """Wait for something in the other thread, without blocking this one's loop."""
    assert await asyncio.to_thread(event.wait, 10)


async def test_a_send_that_waits_still_waits_when_the_ping_has_timed_out(serve: Serve) -> None:
    waiting = Waiting()
    pings = {"ws_ping_interval": 0.1, "ws_ping_timeout": 0.1}
    server = serve(waiting.app, ws=waiting.protocol, socket_options=SMALL, **pings)
    async with deaf(server) as eve, httpx2.AsyncClient(base_url=server.url) as http:
        await happened(waiting.timed_out)
        # Full are 64 KiB, and the frame with which they were.
        assert 65_536 < waiting.buffered < 65_536 + len(BIG.encode()) + 100
        # uvicorn has closed the transport, which now waits for its buffer, too. A marker: the loop
        # has turned many times when this is answered.
        assert (await http.get("/docs")).status_code == 200
        assert not waiting.ended.is_set()
        reset(eve)
        await happened(waiting.ended)


@linux
async def test_tcp_user_timeout_on_the_listening_socket_frees_what_pings_do_not(
    serve: Serve,
) -> None:
    waiting = Waiting()
    milliseconds = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 500)
    server = serve(waiting.app, socket_options=[*SMALL, milliseconds])
    async with deaf(server):
        await happened(waiting.ended)


@linux
async def test_the_kernel_takes_megabytes_for_a_client_that_reads_nothing(serve: Serve) -> None:
    waiting = Waiting()
    pings = {"ws_ping_interval": 0.1, "ws_ping_timeout": 0.1}
    server = serve(waiting.app, ws=waiting.protocol, **pings)
    async with server.connect(compression=None) as eve:
        eve.connection.transport.pause_reading()
        await happened(waiting.timed_out)
        # Before these 2 MB are full, nobody can know that she does not read.
        assert waiting.sent * len(BIG.encode()) > 2_000_000
        reset(eve)


def resident(pid: int) -> int:
    """Return how much memory a process has, in MB."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) // 1024


def no_bounds() -> Any:
    """Name the settings with which the memory has to grow."""
    settings = {"MESSAGES": 10**9, "BYTES": 10**9}
    return pytest.param(settings, id="no bounds", marks=pytest.mark.xfail(raises=AssertionError))


@linux
@pytest.mark.parametrize(
    "settings",
    [
        no_bounds(),
        pytest.param({"BYTES": 128 * 1024}, id="drop client"),
        pytest.param({"BYTES": 128 * 1024, "POLICY": "drop oldest"}, id="drop oldest"),
    ],
)
async def test_the_server_grows_no_more_while_a_hundred_refuse_to_read(
    settings: dict[str, Any],
) -> None:
    with process(STEP7, settings) as server:
        async with AsyncExitStack() as stack:
            ada = await stack.enter_async_context(server.connect(compression=None))
            for _ in range(100):
                await stack.enter_async_context(deaf(server))

            async def speak(times: int) -> int:
                for number in range(times):
                    await ada.say(text(number))
                    await hears_until(ada, {"type": "message", "text": text(number)})
                return resident(server.pid)

            # To a hundred these are 40 MB, and then 160 MB.
            before, after = await speak(50), await speak(200)
            assert after - before < 40


async def test_a_queue_without_a_bound_grows_with_everything_that_is_said(serve: Serve) -> None:
    server = serve("tests.broken.unbounded_queue", socket_options=SMALL)
    async with (
        server.connect() as ada,
        deaf(server),
        httpx2.AsyncClient(base_url=server.url) as http,
    ):
        waiting = []
        for _ in range(3):
            for number in range(100):
                await ada.say(text(number))
                await hears_until(ada, {"text": text(number)})
            waiting.append((await http.get("/waiting")).json()["waiting"])
        # Some were on their way before the first count; of all others, none has gone.
        assert [later - waiting[0] for later in waiting] == [0, 100, 200]


def test_the_figure_and_the_table_show_what_was_measured() -> None:
    data = json.loads(backpressure_curve.DATA.read_text("utf-8"))
    assert backpressure_curve.FIGURE.read_text("utf-8") == backpressure_curve.figure(data)
    assert backpressure_curve.TABLE.read_text("utf-8") == backpressure_curve.table(data)
