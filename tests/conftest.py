"""A real server and real clients, and the one way to break a line."""

import asyncio
import json
import socket
import ssl
import struct
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from _pytest.mark import ParameterSet
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect

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


class Server:
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
        options = {"log_config": None, "timeout_graceful_shutdown": 5, **options}
        config = uvicorn.Config(app, **options)
        self._uvicorn = Uvicorn(config)
        self._thread = threading.Thread(target=self._uvicorn.run, args=([listener],))
        self._thread.start()

    @property
    def url(self) -> str:
        """Where HTTP finds it."""
        return f"http://{self.address}"

    @asynccontextmanager
    async def connect(self, path: str = "/ws", **options: Any) -> AsyncIterator[Client]:
        """Connect a client. Raises `InvalidStatus` if the handshake is refused.

        It takes in all that arrives, read or not: a test may close it with frames unread.
        """
        options = {"proxy": None, "max_queue": None, **options}
        async with connect(f"ws://{self.address}{path}", **options) as connection:
            yield Client(connection)

    def stop(self) -> None:
        """Stop as on SIGTERM: clients get close code 1012."""
        self._uvicorn.should_exit = True
        self._thread.join()


Serve = Callable[..., Server]
STEPS = sorted(folder.name for folder in (Path(__file__).parents[1] / "steps").glob("step*"))


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


def browse(server: Server) -> httpx2.AsyncClient:
    """Return an HTTP client that keeps cookies."""
    # To load what the system trusts takes 30 ms, and nothing here is asked over TLS.
    return httpx2.AsyncClient(base_url=server.url, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


async def sign_in(server: Server, name: str) -> dict[str, str]:
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
    """Return the connections that a step's `main` module has in its books."""
    if hasattr(module, "manager"):
        module = module.manager
    return set(getattr(module, "connections", ()))
