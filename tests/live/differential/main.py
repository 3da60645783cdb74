"""Does over WebSocket and HTTP what its page asks for, and tells what it saw."""

import asyncio
import json
import sqlite3
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from contextvars import ContextVar
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import (
    BackgroundTasks,
    Cookie,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Query,
    Request,
    Response,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.requests import HTTPConnection

from .journal import Witness, journal
from .script import play

STATIC = Path(__file__).parent / "static"


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, str]]:
    """Give every connection a greeting."""
    yield {"greeting": "from the lifespan"}


app = FastAPI(lifespan=lifespan)
app.add_middleware(Witness)


# What the page and the app tell each other beside the scenario.


@app.post("/clear", status_code=204)
async def clear() -> None:
    """Begin anew."""
    journal.clear()


@app.get("/journal")
async def read_journal(name: Annotated[list[str], Query()]) -> list[list[str]]:
    """Return what was noted about connections, once their endpoints have ended."""
    return [await journal.of(one) for one in name]


@app.post("/signal", status_code=204)
async def signal(name: str) -> None:
    """Give the app a signal."""
    journal.signals[name].set()


@app.get("/signal", status_code=204)
async def wait(name: str) -> None:
    """Answer when the app has given a signal."""
    await journal.signals[name].wait()


# WebSockets.


@app.websocket("/act")
async def act(websocket: WebSocket, note: str, do: Annotated[list[str], Query()]) -> None:
    """Carry out what the page's script says."""
    await play(websocket, note, do)


@app.websocket("/echo")
async def echo(websocket: WebSocket, note: str) -> None:
    """Send back what comes."""
    await play(websocket, note, ["accept", "echo"])


@app.websocket("/item/{number}")
async def item(
    websocket: WebSocket,
    number: int,
    size: Annotated[int, Query(le=9)],
    color: Annotated[str, Cookie()] = "no cookie",
    accept_language: Annotated[str, Header()] = "",
) -> None:
    """Tell what the parameters are."""
    await websocket.accept()
    await websocket.send_json([number, size, color, bool(accept_language)])
    await websocket.receive()


def shouted(word: str) -> str:
    """Change a word. A plain function: FastAPI runs it in a thread."""
    if word == "bad":
        raise WebSocketException(4403, "a bad word")
    return word.upper()


def opened(note: str) -> Iterator[str]:
    """Lend something to an endpoint, and note when it is given back."""
    journal.note(note, "lent")
    try:
        yield "lent"
    finally:
        journal.note(note, "given back")


@app.websocket("/dependent")
async def dependent(
    websocket: WebSocket,
    word: Annotated[str, Depends(shouted)],
    thing: Annotated[str, Depends(opened)],
) -> None:
    """Tell what the dependencies gave."""
    await websocket.accept()
    await websocket.send_text(f"{word} {thing}")
    await websocket.receive()


@app.websocket("/plain")
def plain(websocket: WebSocket) -> None:
    """Fail: a socket's endpoint must be `async`."""


@app.websocket("/scope/{rest:path}")
async def websocket_scope(websocket: WebSocket, note: str) -> None:
    """Note what the scope of a connection says."""
    for key, value in described(websocket).items():
        journal.note(note, f"{key}: {json.dumps(value, ensure_ascii=False)}")
    await websocket.accept(subprotocol=next(iter(websocket.scope["subprotocols"]), None))
    await websocket.close()


@app.websocket("/cookies/{rest:path}")
async def websocket_cookies(websocket: WebSocket) -> None:
    """Tell which cookies came with the handshake."""
    await websocket.accept()
    await websocket.send_text(websocket.headers.get("cookie", "none"))
    await websocket.close()


people: dict[str, WebSocket] = {}


@app.websocket("/room")
async def room(websocket: WebSocket, who: str) -> None:
    """Pass on to all what one says."""
    await websocket.accept()
    people[who] = websocket
    journal.signals[f"{who} came"].set()
    try:
        while True:
            text = await websocket.receive_text()
            for other in people.values():
                await other.send_text(f"{who}: {text}")
    except WebSocketDisconnect as gone:
        del people[who]
        for other in people.values():
            await other.send_text(f"{who} left with {gone.code}")


@app.websocket("/two-tasks")
async def two_tasks(websocket: WebSocket, note: str) -> None:
    """Receive in one task and send in another; end both when the client has gone."""
    await websocket.accept()
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def send() -> None:
        while True:
            await websocket.send_text(f"from the queue: {await queue.get()}")

    sending = asyncio.create_task(send())
    try:
        async for text in websocket.iter_text():
            queue.put_nowait(text)
    finally:
        sending.cancel()
        result = await asyncio.gather(sending, return_exceptions=True)
        journal.note(note, f"the other task: {type(result[0]).__name__}")


# HTTP.


class Thing(BaseModel):
    """A body."""

    name: str = Field(max_length=5)


@app.post("/thing")
async def thing(thing: Thing) -> Thing:
    """Send back what came."""
    return thing


@app.api_route("/mirror", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def mirror(request: Request) -> dict[str, Any]:
    """Tell what came."""
    body = await request.body()
    kind = request.headers.get("content-type", "none").partition(";")[0]
    return {
        "method": request.method,
        "query": request.query_params.multi_items(),
        "type": kind,
        # A boundary is made up by the browser.
        "body": "several parts" if kind.startswith("multipart") else body.hex()[:80],
        "length": "any" if kind.startswith("multipart") else len(body),
        "content-length": "any"
        if kind.startswith("multipart")
        else request.headers.get("content-length"),
        "x-own": request.headers.get("x-own"),
        "origin": request.headers.get("origin", "none").replace(request.headers["host"], "HOST"),
        "cookies": request.cookies,
    }


@app.get("/scope/{rest:path}")
async def http_scope(request: Request) -> dict[str, Any]:
    """Tell what the scope of a request says."""
    return described(request)


@app.get("/plain-function")
def plain_function() -> str:
    """Answer from a plain function: FastAPI runs it in a thread."""
    return "from a plain function"


@app.get("/headers")
async def headers(response: Response) -> None:
    """Answer with headers of its own."""
    response.headers["x-own"] = "caf\xe9"
    response.headers.append("x-twice", "one")
    response.headers.append("x-twice", "two")


@app.get("/cookies/{rest:path}")
async def cookies(request: Request, response: Response) -> str | None:
    """Tell which cookies came, and give the page those that it names."""
    for line in request.query_params.getlist("line"):
        response.raw_headers.append((b"set-cookie", line.encode()))
    if to := request.query_params.get("to"):
        response.status_code = 303
        response.headers["location"] = to
    return request.headers.get("cookie")


@app.get("/redirect")
@app.post("/redirect")
async def redirect(status: int, to: str) -> RedirectResponse:
    """Send the page on."""
    return RedirectResponse(to, status)


@app.get("/status/{code}")
async def status(code: int) -> Response:
    """Answer with a status."""
    if code >= 400:
        raise HTTPException(code, "as you wish", {"x-own": "in an error"})
    return Response(status_code=code)


@app.get("/crash")
async def crash() -> None:
    """Crash."""
    raise ValueError("a bug")


@app.get("/stream")
async def stream(name: str) -> StreamingResponse:
    """Send one part, and the other when the page has had the first, or when it does not come."""

    async def parts() -> AsyncIterator[str]:
        yield "one"
        try:
            async with asyncio.timeout(1):
                await journal.signals[name].wait()
            yield " two"
        except TimeoutError:
            yield " nobody came"

    return StreamingResponse(parts(), media_type="text/plain")


@app.get("/broken-stream")
async def broken_stream() -> StreamingResponse:
    """Crash in the middle of an answer."""

    async def parts() -> AsyncIterator[str]:
        yield "one"
        raise ValueError("a bug")

    return StreamingResponse(parts(), media_type="text/plain")


@app.get("/endless")
async def endless(request: Request, name: str) -> PlainTextResponse:
    """Wait until the page has gone away, and note that."""
    journal.signals[f"{name} begun"].set()
    while not await request.is_disconnected():  # noqa: ASYNC110 - Starlette has no event
        await asyncio.sleep(0.01)
    journal.signals[f"{name} gone"].set()
    return PlainTextResponse("nobody reads this")


@app.get("/events")
async def events() -> StreamingResponse:
    """Send two server-sent events."""
    return StreamingResponse(
        iter(["data: one\n\n", "data: two\n\n"]), media_type="text/event-stream"
    )


@app.get("/large")
async def large(size: int) -> Response:
    """Send many bytes."""
    return Response(bytes(range(256)) * (size // 256), media_type="application/octet-stream")


@app.get("/later")
async def later(tasks: BackgroundTasks, name: str) -> str:
    """Do something after the answer."""
    tasks.add_task(journal.signals[name].set)
    return "soon"


@app.get("/file")
async def file() -> FileResponse:
    """Send a file to keep."""
    return FileResponse(STATIC / "notes.txt", filename="kept.txt")


# What Python can do here.

who: ContextVar[str] = ContextVar("who", default="nobody")


@app.get("/python/thread")
async def thread() -> str:
    """Have a function run in a thread."""
    return await asyncio.to_thread(lambda: "from a thread")


@app.get("/python/patience")
def patience(name: str) -> str:
    """Wait for a signal, a second at most, in a function that FastAPI runs in a thread."""
    journal.signals[f"{name} begun"].set()
    for _ in range(100):
        if journal.signals[name].is_set():
            return "others had their turn"
        time.sleep(0.01)
    return "nobody else had a turn"


@app.get("/python/pool")
async def pool() -> list[str]:
    """Have the one thread of a pool do three things in order, while the loop turns on."""
    in_thread: list[str] = []
    in_loop: list[str] = []
    loop = asyncio.get_running_loop()

    def work(name: str) -> str:
        in_thread.append(name)
        loop.call_soon_threadsafe(in_loop.append, f"told of {name}")
        if name == "three":
            raise ValueError(name)
        return f"{name} done"

    with ThreadPoolExecutor(1) as executor:
        jobs = [loop.run_in_executor(executor, work, name) for name in ("one", "two", "three")]
        in_loop.append("asked")
        results = await asyncio.gather(*jobs, return_exceptions=True)
    return [*in_thread, *in_loop, *map(str, results)]


@app.get("/python/database")
async def database() -> list[str]:
    """Keep something in a file, and find it there again."""
    seen: list[str] = []
    with TemporaryDirectory() as folder:
        for number in (1, 2):
            with closing(sqlite3.connect(f"{folder}/a.db", isolation_level=None)) as file:
                seen += file.execute("PRAGMA journal_mode = WAL").fetchone()
                file.execute("CREATE TABLE IF NOT EXISTS kept (number INTEGER PRIMARY KEY)")
                new = file.execute("INSERT INTO kept VALUES (?) RETURNING number", [number])
                seen.append(str(new.fetchall()))
                seen.append(str(file.execute("SELECT number FROM kept").fetchall()))
                try:
                    file.execute("INSERT INTO kept VALUES (1)")
                except sqlite3.IntegrityError as error:
                    seen.append(str(error))
    return seen


async def outcome(attempt: Awaitable[str]) -> str:
    """Return what an attempt comes to, or the name of what stands against it."""
    try:
        return await attempt
    except Exception as error:
        return type(error).__name__


@app.get("/python/threads")
async def threads() -> str:
    """Start a thread."""

    async def attempt() -> str:
        seen: list[str] = []
        thread = threading.Thread(target=lambda: seen.append("from a thread of our own"))
        thread.start()
        thread.join()
        return seen[0]

    return await outcome(attempt())


@app.get("/python/sockets")
async def sockets(request: Request) -> str:
    """Connect to a server: this one."""

    async def attempt() -> str:
        _, writer = await asyncio.open_connection(*request.scope["server"])
        writer.close()
        return "connected"

    return await outcome(attempt())


@app.get("/python/processes")
async def processes() -> str:
    """Run a command."""

    async def attempt() -> str:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
        return f"ended with {await process.wait()}"

    return await outcome(attempt())


@app.get("/python/sleep")
async def sleep() -> str:
    """Tell whether other tasks had a turn while this one slept in the way that blocks."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    before = turns
    time.sleep(0.02)  # noqa: ASYNC251 - the mistake is the subject
    after = turns
    counting.cancel()
    return "others had turns" if after > before else "nobody else had a turn"


@app.get("/python/asyncio")
async def tools_of_asyncio() -> list[str]:
    """Use what the steps use of asyncio."""
    seen = []
    try:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
    except TimeoutError:
        seen.append("timeout")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(0, number)) for number in range(3)]
    seen.append(str([task.result() for task in tasks]))
    queue: asyncio.Queue[int] = asyncio.Queue(1)
    queue.put_nowait(1)
    try:
        queue.put_nowait(2)
    except asyncio.QueueFull:
        seen.append("full")
    who.set("somebody")
    seen.append(await asyncio.create_task(ask_who()))
    started = asyncio.get_running_loop().time()
    await asyncio.sleep(0.05)
    seen.append(f"slept: {asyncio.get_running_loop().time() - started >= 0.049}")
    return seen


async def ask_who() -> str:
    """Return what the context says."""
    return who.get()


def described(connection: HTTPConnection) -> dict[str, Any]:
    """Return what a scope says, without what differs from run to run."""
    scope = connection.scope
    headers = connection.headers
    return {
        "type": scope["type"],
        "asgi": scope["asgi"],
        "http_version": scope["http_version"],
        "scheme": scope["scheme"],
        "server": [type(part).__name__ for part in scope["server"]],
        "client": [scope["client"][0], type(scope["client"][1]).__name__],
        "root_path": scope["root_path"],
        "path": scope["path"],
        "raw_path": scope["raw_path"].decode(),
        "query_string": scope["query_string"].decode().partition("host=")[0],
        "subprotocols": scope.get("subprotocols"),
        "greeting": scope["state"]["greeting"],
        "extensions": sorted(scope.get("extensions", {})),
        "keys": sorted(key for key in scope if isinstance(key, str)),
        "url": str(connection.url).replace(headers["host"], "HOST").partition("host=")[0],
        # The page tells what it thinks its server is: the runner has one of its own.
        "host is the page's": headers["host"] == connection.query_params.get("host"),
        "origin": headers.get("origin", "none").replace(headers["host"], "HOST"),
        "user-agent": headers.get("user-agent", "none")[:8],
        "upgrade": headers.get("upgrade"),
        "connection": headers.get("connection"),
        "cookie": headers.get("cookie"),
        "there": [name for name in SOME_HEADERS if name in headers],
        "in lower case": all(name == name.lower() for name, _ in scope["headers"]),
        "json": json.dumps(connection.path_params, ensure_ascii=False),
    }


SOME_HEADERS = (
    "accept",
    "accept-encoding",
    "accept-language",
    "referer",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-websocket-key",
    "sec-websocket-version",
)

app.mount("/files", StaticFiles(directory=STATIC, html=True))
app.frontend("/", directory=STATIC)
