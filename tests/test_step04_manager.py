"""Step 4: the same behind a manager, and an HTTP route that speaks too."""

import asyncio
from contextlib import suppress
from typing import cast

import httpx2
import pytest
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnected
from websockets.exceptions import InvalidStatus

from steps.step04_manager import main as step04
from steps.step04_manager.messages import Notice
from steps.step05_chat import main as step05
from steps.step05_chat.messages import Notice as LaterNotice
from tests.conftest import Serve, faulty, reset

ELSEWHERE = "https://elsewhere.example"
# Step 5 keeps the route as it is.
both_apps = pytest.mark.parametrize(
    "app", [step04.app, step05.app], ids=["step04_manager", "step05_chat"]
)


@pytest.mark.parametrize("step", [faulty("step03_broadcast", AssertionError), "step04_manager"])
async def test_an_http_request_reaches_every_socket(serve: Serve, step: str) -> None:
    server = serve(step)
    async with (
        server.connect() as ada,
        server.connect() as bob,
        httpx2.AsyncClient(base_url=server.url) as http,
    ):
        response = await http.post("/announce", json={"text": "lunch"})
        assert response.status_code == 200
        assert response.json() == {"delivered": 2}
        for client in (ada, bob):
            assert await client.receive() == {"type": "notice", "text": "lunch"}


async def test_an_announcement_counts_only_those_it_reached(serve: Serve) -> None:
    server = serve("step04_manager")
    async with httpx2.AsyncClient(base_url=server.url) as http:

        async def announce() -> int:
            delivered: int = (await http.post("/announce", json={"text": "?"})).json()["delivered"]
            return delivered

        assert await announce() == 0
        async with server.connect(), server.connect() as eve:
            assert await announce() == 2
            reset(eve)
            # The kernel may take one more frame for eve before it hears of the RST.
            while await announce() != 1:
                pass


class Peer:
    """What the manager sees of a client."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def send_text(self, _: str) -> None:
        if self.error:
            raise self.error


async def test_a_client_that_is_gone_and_not_yet_off_the_books_does_not_count() -> None:
    gone = [Peer(WebSocketDisconnect(1006)), Peer(WebSocketDisconnected())]
    peers = [cast("WebSocket", peer) for peer in (Peer(), *gone, Peer())]
    earlier, later = type(step04.manager)(), type(step05.manager)()
    earlier.connections.update(peers)
    later.connections.update((peer, f"{number}") for number, peer in enumerate(peers))
    assert await earlier.broadcast(Notice(text="lunch")) == 2
    assert await later.broadcast(LaterNotice(text="lunch")) == 2


async def test_a_manager_that_is_indented_too_far_refuses_everyone(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve("tests.broken.indented_manager")
    with pytest.raises(InvalidStatus) as refused:
        async with server.connect():
            pass
    assert refused.value.response.status_code == 500
    assert "'ConnectionManager' object has no attribute 'connect'" in caplog.text


async def test_a_misspelt_method_ends_the_connection_of_the_first_who_speaks(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve("tests.broken.misspelt_manager")
    async with server.connect() as ada:
        await ada.send("hello")
        assert await ada.closed() == (1006, "")
    server.stop()
    assert "'ConnectionManager' object has no attribute 'brodcast'" in caplog.text


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": "x" * 2001}, {"text": 1}, []])
def test_a_bad_announcement_is_refused_and_says_why(body: object) -> None:
    with TestClient(step04.app) as client, client.websocket_connect("/ws") as socket:
        response = client.post("/announce", json=body)
        assert response.status_code == 422
        assert response.json()["detail"]
        # Nobody heard of it: the next thing that arrives is the next announcement.
        client.post("/announce", json={"text": "marker"})
        assert socket.receive_json()["text"] == "marker"


@both_apps
@pytest.mark.parametrize("text", ['"\\ud800"', "NaN", "1e999"])
def test_a_body_that_no_answer_could_repeat_is_refused_all_the_same(
    app: FastAPI, text: str
) -> None:
    # FastAPI's own answer repeats what was wrong, and that is JSON which nobody can write.
    with TestClient(app) as client:
        headers = {"content-type": "application/json"}
        response = client.post("/announce", content=f'{{"text": {text}}}', headers=headers)
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["body", "text"]


@both_apps
@pytest.mark.parametrize(
    ("origin", "allowed"), [("http://localhost:3000", True), (ELSEWHERE, False)]
)
def test_cors_guards_the_http_route(app: FastAPI, origin: str, allowed: bool) -> None:
    preflight = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    with TestClient(app) as client:
        response = client.options("/announce", headers=preflight)
        assert (response.status_code == 200) == allowed
        assert ("access-control-allow-origin" in response.headers) == allowed


@both_apps
def test_a_request_that_needs_no_preflight_is_refused(app: FastAPI) -> None:
    # A form on any page can send text/plain without asking; it must not pass for JSON.
    with TestClient(app) as client:
        response = client.post(
            "/announce", content='{"text": "hi"}', headers={"content-type": "text/plain"}
        )
        assert response.status_code == 422


async def test_cors_does_not_guard_the_socket(serve: Serve) -> None:
    server = serve("step04_manager")
    async with server.connect() as ada, server.connect(origin=ELSEWHERE) as eve:
        await eve.say("from a page on another origin")
        assert await ada.hears() == "from a page on another origin"


async def test_the_limit_a_client_that_never_reads_stops_everyone(serve: Serve) -> None:
    server = serve("step04_manager")
    text = "👋" * 2000  # 8 KB on the wire, as long as nothing compresses it
    async with (
        server.connect(compression=None) as ada,
        server.connect(compression=None) as bob,
        server.connect(compression=None) as eve,
    ):
        eve.connection.transport.pause_reading()

        async def speak() -> None:
            # More than the kernel holds for one connection, so that the server has to wait for eve.
            for _ in range(4000):
                await ada.say(text)

        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(speak())
            heard = 0
            with suppress(TimeoutError):
                while heard < 4000:
                    async with asyncio.timeout(1):
                        await bob.hears()
                    heard += 1
            assert heard < 4000
            assert not speaking.done()
            # Bob has done nothing but listen. He hears the rest as soon as eve is gone.
            reset(eve)
            for _ in range(heard, 4000):
                assert await bob.hears() == text


async def test_the_limit_a_client_that_never_reads_holds_up_the_stop(serve: Serve) -> None:
    # As without the option: uvicorn waits for as long as it takes.
    server = serve("step04_manager", timeout_graceful_shutdown=None)
    async with (
        server.connect(compression=None) as ada,
        server.connect(compression=None) as eve,
    ):
        eve.connection.transport.pause_reading()
        # Ada is not listened to any more, once what she says waits for eve.
        with suppress(TimeoutError):
            while True:
                async with asyncio.timeout(1):
                    await ada.say("👋" * 2000)
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        done, _ = await asyncio.wait({stopping}, timeout=1)
        assert not done
        reset(eve)
        await stopping
