"""Real servers and real clients, and the ways to break a line, a process, and Redis."""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from _pytest.mark import ParameterSet
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect

from tests.redis_server import Redis

if sys.platform != "win32":
    import resource

    # Two hundred clients and their server need 400 files; macOS gives a terminal 256.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, most) if most > 0 else 4096, most))


class Client:
    """One WebSocket client, with the verbs that tests use."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, frame: str | bytes | dict[str, Any]) -> None:
        """Send text, bytes (a binary frame), or a dictionary as JSON."""
        await self.connection.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def say(self, text: str) -> None:
        """Send a `say` frame."""
        await self.send({"type": "say", "text": text})

    async def receive(self) -> dict[str, Any]:
        """Return the next frame. Raises `ConnectionClosed` if there is none."""
        frame: dict[str, Any] = json.loads(await self.connection.recv())
        return frame

    async def hears(self) -> str:
        """Return the text of the next frame, which must be a message."""
        frame = await self.receive()
        assert frame["type"] == "message", frame
        text: str = frame["text"]
        return text

    async def closed(self) -> tuple[int, str]:
        """Wait for the end of the connection; return its close code and reason.

        1006 if the server sent no close frame (RFC 6455, section 7.1.5).
        """
        await self.connection.wait_closed()
        return self.connection.close_code or 0, self.connection.close_reason or ""


def reset(client: Client) -> None:
    """Cut a client's line with a TCP RST: no close frame, no goodbye."""
    transport = client.connection.transport
    linger_for_no_time = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_no_time)
    transport.abort()


class Uvicorn(uvicorn.Server):
    """Looks a hundred times a second, and not ten, whether it is to stop: tests stop many."""

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # noqa: ASYNC110 - as uvicorn does
            await asyncio.sleep(0.01)


class Host:
    """Where a chat is to be found, by clients of its sockets and of its routes."""

    address: str
    path: str = "/ws"
    """Its socket: `/ws`, and from step 10 on that of a room."""

    @property
    def url(self) -> str:
        """Where HTTP finds it."""
        return f"http://{self.address}"

    @asynccontextmanager
    async def connect(self, path: str = "", **options: Any) -> AsyncIterator[Client]:
        """Connect a client. Raises `InvalidStatus` if the handshake is refused.

        A `path` that does not begin with a slash comes after the chat's own: `?name=ada`.
        It takes in all that arrives, read or not: a test may close it with frames unread.
        """
        options = {"proxy": None, "max_queue": None, **options}
        path = path if path.startswith("/") else self.path + path
        async with connect(f"ws://{self.address}{path}", **options) as connection:
            yield Client(connection)


class Server(Host):
    """An app on a real uvicorn, in a thread, on a free port of the loopback interface.

    `options` are those of `uvicorn.Config`. Its connections inherit `socket_options`.
    """

    def __init__(
        self, app: FastAPI, *, socket_options: Iterable[tuple[int, int, int]] = (), **options: Any
    ) -> None:
        # It listens from here on: clients that come before uvicorn is up wait in the backlog.
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        for option in socket_options:
            listener.setsockopt(*option)
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        rooms = "/ws/{room}" in [getattr(route, "path", "") for route in app.routes]
        self.path = "/ws/lobby" if rooms else "/ws"
        options = {"log_config": None, "timeout_graceful_shutdown": 5, **options}
        config = uvicorn.Config(app, **options)
        self._uvicorn = Uvicorn(config)
        self._thread = threading.Thread(target=self._uvicorn.run, args=([listener],))
        self._thread.start()

    def stop(self) -> None:
        """Stop as on SIGTERM: clients get close code 1012."""
        self._uvicorn.should_exit = True
        self._thread.join()


ROOT = Path(__file__).parents[1]
BOOKS = ("connections", "rooms", "people", "positions")
STEPS = sorted(folder.name for folder in (ROOT / "steps").glob("step*"))


class Process(Host):
    """An app on uvicorn in a process of its own, on a port that it keeps: to be killed and started.

    `app` is a step, or `module:app`. After it come options of uvicorn's command line. `env` is
    added to the environment. What it prints goes to a file in `folder`. `address`: where to listen.
    """

    def __init__(
        self,
        app: str,
        *options: str,
        folder: Path,
        env: Mapping[str, str] | None = None,
        workers: int = 1,
        cwd: Path = ROOT,
        address: str = "",
    ) -> None:
        self.address = address or free_address()
        host, port = self.address.split(":")
        self.path = "/ws/lobby" if app in STEPS and app >= "step10" else "/ws"
        module = f"steps.{app}.main:app" if app in STEPS else app
        self._command = [sys.executable, "-m", "uvicorn", "--no-use-colors", module, *options]
        self._command += [f"--host={host}", f"--port={port}"]
        self._command += [f"--workers={workers}"] if workers > 1 else []
        self._workers, self._cwd, self._env = workers, cwd, dict(env or {})
        self._log = folder / f"uvicorn-{host}-{port}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.when_down: list[Callable[[str], object]] = []
        """What is called with its address before it is killed, or told to stop."""

    @property
    def pid(self) -> int:
        """The number of the process; with several workers, of that which watches over them."""
        assert self._process
        return self._process.pid

    def printed(self) -> str:
        """Return all that it has printed since it was started."""
        return self._log.read_text("utf-8")

    async def prints(self, pattern: str) -> re.Match[str]:
        """Wait until it has printed this, dots standing for newlines, too. Fails if it ends."""
        assert self._process
        while not (found := re.search(pattern, self.printed(), re.DOTALL)):
            assert self._process.poll() is None, self.printed()
            await asyncio.sleep(0.01)
        return found

    async def start(self) -> None:
        """Start it, and wait until all of its workers take connections."""
        # A session of its own: with --reload or workers it has children, which end with it.
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                self._command,
                cwd=self._cwd,
                env=os.environ | self._env,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        await self.prints(r"Application startup complete\..*" * self._workers)
        host, port = self.address.split(":")
        while True:
            with suppress(ConnectionRefusedError):
                (await asyncio.open_connection(host, int(port)))[1].close()
                return
            await asyncio.sleep(0.01)

    def kill(self) -> None:
        """Kill it and its workers, if they run (SIGKILL): they have no time to say goodbye."""
        self._goes_down()
        if self._process:
            with suppress(ProcessLookupError):
                if sys.platform == "win32":
                    self._process.kill()
                else:
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    async def terminate(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop, and wait until it has: clients get 1012. Return its status."""
        assert self._process
        self._goes_down()
        self._process.send_signal(how)
        return await asyncio.to_thread(self._process.wait)

    def _goes_down(self) -> None:
        for call in self.when_down:
            call(self.address)

    async def restart(self) -> None:
        """Kill it, if it runs, and start it again, on the same port and with the same log."""
        self.kill()
        await self.start()


def free_address() -> str:
    """Return `127.0.0.1:port`, with a port that is free."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


Serve = Callable[..., Server]
StartProcess = Callable[..., Awaitable[Process]]


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give each test a log of its own, for steps from 11 on; return its URL.

    Servers here have it, and processes that are started inherit it as CHAT_LOG.
    """
    path = tmp_path / "chat.db"
    monkeypatch.setenv("CHAT_LOG", f"sqlite:///{path}")
    for step in STEPS[10:]:
        if settings := sys.modules.get(f"steps.{step}.settings"):
            settings.settings.log = f"sqlite:///{path}"
        history: Any = getattr(sys.modules.get(f"steps.{step}.history"), "history", None)
        if hasattr(history, "file"):  # step 13 has read the setting already
            history.file.path = str(path)
    return f"sqlite:///{path}"


@pytest.fixture
def start_process(tmp_path: Path) -> Iterator[StartProcess]:
    """Start an app in a process of its own, and wait until it takes connections.

    The arguments are those of `Process`. Afterwards nothing of it runs any more.
    """
    started: list[Process] = []

    async def start(app: str, *options: str, **more: Any) -> Process:
        process = Process(app, *options, **{"folder": tmp_path, **more})
        started.append(process)
        await process.start()
        return process

    yield start
    for process in started:
        process.kill()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a Redis for all tests: our own, or that of TEST_REDIS_URL.

    That one is `redis://host:6379`, and each of pytest-xdist's workers takes a database of it.
    """
    if given := os.environ.get("TEST_REDIS_URL"):
        yield f"{given}/{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:]}"
        return
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.kill()


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """Return the URL of a Redis with nothing in it."""
    import redis  # a third of a second, which few tests need

    with closing(redis.Redis.from_url(redis_server)) as client:
        client.flushdb()
    return redis_server


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[[], Redis]]:
    """Start a Redis that can be killed and started again. Afterwards it does not run any more."""
    started: list[Redis] = []

    def start() -> Redis:
        started.append(Redis(tmp_path))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers of a step, `serve("step01_echo")`, of a module that has an `app`, or of an app.

    Afterwards each is stopped, and no step may still have a connection in its books.
    """
    started: list[tuple[Server, Any]] = []

    def start(app: str | FastAPI, **options: Any) -> Server:
        path = f"steps.{app}.main" if app in STEPS else app
        module: Any = import_module(path) if isinstance(path, str) else None
        server = Server(module.app if isinstance(app, str) else app, **options)
        started.append((server, module if app in STEPS else None))
        return server

    yield start
    for server, _ in started:
        server.stop()
    forget_sign_ins()
    for _, module in started:
        assert not registered(module)


def faulty(step: str, seen_as: type[Exception]) -> ParameterSet:
    """Name a step on which a test must fail, with this exception: the fault that the next mends."""
    return pytest.param(step, marks=pytest.mark.xfail(raises=seen_as, reason="the fault, seen"))


def browse(server: Host) -> httpx2.AsyncClient:
    """Return an HTTP client that keeps cookies."""
    # To load what the system trusts takes 30 ms, and nothing here is asked over TLS.
    return httpx2.AsyncClient(base_url=server.url, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


async def sign_in(server: Host, name: str) -> dict[str, str]:
    """Sign somebody in, from step 9 on; return the headers by which a program proves it."""
    async with browse(server) as http:
        answer = await http.post("/session", json={"name": name})
    return {"authorization": f"Bearer {answer.raise_for_status().json()['token']}"}


def forget_sign_ins() -> None:
    """Do to the books of sign-ins what a restart does: nothing is in them any more."""
    for module in [module for name, module in sys.modules.items() if name.startswith("steps.")]:
        for book in ("holders", "signed_out", "tickets"):
            getattr(module, book, set()).clear()


def registered(module: Any) -> set[Any]:
    """Return which connections, or whose, a step's `main` module has in its books."""
    if hasattr(module, "manager"):
        module = module.manager
    # From step 10 on in rooms and by person: neither is kept without a connection.
    return {each for book in BOOKS for each in getattr(module, book, ())}
