"""Runs a step, its files unmodified, on the real uvicorn, for the windows of one page."""

import asyncio
import importlib
import linecache
import logging
import shutil
import sys
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from network import Network, Request, WebSocket
from uvicorn.config import Config
from uvicorn.server import Server

ROOT = Path("/home/web")
DISK = Path.cwd()
"""Where files are that the app writes: they outlive it."""

Post = Callable[[dict[str, Any]], None]
Event = dict[str, Any]
ASGIApp = Callable[
    [Event, Callable[[], Awaitable[Event]], Callable[[Event], Awaitable[None]]], Awaitable[None]
]


class Uvicorn(Server):
    """Says when it is up, and stops when it is told to, not up to 0.1 s later."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self.told = asyncio.Event()

    async def main_loop(self) -> None:
        """Tick once a second: that often the header Date changes."""
        self.up.set()
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                await asyncio.wait_for(self.told.wait(), 1)

    def stop(self) -> None:
        """Ask it to stop, as Ctrl+C does."""
        self.should_exit = True
        self.told.set()


class Journal:
    """What passes on the lines and into the app: posted in batches, the newest 300 of each."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._rows = deque[dict[str, Any]](maxlen=300)
        self._flushed = 0.0
        self._due = False

    def note(self, kind: str, window: int, way: str, text: str) -> None:
        """Take a frame or an event down, `in` to the server or `out` of it.

        Its `kind` is `frame`, `asgi`, or `http` for the ASGI events of requests.
        """
        row = {"kind": kind, "window": window, "way": way, "text": text, "at": time.time() * 1000}
        self._rows.append(row)
        if time.monotonic() - self._flushed > 0.05:
            self.flush()  # even if the loop never turns
        elif not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(0.05, self.flush)

    def flush(self) -> None:
        """Post what there is."""
        self._flushed, self._due = time.monotonic(), False
        if self._rows:
            self._post({"type": "journal", "rows": list(self._rows)})
            self._rows.clear()


class Host:
    """One machine with one uvicorn. `post` hands a message to the page."""

    def __init__(self, post: Post) -> None:
        self._journal = Journal(post)
        self._network = Network()
        self._uvicorn: Uvicorn | None = None
        self._serving: asyncio.Task[None] | None = None
        self._windows: dict[int, int] = {}  # by the port from which they have connected

    async def start(self, app: str, files: dict[str, str], disk: dict[str, bytes] | None) -> bool:
        """Write the files of an app, `steps.step01_echo.main:app`, into its folder, and serve it.

        It finds the files of `disk`; None: what earlier ones have left. Returns whether it runs. If
        not, the log says why.
        """
        await self.stop()
        if disk is not None:
            put(disk)
        write(ROOT.joinpath(*app.split(".")[:-1]), files)
        config = Config(app, timeout_graceful_shutdown=1)
        try:
            config.load()
        except SystemExit:
            return False  # uvicorn has said why
        except BaseException as error:
            sys.stderr.write(f"{trace(error)}\n")
            return False
        config.loaded_app = self._watched(config.loaded_app)
        vars(asyncio.get_running_loop())["create_server"] = self._network.create_server
        self._uvicorn = Uvicorn(config)
        self._serving = asyncio.create_task(self._serve(self._uvicorn))
        up = asyncio.create_task(self._uvicorn.up.wait())
        await asyncio.wait({self._serving, up}, return_when=asyncio.FIRST_COMPLETED)
        return up.done()

    async def stop(self) -> dict[str, bytes]:
        """Stop uvicorn as Ctrl+C does, and then whatever the step has left running.

        Return what it has written into files.
        """
        if self._uvicorn and self._serving:
            # uvicorn 0.54 fails if it has to stop while it answers somebody's goodbye.
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    while not all(line.is_quiet for line in self._network.lines):  # noqa: ASYNC110 - lines come and go
                        await asyncio.sleep(0)
            self._uvicorn.stop()
            await self._serving
        self._uvicorn = self._serving = None
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        self._journal.flush()
        return left()

    def connect(
        self,
        window: int,
        path: str,
        protocols: list[str],
        headers: dict[str, str],
        tell: Callable[[dict[str, Any]], None],
    ) -> WebSocket:
        """Open a WebSocket of a window. Raises `ConnectionRefusedError` if no server runs."""

        def note(way: str, text: str) -> None:
            self._journal.note("frame", window, way, text)

        socket = WebSocket(self._network, path, protocols, headers, tell, note)
        self._windows[socket.line.port] = window
        return socket

    def request(self, window: int) -> Request:
        """Prepare a request of a window. Raises `ConnectionRefusedError` if no server runs."""
        request = Request(self._network)
        self._windows[request.line.port] = window
        return request

    async def _serve(self, server: Uvicorn) -> None:
        try:
            await server.serve()
        except SystemExit:
            pass  # an app's lifespan has failed; the page lives on
        except Exception as error:
            sys.stderr.write(f"{trace(error)}\n")
        for line in list(self._network.lines):
            line.abort()

    def _watched(self, app: ASGIApp) -> ASGIApp:
        async def watched(
            scope: Event,
            receive: Callable[[], Awaitable[Event]],
            send: Callable[[Event], Awaitable[None]],
        ) -> None:
            window = self._windows.get((scope.get("client") or (0, 0))[1], 0)
            kind = "http" if scope["type"] == "http" else "asgi"

            async def received() -> Event:
                event = await receive()
                self._journal.note(kind, window, "in", described(event))
                return event

            async def sent(event: Event) -> None:
                self._journal.note(kind, window, "out", described(event))
                await send(event)

            await app(scope, received, sent)

        return watched


def write(folder: Path, files: dict[str, str]) -> None:
    """Put files where Python finds them, and have it forget what it knew of others."""
    shutil.rmtree(ROOT, ignore_errors=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    for name in [name for name in sys.modules if name.split(".")[0] in ("steps", "tests")]:
        del sys.modules[name]
    importlib.invalidate_caches()
    linecache.clearcache()


def left() -> dict[str, bytes]:
    """Return the files that apps have written."""
    return {path.name: path.read_bytes() for path in DISK.iterdir() if path.is_file()}


def put(files: dict[str, bytes]) -> None:
    """Have these files in place of what apps have written."""
    for name in left():
        (DISK / name).unlink()
    for name, data in files.items():
        (DISK / name).write_bytes(data)


def described(event: Event) -> str:
    """Return an ASGI event in one line."""
    fields = [f"{name}={value!r}" for name, value in event.items() if name != "type" and value]
    return shortened(" ".join([event["type"], *fields]))


def shortened(text: str) -> str:
    """Return the beginning of a long text."""
    return text if len(text) <= 200 else f"{text[:200]}…"


def trace(error: BaseException) -> str:
    """Return a traceback with the step's own places in it, and none of the libraries'."""
    report = traceback.TracebackException.from_exception(error)
    parts = [report]
    while parts:
        part = parts.pop()
        part.stack[:] = [place for place in part.stack if place.filename.startswith(f"{ROOT}/")]
        linked = (part.__cause__, part.__context__, *(part.exceptions or ()))
        parts += [other for other in linked if other]
    return "".join(report.format()).replace(f'File "{ROOT}/', 'File "').rstrip()


logging.Formatter.formatException = lambda _, info: trace(info[1])  # type: ignore[assignment, method-assign, arg-type]
