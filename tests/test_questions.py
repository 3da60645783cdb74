"""The answers of the questions page, each made to happen on the versions in use.

The numbers in the headings are those of the page.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import anyio
import anyio.from_thread
import httpx2
import pytest
import uvicorn
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Cookie,
    Depends,
    FastAPI,
    HTTPException,
    Request,
    Response,
    WebSocket,
    WebSocketDisconnect,
    WebSocketException,
)
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.staticfiles import StaticFiles
from fastapi.testclient import TestClient
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as ASGIEvent
from starlette.websockets import WebSocketDisconnected, WebSocketState
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import ConnectionClosedError, InvalidStatus, NegotiationError
from websockets.typing import Origin

from tests.conftest import ROOT, Client, Host, Serve, Server, reset
from tests.memory_of_connections import WITHOUT, kib

Body = Callable[[WebSocket], Awaitable[object]]
Log = pytest.LogCaptureFixture

TOO_LATE = 'Cannot call "send" once a close message has been sent.'


def accepting(body: Body) -> FastAPI:
    """Return an app that accepts a socket on `/ws`, and leaves the rest to `body`."""
    app = FastAPI()

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await body(websocket)

    return app


def doors() -> FastAPI:
    """Return an app with two sockets: `/ws` lets in, `/shut` closes before it accepts."""
    app = FastAPI()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket, limit: int = 1) -> None:
        await websocket.accept()
        await websocket.close(1000, f"limit {limit}")

    @app.websocket("/shut")
    async def shut(websocket: WebSocket) -> None:
        await websocket.close(4401, "not signed in")

    return app


async def listen(websocket: WebSocket) -> None:
    """Read until the client leaves."""
    async for _ in websocket.iter_text():
        pass


async def echo(websocket: WebSocket) -> None:
    """Send back what comes, until the client leaves."""
    async for said in websocket.iter_text():
        await websocket.send_text(said)


async def refusal(server: Server, path: str) -> tuple[int, str]:
    """Return the status and the body with which the handshake is refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with server.connect(path):
            pass
    response = refused.value.response
    return response.status_code, bytes(response.body or b"").decode()


async def end(server: Server, path: str = "/ws", *frames: str | bytes) -> tuple[int, str]:
    """Send frames, then return the close code and the reason that the client gets."""
    async with server.connect(path) as client:
        for frame in frames:
            await client.send(frame)
        return await client.closed()


async def text(client: Client) -> str:
    """Return the next frame, which must be a text."""
    frame = await client.connection.recv()
    assert isinstance(frame, str)
    return frame


async def http(method: str, url: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    """Ask over HTTP, as a program beside the sockets does."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        return await client.request(method, url, headers=headers)


async def happened(event: threading.Event) -> None:
    """Wait for something in the other thread, without blocking this one's loop."""
    assert await asyncio.to_thread(event.wait, 10)


def watched(lost: threading.Event) -> type[asyncio.Protocol]:
    """Return uvicorn's own WebSocket protocol, which also says when it has lost a connection."""

    class Watched(WebSocketsSansIOProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            lost.set()

    return Watched


async def run_after_a_reset(serve: Serve, body: Body) -> None:
    """Run the body of an endpoint whose client's line is already cut, to its end."""
    lost = threading.Event()

    async def wait_and_run(websocket: WebSocket) -> None:
        await happened(lost)
        await body(websocket)

    server = serve(accepting(wait_and_run), ws=watched(lost))
    async with server.connect() as client:
        reset(client)
    server.stop()


def crash(caplog: Log) -> BaseException:
    """Return the one exception that uvicorn logged as "Exception in ASGI application"."""
    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.message.strip() == "Exception in ASGI application"
    assert record.exc_info
    assert record.exc_info[1]
    caplog.clear()
    return record.exc_info[1]


async def crash_of(serve: Serve, caplog: Log, body: Body, *frames: str | bytes) -> BaseException:
    """Return the exception that ends an endpoint; its client must see 1006."""
    assert await end(serve(accepting(body)), "/ws", *frames) == (1006, "")
    return crash(caplog)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder with one page."""
    (tmp_path / "index.html").write_text("a page")
    return tmp_path


# 2: How do I notice a client that is gone when I only send?


async def test_a_lost_client_counts_as_connected_until_the_app_receives(serve: Serve) -> None:
    states: list[WebSocketState] = []

    async def look(websocket: WebSocket) -> None:
        states.append(websocket.client_state)
        with suppress(WebSocketDisconnect):
            await websocket.receive_text()
        states.append(websocket.client_state)

    await run_after_a_reset(serve, look)
    assert states == [WebSocketState.CONNECTED, WebSocketState.DISCONNECTED]


async def test_after_a_failed_send_the_two_states_of_a_socket_disagree(serve: Serve) -> None:
    seen: list[object] = []

    async def send(websocket: WebSocket) -> None:
        try:
            await websocket.send_text("anyone?")
        except WebSocketDisconnect as gone:
            seen.extend([gone.code, websocket.application_state, websocket.client_state])

    await run_after_a_reset(serve, send)
    assert seen == [1006, WebSocketState.DISCONNECTED, WebSocketState.CONNECTED]


# 3: Cannot call "send" once a close message has been sent


async def test_the_first_send_after_a_goodbye_raises_one_error_and_the_next_another(
    serve: Serve,
) -> None:
    errors: list[Exception] = []

    async def talk_on(websocket: WebSocket) -> None:
        await listen(websocket)
        for _ in range(3):
            try:
                await websocket.send_text("one more thing")
            except (WebSocketDisconnect, RuntimeError) as error:
                errors.append(error)

    server = serve(accepting(talk_on))
    async with server.connect() as client:
        await client.connection.close(1001)
    server.stop()
    first, *later = errors
    assert isinstance(first, WebSocketDisconnect)
    assert first.code == 1006
    assert [type(error) for error in later] == [WebSocketDisconnected] * 2
    assert {str(error) for error in later} == {TOO_LATE}


async def test_a_send_after_ones_own_close_raises_on_a_live_line(serve: Serve, caplog: Log) -> None:
    async def close_and_send(websocket: WebSocket) -> None:
        await websocket.close()
        await websocket.send_text("one more thing")

    server = serve(accepting(close_and_send))
    assert await end(server) == (1000, "")
    server.stop()
    assert str(crash(caplog)) == TOO_LATE


async def test_receiving_after_a_failed_send_is_an_error_that_iter_text_does_not_swallow(
    serve: Serve, caplog: Log
) -> None:
    async def echo(websocket: WebSocket) -> None:
        with suppress(WebSocketDisconnect):
            await websocket.send_text("hello")
        await listen(websocket)

    await run_after_a_reset(serve, echo)
    error = crash(caplog)
    assert isinstance(error, WebSocketDisconnected)
    assert str(error) == 'WebSocket is not connected. Need to call "accept" first.'


async def test_an_unconditional_close_in_finally_crashes_after_a_lost_line(
    serve: Serve, caplog: Log
) -> None:
    async def careless(websocket: WebSocket) -> None:
        try:
            await listen(websocket)
        finally:
            await websocket.close()

    await run_after_a_reset(serve, careless)
    gone = crash(caplog)
    assert isinstance(gone, WebSocketDisconnect)
    assert gone.code == 1006


async def test_an_unconditional_close_in_finally_crashes_after_a_failed_send(
    serve: Serve, caplog: Log
) -> None:
    async def careless(websocket: WebSocket) -> None:
        try:
            await websocket.send_text("hello")
        finally:
            await websocket.close()

    await run_after_a_reset(serve, careless)
    assert str(crash(caplog)) == TOO_LATE


# 4: Why does one bad client kick everyone?


class DocumentedManager:
    """The connection manager of FastAPI's documentation."""

    def __init__(self) -> None:
        self.active_connections: list[WebSocket] = []

    async def connect(self, websocket: WebSocket) -> None:
        """Accept a client and enter it."""
        await websocket.accept()
        self.active_connections.append(websocket)

    def disconnect(self, websocket: WebSocket) -> None:
        """Strike a client off."""
        self.active_connections.remove(websocket)

    async def broadcast(self, message: str) -> None:
        """Send to each in turn."""
        for connection in self.active_connections:
            await connection.send_text(message)


class CarefulManager(DocumentedManager):
    """The same, but a send that fails is the recipient's affair."""

    async def broadcast(self, message: str) -> None:
        """Send to each who is still there."""
        for connection in list(self.active_connections):
            with suppress(WebSocketDisconnect, RuntimeError):
                await connection.send_text(message)


@asynccontextmanager
async def chat_with_a_dead_client(
    serve: Serve, manager: DocumentedManager
) -> AsyncIterator[tuple[Client, Client]]:
    """Give Ada and Bob in FastAPI's documented chat; Eve's line broke while her handler worked."""
    app, lost, rest = FastAPI(), threading.Event(), threading.Event()

    @app.websocket("/ws/{name}")
    async def chat(websocket: WebSocket, name: str) -> None:
        await manager.connect(websocket)
        try:
            while True:
                said = await websocket.receive_text()
                await websocket.send_text(f"You wrote: {said}")
                if said == "work":  # any await that is not receive_text() will do
                    return await happened(rest)
                await manager.broadcast(f"{name} says: {said}")
        except WebSocketDisconnect:
            manager.disconnect(websocket)
            await manager.broadcast(f"{name} left")

    server = serve(app, ws=watched(lost))
    async with (
        server.connect("/ws/eve") as eve,
        server.connect("/ws/ada") as ada,
        server.connect("/ws/bob") as bob,
    ):
        await eve.send("work")
        assert await text(eve) == "You wrote: work"
        reset(eve)
        await happened(lost)
        try:
            yield ada, bob
        finally:
            rest.set()


async def test_a_send_to_a_dead_client_throws_the_innocent_sender_out(
    serve: Serve, caplog: Log
) -> None:
    async with chat_with_a_dead_client(serve, DocumentedManager()) as (ada, bob):
        await ada.send("still here?")
        assert await text(ada) == "You wrote: still here?"
        assert await ada.closed() == (1006, "")
        assert str(crash(caplog)) == TOO_LATE  # the goodbye in her name met the dead socket again
        # Bob heard nothing of it, and is the next to go.
        await bob.send("Ada?")
        assert await text(bob) == "You wrote: Ada?"
        assert await bob.closed() == (1006, "")


async def test_an_error_caught_per_recipient_hurts_nobody_else(serve: Serve) -> None:
    async with chat_with_a_dead_client(serve, CarefulManager()) as (ada, bob):
        await ada.send("still here?")
        assert await text(bob) == "ada says: still here?"
        assert await text(ada) == "You wrote: still here?"
        assert await text(ada) == "ada says: still here?"


# 5: list.remove(x): x not in list; changed size during iteration


async def test_remove_raises_when_a_connection_is_struck_off_twice(
    serve: Serve, caplog: Log
) -> None:
    connections: list[WebSocket] = []

    async def endpoint(websocket: WebSocket) -> None:
        connections.append(websocket)
        try:
            connections.remove(websocket)  # what a broadcast does whose send has failed
        finally:
            connections.remove(websocket)

    error = await crash_of(serve, caplog, endpoint)
    assert repr(error) == "ValueError('list.remove(x): x not in list')"


async def test_a_list_iterated_live_across_await_skips_a_client() -> None:
    connections, heard = ["ada", "bob", "eve"], []

    async def leave(name: str) -> None:
        connections.remove(name)

    for name in connections:
        heard.append(name)
        if name == "ada":
            await asyncio.create_task(leave(name))
    assert heard == ["ada", "eve"]  # no error, and no Bob


@pytest.mark.parametrize(
    ("connections", "complaint"),
    [
        ({"ada", "bob"}, "Set changed size during iteration"),
        ({"ada": 1, "bob": 2}, "dictionary changed size during iteration"),
    ],
)
async def test_a_set_or_a_dictionary_iterated_live_across_await_raises(
    connections: set[str] | dict[str, int], complaint: str
) -> None:
    async def everyone_leaves() -> None:
        connections.clear()

    async def broadcast() -> None:
        for _ in connections:
            await asyncio.create_task(everyone_leaves())

    with pytest.raises(RuntimeError) as error:
        await broadcast()
    assert str(error.value) == complaint


async def test_a_copy_and_discard_reach_everyone_whoever_leaves_meanwhile() -> None:
    connections, heard = {"ada", "bob", "eve"}, set()

    async def everyone_leaves() -> None:
        for name in ("ada", "bob", "eve"):
            connections.discard(name)

    for name in list(connections):
        heard.add(name)
        await asyncio.create_task(everyone_leaves())
    assert heard == {"ada", "bob", "eve"}


# 6: How do I authenticate from a browser?


async def test_a_security_dependency_of_fastapi_works_on_a_socket(serve: Serve) -> None:
    app = FastAPI()

    @app.websocket("/ws")
    async def who(
        websocket: WebSocket,
        proof: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())],
    ) -> None:
        await websocket.accept()
        await websocket.send_text(proof.credentials)
        await websocket.close()

    server = serve(app)
    async with server.connect(additional_headers={"authorization": "Bearer my-token"}) as client:
        assert await text(client) == "my-token"
    with pytest.raises(InvalidStatus) as refused:
        async with server.connect():
            pass
    assert refused.value.response.status_code == 401


# 7: Why 403 on the handshake?


async def test_whatever_is_wrong_with_a_handshake_it_is_an_empty_403(serve: Serve) -> None:
    server = serve(doors())
    for wrong in ("/nowhere", "/ws/", "/ws?limit=many", "/shut"):
        assert await refusal(server, wrong) == (403, ""), wrong
    assert await end(server, "/ws?limit=2") == (1000, "limit 2")


async def test_a_frontend_refuses_a_socket_on_an_unknown_path_with_403(
    serve: Serve, site: Path
) -> None:
    app = FastAPI()
    app.frontend("/", directory=site)
    server = serve(app)
    assert await refusal(server, "/nowhere") == (403, "")
    assert await refusal(server, "/") == (403, "")
    assert (await http("GET", server.url)).text == "a page"


# 8: Why does my close code never reach the browser?


async def test_a_close_code_reaches_the_client_only_after_accept(serve: Serve) -> None:
    async def close(websocket: WebSocket) -> None:
        await websocket.close(4401, "not signed in")

    assert await end(serve(accepting(close))) == (4401, "not signed in")
    assert await refusal(serve(doors()), "/shut") == (403, "")


def test_the_test_client_shows_a_close_code_that_no_real_client_gets() -> None:
    with TestClient(doors()) as client:
        with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("/shut"):
            pass
        assert (refused.value.code, refused.value.reason) == (4401, "not signed in")


# 9: HTTPException or WebSocketException?


def raising(error: Exception) -> FastAPI:
    """Return an app that raises at once on `/before`, and after accept on `/ws`."""

    async def fail(_: WebSocket) -> None:
        raise error

    app = accepting(fail)
    app.add_api_websocket_route("/before", fail)
    return app


async def test_an_http_exception_before_accept_sends_its_status_and_body(
    serve: Serve, caplog: Log
) -> None:
    server = serve(raising(HTTPException(401, "no ticket")))
    assert await refusal(server, "/before") == (401, '{"detail":"no ticket"}')
    server.stop()
    # uvicorn grumbles all the same.
    assert caplog.messages == ["ASGI callable returned without completing handshake."]


async def test_an_http_exception_after_accept_is_a_crash(serve: Serve, caplog: Log) -> None:
    server = serve(raising(HTTPException(401, "no ticket")))
    assert await end(server) == (1006, "")
    error = crash(caplog)
    assert isinstance(error, RuntimeError)
    assert str(error) == (
        "Expected ASGI message 'websocket.send' or 'websocket.close', "
        "but got 'websocket.http.response.start'."
    )


async def test_a_websocket_exception_sends_403_before_accept_and_its_code_after(
    serve: Serve,
) -> None:
    server = serve(raising(WebSocketException(4401, "no ticket")))
    assert await refusal(server, "/before") == (403, "")
    assert await end(server) == (4401, "no ticket")


# 10: Invalid JSON closes my socket


async def test_uncaught_invalid_json_ends_the_connection_with_1006(
    serve: Serve, caplog: Log
) -> None:
    error = await crash_of(serve, caplog, WebSocket.receive_json, "oops")
    assert isinstance(error, json.JSONDecodeError)


async def test_invalid_json_caught_inside_the_loop_costs_one_reply(serve: Serve) -> None:
    async def read(websocket: WebSocket) -> None:
        async for frame in websocket.iter_text():
            try:
                await websocket.send_json({"got": json.loads(frame)})
            except json.JSONDecodeError as error:
                await websocket.send_json({"error": str(error)})

    async with serve(accepting(read)).connect() as client:
        await client.send("oops")
        await client.send("[1]")
        assert await client.receive() == {"error": "Expecting value: line 1 column 1 (char 0)"}
        assert await client.receive() == {"got": [1]}


# 11: How do I receive and send at once?


@pytest.mark.parametrize("cut", [False, True])
async def test_a_task_group_receives_and_sends_at_once_and_ends_both_together(
    serve: Serve, caplog: Log, cut: bool
) -> None:
    async def tick(websocket: WebSocket) -> None:
        while True:
            await websocket.send_text("tick")
            await asyncio.sleep(0.005)

    async def both(websocket: WebSocket) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                ticking = tasks.create_task(tick(websocket))
                async for said in websocket.iter_text():
                    await websocket.send_text(said)
                ticking.cancel()
        except* WebSocketDisconnect:
            pass  # it left while something was being sent
        ended.append(ticking.done())

    ended: list[bool] = []
    server = serve(accepting(both))
    async with server.connect() as client:
        await client.send("hello")
        heard = {await text(client) for _ in range(5)}
        assert heard == {"tick", "hello"}
        if cut:
            reset(client)
    server.stop()
    assert ended == [True]
    assert caplog.text == ""


# 12: How do I push from an HTTP route or a thread?


def pushing() -> FastAPI:
    """Return an app that pushes to its sockets from each place an app may have."""
    connections: set[WebSocket] = set()

    async def enter(websocket: WebSocket) -> None:
        connections.add(websocket)
        await listen(websocket)
        connections.discard(websocket)

    async def tell_all(news: str) -> None:
        for connection in list(connections):
            await connection.send_text(news)

    app = accepting(enter)

    @app.post("/async")
    async def from_an_async_route() -> None:
        await tell_all("from an async route")

    @app.post("/plain")
    def from_a_plain_route() -> None:
        anyio.from_thread.run(tell_all, "from a plain route")

    @app.post("/thread")
    async def from_a_thread() -> None:
        loop = asyncio.get_running_loop()

        def work() -> None:
            asyncio.run_coroutine_threadsafe(tell_all("from a thread"), loop).result(10)

        thread = threading.Thread(target=work)
        thread.start()
        await asyncio.to_thread(thread.join)

    return app


@pytest.mark.parametrize("place", ["an async route", "a plain route", "a thread"])
async def test_news_can_be_pushed_from_a_route_and_from_a_thread(serve: Serve, place: str) -> None:
    server = serve(pushing())
    async with server.connect() as ada, server.connect() as bob:
        response = await http("POST", f"{server.url}/{place.split()[1]}")
        assert response.status_code == 200
        assert await text(ada) == await text(bob) == f"from {place}"


async def test_a_plain_route_has_no_running_loop(serve: Serve, caplog: Log) -> None:
    app = FastAPI()

    @app.post("/")
    def push() -> None:
        asyncio.get_running_loop()  # the first thing that asyncio.create_task() does

    server = serve(app)
    assert (await http("POST", server.url)).status_code == 500
    server.stop()
    assert repr(crash(caplog)) == "RuntimeError('no running event loop')"


# 14: Why `1011 keepalive ping timeout`?


async def test_a_client_whose_ping_a_blocked_server_does_not_answer_gives_up_with_1011(
    serve: Serve,
) -> None:
    over = threading.Event()

    async def block(websocket: WebSocket) -> None:
        await websocket.receive_text()
        over.wait(10)  # as time.sleep() does, or requests

    server = serve(accepting(block))
    async with server.connect(ping_interval=0.1, ping_timeout=0.1, close_timeout=0.1) as client:
        await client.send("hello")
        # The server learns of it only when it goes on.
        with pytest.raises(ConnectionClosedError) as closed:
            await client.connection.recv()
        assert closed.value.sent
        assert (closed.value.sent.code, closed.value.sent.reason) == (
            1011,
            "keepalive ping timeout",
        )
        over.set()


# 16: TestClient receive_* hangs


async def return_at_once(_: WebSocket) -> None:
    """Forget to close."""


def test_the_test_client_waits_for_ever_for_an_endpoint_that_has_returned() -> None:
    with TestClient(accepting(return_at_once)) as client:
        assert client.portal
        with client.websocket_connect("/ws") as socket:
            # What socket.receive_text() waits for; it takes no timeout.
            waiting = client.portal.start_task_soon(socket._send_rx.receive)
            client.portal.call(anyio.wait_all_tasks_blocked)
            assert not waiting.done()  # and nothing on the loop is left that could end it
        with pytest.raises(anyio.ClosedResourceError):
            waiting.result(10)


# 17: How do I test several clients?


async def tell_loop(websocket: WebSocket) -> None:
    """Tell which event loop this runs on."""
    await websocket.send_text(str(id(asyncio.get_running_loop())))


def test_a_test_client_in_a_with_statement_runs_all_sockets_on_one_loop() -> None:
    with (
        TestClient(accepting(tell_loop)) as client,
        client.websocket_connect("/ws") as ada,
        client.websocket_connect("/ws") as bob,
    ):
        assert ada.receive_text() == bob.receive_text()


def test_a_test_client_without_a_with_statement_gives_every_socket_a_loop_of_its_own() -> None:
    client = TestClient(accepting(tell_loop))
    with client.websocket_connect("/ws") as ada, client.websocket_connect("/ws") as bob:
        assert ada.receive_text() != bob.receive_text()


def test_a_test_client_runs_the_lifespan_only_in_a_with_statement() -> None:
    runs: list[str] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        runs.append("started")
        yield
        runs.append("stopped")

    app = FastAPI(lifespan=lifespan)
    TestClient(app).get("/")
    assert runs == []
    with TestClient(app):
        assert runs == ["started"]
    assert runs == ["started", "stopped"]


async def send_after_a_goodbye(websocket: WebSocket) -> None:
    """Wait until the client has left, then speak to it."""
    await listen(websocket)
    await websocket.send_text("anyone?")


def test_in_the_test_client_a_send_after_a_goodbye_succeeds() -> None:
    # On uvicorn it raises: see question 3.
    with (
        TestClient(accepting(send_after_a_goodbye)) as client,
        client.websocket_connect("/ws") as socket,
    ):
        socket.close()
        assert socket.receive_text() == "anyone?"


# 18: Exception in ASGI application when a tab closes


async def test_an_uncaught_goodbye_is_logged_as_an_error_even_with_code_1000(
    serve: Serve, caplog: Log
) -> None:
    server = serve(accepting(WebSocket.receive_text))
    async with server.connect() as client:
        await client.connection.close(1000)
    server.stop()
    goodbye = crash(caplog)
    assert isinstance(goodbye, WebSocketDisconnect)
    assert goodbye.code == 1000


async def test_iter_text_ends_quietly(serve: Serve, caplog: Log) -> None:
    server = serve(accepting(listen))
    async with server.connect() as client:
        await client.connection.close(1000)
    server.stop()
    assert caplog.text == ""


# 20: Why does my middleware not run?


async def test_http_middleware_does_not_see_sockets(serve: Serve) -> None:
    app, seen = doors(), []

    @app.middleware("http")
    async def note(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        seen.append(request.url.path)
        return await call_next(request)

    server = serve(app)
    assert await end(server) == (1000, "limit 1")
    await http("GET", f"{server.url}/marker")
    assert seen == ["/marker"]


async def test_pure_asgi_middleware_sees_everything(serve: Serve) -> None:
    app = doors()
    seen: list[str] = []

    class Note:
        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["type"])
            await self.app(scope, receive, send)

    app.add_middleware(Note)
    server = serve(app)
    assert await end(server) == (1000, "limit 1")
    await http("GET", server.url)
    assert seen == ["lifespan", "websocket", "http"]


@pytest.mark.parametrize(("kept_on", "answered"), [("self", "bob"), ("the call", "ada")])
async def test_a_middleware_that_keeps_send_on_itself_answers_the_wrong_client(
    serve: Serve, kept_on: str, answered: str
) -> None:
    class Pass:
        """There is one of it, for all connections."""

        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            self.send = send

            async def pass_on(event: ASGIEvent) -> None:
                await (self.send if kept_on == "self" else send)(event)

            await self.app(scope, receive, pass_on)

    app = accepting(echo)
    app.add_middleware(Pass)
    server = serve(app)
    async with server.connect() as ada, server.connect() as bob:
        await ada.send("only for ada")
        assert await text({"ada": ada, "bob": bob}[answered]) == "only for ada"


# 21: No supported WebSocket library detected


async def test_without_a_websocket_library_a_handshake_is_an_ordinary_get_and_a_404(
    serve: Serve, caplog: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What uvicorn finds when it can import neither websockets nor wsproto.
    monkeypatch.setattr("uvicorn.protocols.websockets.auto.AutoWebSocketsProtocol", None)
    assert await refusal(serve(doors()), "/ws") == (404, '{"detail":"Not Found"}')
    assert caplog.messages == [
        "Unsupported upgrade request.",
        "No supported WebSocket library detected. Please use \"pip install 'uvicorn[standard]'\", "
        "or install 'websockets' or 'wsproto' manually.",
    ]


async def test_a_handshake_that_lost_its_upgrade_header_is_an_ordinary_get_and_a_404(
    serve: Serve,
) -> None:
    assert (await http("GET", f"{serve(doors()).url}/ws")).status_code == 404


@pytest.mark.parametrize("lost", ["Key", "Version"])
async def test_a_handshake_that_lost_another_header_is_a_400_that_names_it(
    serve: Serve, lost: str
) -> None:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    headers |= {"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==", "Sec-WebSocket-Version": "13"}
    del headers[f"Sec-WebSocket-{lost}"]
    answer = await http("GET", f"{serve(doors()).url}/ws", headers)
    assert answer.status_code == 400
    why = f"Failed to open a WebSocket connection: missing Sec-WebSocket-{lost} header."
    assert answer.text.strip() == why


# 22: nginx: 400, or a drop after 60 s


class Proxy(Host):
    """nginx, as configured on the page."""

    def __init__(self, address: str, errors: Path) -> None:
        self.address, self.path, self.errors = address, "/ws", errors


StartNginx = Callable[..., Awaitable[Proxy]]

NGINX = """daemon off; master_process off; pid nginx.pid; error_log errors.log info;
events {} http { access_log off; client_body_temp_path 1; proxy_temp_path 2;
fastcgi_temp_path 3; uwsgi_temp_path 4; scgi_temp_path 5; include server.conf; }"""


@pytest.fixture
def start_nginx(tmp_path: Path) -> Iterator[StartNginx]:
    """Start nginx in front of a server, with a text in its configuration replaced by another."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if not program:
        assert "REQUIRE_NGINX" not in os.environ
        pytest.skip("nginx is not installed")
    started: list[subprocess.Popen[bytes]] = []

    async def start(server: Server, line: str = "", instead: str = "") -> Proxy:
        folder = tmp_path / f"nginx{len(started)}"
        folder.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        page = (ROOT / "tests/nginx.conf").read_text("utf-8")
        assert line in page
        (folder / "nginx.conf").write_text(NGINX)
        (folder / "server.conf").write_text(
            page.replace(line, instead)
            .replace("listen 80;", f"listen 127.0.0.1:{port};")
            .replace("127.0.0.1:8000", server.address)
        )
        command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]
        started.append(subprocess.Popen(command))  # noqa: ASYNC220 - it returns at once
        while True:
            assert started[-1].poll() is None
            with suppress(ConnectionRefusedError):
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                return Proxy(f"127.0.0.1:{port}", folder / "errors.log")
            await asyncio.sleep(0.01)

    yield start
    for process in started:
        process.terminate()
        process.wait()


async def test_behind_nginx_as_on_the_page_two_people_talk(
    serve: Serve, start_nginx: StartNginx
) -> None:
    proxy = await start_nginx(serve("step08_security"))
    async with (
        proxy.connect("?name=ada", origin=Origin(proxy.url)) as ada,
        proxy.connect("?name=bob", origin=Origin(proxy.url)) as bob,
    ):
        assert (await bob.receive())["type"] == "welcome"
        await ada.say("hello")
        assert await bob.hears() == "hello"
    page = await http("GET", proxy.url)
    assert page.text == (ROOT / "steps/step08_security/static/index.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("line", "instead", "status"),
    [
        ("proxy_set_header Upgrade $http_upgrade;", "", 404),
        ("proxy_set_header Connection $connection_upgrade;", "", 404),
        ("proxy_set_header Host $http_host;", "", 403),
        ("proxy_set_header Host $http_host;", "proxy_set_header Host $host;", 403),
    ],
)
async def test_nginx_with_one_of_these_lines_missing_lets_no_page_in(
    serve: Serve, start_nginx: StartNginx, line: str, instead: str, status: int
) -> None:
    proxy = await start_nginx(serve("step08_security"), line, instead)
    with pytest.raises(InvalidStatus) as refused:
        async with proxy.connect(origin=Origin(proxy.url)):
            pass
    assert refused.value.response.status_code == status


async def test_nginx_drops_who_is_silent_for_longer_than_it_waits_unless_uvicorn_pings(
    serve: Serve, start_nginx: StartNginx
) -> None:
    impatient = "location / {", "location / { proxy_read_timeout 1s;"
    pinged = await start_nginx(serve(accepting(echo), ws_ping_interval=0.1), *impatient)
    silent = await start_nginx(serve(accepting(echo)), *impatient)
    async with pinged.connect() as ada:
        async with silent.connect() as bob:
            assert await bob.closed() == (1006, "")
        # She has been silent for longer than he was.
        await ada.send("still here")
        assert await text(ada) == "still here"
    assert "timed out) while proxying upgraded connection" in silent.errors.read_text("utf-8")


# 24: Why do BackgroundTasks not run?


async def test_background_tasks_never_run_on_a_socket(serve: Serve) -> None:
    app = FastAPI()
    ran: list[str] = []

    @app.websocket("/ws")
    async def socket(websocket: WebSocket, tasks: BackgroundTasks) -> None:
        tasks.add_task(ran.append, "socket")
        await websocket.accept()
        await websocket.close()

    @app.get("/")
    async def route(tasks: BackgroundTasks) -> None:
        tasks.add_task(ran.append, "route")

    server = serve(app)
    assert await end(server) == (1000, "")
    await http("GET", server.url)
    server.stop()
    assert ran == ["route"]


# 25: All messages arrive at once, the app freezes


@pytest.mark.parametrize("threaded", [False, True], ids=["blocking", "to_thread"])
async def test_during_a_blocking_call_nobody_else_is_served_and_during_to_thread_all_are(
    serve: Serve, threaded: bool
) -> None:
    busy, served = threading.Event(), threading.Event()

    def was_bob_served_meanwhile() -> bool:
        busy.set()
        return served.wait(10 if threaded else 0.2)  # without a thread, no wait is long enough

    async def endpoint(websocket: WebSocket) -> None:
        if await websocket.receive_text() == "serve me":
            served.set()
        elif threaded:
            await websocket.send_json(await asyncio.to_thread(was_bob_served_meanwhile))
        else:
            await websocket.send_json(was_bob_served_meanwhile())

    server = serve(accepting(endpoint))
    async with server.connect() as ada, server.connect() as bob:
        await ada.send("work")
        await happened(busy)
        await bob.send("serve me")
        assert json.loads(await text(ada)) is threaded


async def test_what_was_sent_before_a_blocking_call_arrives_during_it(serve: Serve) -> None:
    arrived = threading.Event()

    async def work(websocket: WebSocket) -> None:
        await websocket.send_text("working")
        await websocket.send_json(arrived.wait(10))

    async with serve(accepting(work)).connect() as client:
        assert await text(client) == "working"
        arrived.set()
        assert await text(client) == "true"


async def test_what_other_tasks_send_waits_for_a_blocking_call_and_arrives_all_at_once(
    serve: Serve,
) -> None:
    arrived = threading.Event()

    async def work(websocket: WebSocket) -> None:
        sending, early = [], False
        for part in range(3):
            sending.append(asyncio.create_task(websocket.send_text(f"part {part}")))
            early |= arrived.wait(0.1)  # as time.sleep() does, or requests
        await asyncio.gather(*sending)
        await websocket.send_json(early)

    async with serve(accepting(work)).connect() as client:
        assert await text(client) == "part 0"
        arrived.set()
        assert [await text(client) for _ in range(3)] == ["part 1", "part 2", "false"]


async def test_a_plain_def_endpoint_is_http_500(serve: Serve, caplog: Log) -> None:
    app = FastAPI()

    @app.websocket("/ws")
    def plain(_: WebSocket) -> None:
        pass

    assert await refusal(serve(app), "/ws") == (500, "Internal Server Error")
    error = crash(caplog)
    assert isinstance(error, TypeError)
    assert str(error) in (
        "object NoneType can't be used in 'await' expression",
        "'NoneType' object can't be awaited",  # from Python 3.14 on
    )


# 26: What do the close codes mean?


async def test_only_an_endpoint_that_closes_ends_with_1000(serve: Serve, caplog: Log) -> None:
    assert await end(serve(accepting(WebSocket.close))) == (1000, "")
    assert await end(serve(accepting(return_at_once))) == (1006, "")
    assert caplog.text == ""
    assert await end(serve(raising(ZeroDivisionError()))) == (1006, "")
    assert isinstance(crash(caplog), ZeroDivisionError)


async def test_an_endpoint_that_neither_accepts_nor_closes_is_http_500(serve: Serve) -> None:
    app = FastAPI()
    app.add_api_websocket_route("/ws", return_at_once)
    assert await refusal(serve(app), "/ws") == (500, "Internal Server Error")


def noting(heard: list[tuple[int, str]]) -> FastAPI:
    """Return an app that notes with which code and reason each client goes."""

    async def note(websocket: WebSocket) -> None:
        try:
            while True:
                await websocket.receive_text()
        except WebSocketDisconnect as gone:
            heard.append((gone.code, gone.reason))

    return accepting(note)


async def with_a_code(client: Client) -> None:
    await client.connection.close(4000, "bored")


async def without_a_code(client: Client) -> None:
    async with client.connection.send_context():
        client.connection.protocol.send_close()


async def by_hanging_up(client: Client) -> None:
    client.connection.transport.close()


async def by_a_reset(client: Client) -> None:
    reset(client)


@pytest.mark.parametrize(
    ("leave", "code_and_reason"),
    [
        (with_a_code, (4000, "bored")),
        (without_a_code, (1005, "")),
        (by_hanging_up, (1005, "")),
        (by_a_reset, (1005, "")),
    ],
)
async def test_the_app_sees_1005_for_a_lost_line_as_for_a_goodbye_without_a_code(
    serve: Serve, leave: Callable[[Client], Awaitable[None]], code_and_reason: tuple[int, str]
) -> None:
    heard: list[tuple[int, str]] = []
    server = serve(noting(heard))
    async with server.connect() as client:
        await leave(client)
        await client.connection.wait_closed()
    server.stop()
    assert heard == [code_and_reason]


async def test_a_server_that_stops_says_1012_to_both_sides(serve: Serve) -> None:
    heard: list[tuple[int, str]] = []
    server = serve(noting(heard))
    async with server.connect() as client:
        await asyncio.to_thread(server.stop)
        assert await client.closed() == (1012, "")
    assert heard == [(1012, "")]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x82\x00\x00\x00\x00\xff\xfe", 1007),  # a text that is not UTF-8
        (b"\x83\x80\x00\x00\x00\x00", 1002),  # an opcode that does not exist
    ],
)
async def test_a_broken_frame_ends_the_connection_before_the_app_sees_it(
    serve: Serve, caplog: Log, frame: bytes, code: int
) -> None:
    heard: list[tuple[int, str]] = []
    server = serve(noting(heard))
    async with server.connect() as client:
        client.connection.transport.write(frame)
        assert (await client.closed())[0] == code
    server.stop()
    assert [seen for seen, _ in heard] == [code]
    # uvicorn's own traceback, and only for the first of them.
    assert ("UnicodeDecodeError" in caplog.text) == (code == 1007)


# 27: Large messages disconnect (1009)


async def test_a_frame_above_ws_max_size_ends_with_1009_on_both_sides(serve: Serve) -> None:
    heard: list[tuple[int, str]] = []
    server = serve(noting(heard), ws_max_size=10)
    code, reason = await end(server, "/ws", "x" * 10, "x" * 11)
    assert code == 1009
    server.stop()
    assert heard == [(1009, reason)]
    assert uvicorn.Config(FastAPI(), log_config=None).ws_max_size == 16 * 2**20  # the default


async def test_the_python_client_takes_up_to_1_mib_unless_told_otherwise(serve: Serve) -> None:
    async def send(websocket: WebSocket) -> None:
        await websocket.send_text("x" * int(await websocket.receive_text()))
        await listen(websocket)

    server, limit = serve(accepting(send)), 2**20
    async with server.connect() as client:
        await client.send(str(limit))
        assert len(await text(client)) == limit
    async with server.connect() as client:
        await client.send(str(limit + 1))
        with pytest.raises(ConnectionClosedError) as closed:
            await text(client)
        assert closed.value.sent
        assert closed.value.sent.code == 1009
    async with server.connect(max_size=limit + 1) as client:
        await client.send(str(limit + 1))
        assert len(await text(client)) == limit + 1


# 28: KeyError: 'text'


@pytest.mark.parametrize(
    ("receive", "frame", "error"),
    [
        (WebSocket.receive_text, b"binary", "KeyError('text')"),
        (WebSocket.receive_json, b"[]", "KeyError('text')"),
        (WebSocket.receive_bytes, "text", "KeyError('bytes')"),
    ],
)
async def test_a_frame_of_the_wrong_kind_is_a_key_error(
    serve: Serve, caplog: Log, receive: Body, frame: str | bytes, error: str
) -> None:
    assert repr(await crash_of(serve, caplog, receive, frame)) == error


# 29: datetime is not JSON serializable


class Note(BaseModel):
    """A message with a time in it."""

    at: datetime


NOTE = Note(at=datetime(2026, 1, 1, 12, tzinfo=UTC))


@pytest.mark.parametrize("value", [NOTE, NOTE.at], ids=["model", "datetime"])
async def test_send_json_knows_neither_models_nor_datetimes(
    serve: Serve, caplog: Log, value: Note | datetime
) -> None:
    error = await crash_of(serve, caplog, lambda websocket: websocket.send_json(value))
    assert isinstance(error, TypeError)
    assert str(error) == f"Object of type {type(value).__name__} is not JSON serializable"


async def test_a_model_turns_itself_into_json(serve: Serve) -> None:
    async def send(websocket: WebSocket) -> None:
        await websocket.send_text(NOTE.model_dump_json())
        await websocket.send_json(NOTE.model_dump(mode="json"))
        await listen(websocket)

    async with serve(accepting(send)).connect() as client:
        for _ in range(2):
            assert await client.receive() == {"at": "2026-01-01T12:00:00Z"}


# 30: A static mount breaks /ws


async def test_a_mount_at_the_root_takes_the_sockets_of_the_routes_declared_after_it(
    serve: Serve, site: Path
) -> None:
    app = doors()
    app.mount("/", StaticFiles(directory=site, html=True))

    @app.websocket("/late")
    async def late(websocket: WebSocket) -> None:
        await websocket.accept()

    server = serve(app)
    assert await refusal(server, "/late") == (403, "")
    assert await refusal(server, "/nowhere") == (403, "")
    assert await end(server) == (1000, "limit 1")
    assert (await http("GET", server.url)).text == "a page"


async def test_a_frontend_at_the_root_takes_no_sockets(serve: Serve, site: Path) -> None:
    app = FastAPI()
    app.frontend("/", directory=site)
    app.include_router(doors().router)
    server = serve(app)
    assert await end(server) == (1000, "limit 1")
    assert (await http("GET", server.url)).text == "a page"


# 31: Router prefix ignored?


async def test_prefix_path_query_cookie_and_mount_all_work_on_a_socket(serve: Serve) -> None:
    router = APIRouter(prefix="/chat")

    @router.websocket("/{room}")
    async def chat(
        websocket: WebSocket, room: int, last: int, session: Annotated[str, Cookie()]
    ) -> None:
        await websocket.accept()
        await websocket.send_json([room, last, session])

    inner, app = FastAPI(), FastAPI()
    inner.include_router(router)
    app.include_router(router, prefix="/v1")
    app.mount("/inner", inner)
    server, cookie = serve(app), {"Cookie": "session=ada"}
    for start in ("/v1", "/inner"):
        async with server.connect(f"{start}/chat/7?last=17", additional_headers=cookie) as client:
            assert await text(client) == '[7,17,"ada"]'


# 32: Why is it not in /docs?


def test_openapi_has_no_sockets() -> None:
    app = doors()

    @app.get("/healthz")
    def health() -> None:
        pass

    with TestClient(app) as client:
        assert list(client.get("/openapi.json").json()["paths"]) == ["/healthz"]


# 36: Fails in Docker


def test_uvicorn_listens_on_the_loopback_interface_alone_unless_told_otherwise() -> None:
    with uvicorn.Config(FastAPI(), port=0, log_config=None).bind_socket() as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


# 38: Rate limiting?


async def test_a_dependency_runs_once_for_a_connection_however_many_messages_it_has(
    serve: Serve,
) -> None:
    app, counted = FastAPI(), list[str]()

    async def count(websocket: WebSocket) -> None:
        counted.append(websocket.url.path)

    @app.websocket("/ws", dependencies=[Depends(count)])
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for message in websocket.iter_text():
            await websocket.send_text(message)

    async with serve(app).connect() as client:
        for number in range(100):
            await client.send(f"{number}")
            assert await text(client) == f"{number}"
    assert counted == ["/ws"]


# 39: Sent non-empty Sec-WebSocket-Protocol


async def test_a_subprotocol_is_what_the_app_says_and_the_client_checks_it(serve: Serve) -> None:
    app = FastAPI()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket, pick: str | None = None) -> None:
        await websocket.accept(subprotocol=pick)
        await websocket.send_json(websocket.scope["subprotocols"])

    server, offer = serve(app), ["chat.v2", "chat.v1"]
    async with server.connect("/ws?pick=chat.v1", subprotocols=offer) as client:
        assert client.connection.subprotocol == "chat.v1"
        assert json.loads(await text(client)) == offer
    # No answer to the offer: this client goes on without a subprotocol.
    async with server.connect("/ws", subprotocols=offer) as client:
        assert client.connection.response
        assert "Sec-WebSocket-Protocol" not in client.connection.response.headers
        assert client.connection.subprotocol is None
    for path, offered, complaint in (
        ("/ws?pick=other", offer, "unsupported subprotocol: other"),
        ("/ws?pick=chat.v1", None, "no subprotocols supported"),
    ):
        with pytest.raises(NegotiationError) as refused:
            async with server.connect(path, subprotocols=offered):
                pass
        assert str(refused.value) == complaint


# 40: Connection limits and memory?


async def test_limit_concurrency_lets_every_socket_in_and_turns_requests_away(
    serve: Serve,
) -> None:
    server = serve(accepting(listen), limit_concurrency=2)
    async with server.connect(), server.connect(), server.connect(), server.connect():
        response = await http("GET", f"{server.url}/openapi.json")
        assert (response.status_code, response.text) == (503, "Service Unavailable")


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the memory of a process")
async def test_compression_takes_memory_for_each_connection_as_long_as_it_is_open() -> None:
    servers = kib("step01_echo", 60), kib("step01_echo", 60, *WITHOUT)
    with_it, without = await asyncio.gather(*servers)
    assert with_it > without + 25
