"""Step 8: no page speaks for its visitors, and nobody can flood the others."""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from steps.step08_security import main, security
from steps.step08_security.security import Door
from steps.step08_security.settings import Settings, from_environment, settings
from tests.conftest import Client, Host, Serve, Server, StartProcess, faulty, reset

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "uvicorn", "steps.step08_security.main:app"]
EVIL = "https://evil.example"
NOT_YOURS = (403, "Pages on this origin may not speak here. See CHAT_ORIGINS.")
ENOUGH = (429, "Too many connections from this address.")
FULL = (503, "The server is full. Try again later.")
Patch = pytest.MonkeyPatch
# Frames as a client writes them that is none.
PINGS = (b"\x89\xfd\0\0\0\0" + bytes(125)) * 1000
GOODBYE = b"\x88\x80\0\0\0\0"


@asynccontextmanager
async def visit(
    server: Server, origin: str | None = None, host: str = "chat.example", **options: Any
) -> AsyncIterator[Client]:
    """Connect as a page on `origin` makes a browser do, to a server that it knows as `host`."""
    address, port = server.address.split(":")
    path = options.pop("path", "/ws")
    options = {"proxy": None, "host": address, "port": int(port), "origin": origin, **options}
    async with connect(f"ws://{host}{path}", **options) as connection:
        yield Client(connection)


async def knock(
    server: Server, origin: str | None = None, host: str = "chat.example", **options: Any
) -> tuple[int, str]:
    """Return with what status and what sentence a handshake is answered; leave if one is let in."""
    try:
        async with visit(server, origin, host, **options):
            return 101, ""
    except InvalidStatus as refused:
        return refused.response.status_code, bytes(refused.response.body or b"").decode()


def from_address(address: str) -> dict[str, Any]:
    """Come from another address: uvicorn believes a proxy on the same machine."""
    return {"additional_headers": {"X-Forwarded-For": address}}


def inside() -> Counter[str]:
    """Return how many connections the door of step 8 counts, by address."""
    part: Any = main.app.middleware_stack
    while not isinstance(part, Door):
        part = part.app
    return part.inside


async def nobody_is_inside() -> None:
    """Wait until the door counts nobody."""
    while inside():  # noqa: ASYNC110 - the door tells nobody
        await asyncio.sleep(0.01)


def handshake(*headers: str) -> bytes:
    """Return a handshake with these headers."""
    upgrade = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    upgrade.append("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    return "\r\n".join(["GET /ws HTTP/1.1", *headers, *upgrade, "", ""]).encode()


async def by_hand(server: Host, *headers: str) -> tuple[StreamReader, StreamWriter, str]:
    """Write a handshake as no client does; return the line, and the answer's first line."""
    reader, writer = await asyncio.open_connection(*server.address.split(":"))
    writer.write(handshake(*headers))
    return reader, writer, (await reader.readline()).decode().strip()


class Clock:
    """Stands in for `monotonic`: time goes on when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: Patch) -> Clock:
    """Stop the time that the limit reads."""
    monkeypatch.setattr(security, "monotonic", stopped := Clock())
    return stopped


@asynccontextmanager
async def ada_and_bob(server: Server) -> AsyncIterator[tuple[Client, Client]]:
    """Connect two, and have them past the greetings."""
    async with server.connect("/ws?name=ada") as ada:
        assert (await ada.receive())["type"] == "welcome"
        async with server.connect("/ws?name=bob") as bob:
            assert (await bob.receive())["type"] == "welcome"
            assert await ada.receive() == {"type": "joined", "name": "bob"}
            yield ada, bob


# The promise


async def test_while_pages_knock_and_clients_flood_everyone_else_hears_every_word_in_order(
    serve: Serve, clock: Clock
) -> None:
    assert clock.now == 0  # for everybody: a flood is a flood, however slow this machine is
    server = serve("step08_security", ws_max_size=65536)
    said = [f"number {number}" for number in range(40)]
    junk: list[str | bytes] = ["x" * 20_000, "{", b"\x00", '{"type":"say"}', "x" * 30_000]

    async def flood(number: int) -> int:
        with_deflate = {} if number % 2 else {"compression": None}
        path = f"/ws?name=flooder%20{number}"
        async with server.connect(path, **from_address("10.0.0.1"), **with_deflate) as eve:
            eve.connection.transport.pause_reading()
            for turn in range(90):
                protocol = eve.connection.protocol
                frame = junk[turn % len(junk)]
                send = protocol.send_binary if isinstance(frame, bytes) else protocol.send_text
                send(frame if isinstance(frame, bytes) else frame.encode())
                eve.connection.transport.write(b"".join(protocol.data_to_send()))
            eve.connection.transport.resume_reading()
            return (await eve.closed())[0]

    async def bomb() -> int:
        async with server.connect(**from_address("10.0.0.2")) as eve:
            await eve.send("x" * 10_000_000)
            return (await eve.closed())[0]

    async with ada_and_bob(server) as (ada, bob), AsyncExitStack() as crowd:

        async def talk() -> None:
            for text in said:
                await ada.say(text)
                # Told off by nobody, and heard: what she hears of herself is in order, too.
                while (frame := await ada.receive()).get("name") != "ada":
                    assert frame["type"] in ("joined", "left"), frame
                assert frame["text"] == text

        talking = asyncio.create_task(talk())
        attacks = [*map(flood, range(10)), *(bomb() for _ in range(5))]
        assert set(await asyncio.gather(*attacks)) == {4429, 1009}
        pages = (knock(server, EVIL, **from_address(f"10.0.1.{n}")) for n in range(20))
        assert set(await asyncio.gather(*pages)) == {NOT_YOURS}
        many = [
            crowd.enter_async_context(server.connect(**from_address("10.0.0.3"))) for _ in range(60)
        ]
        let_in = await asyncio.gather(*many, return_exceptions=True)
        assert sum(isinstance(one, Client) for one in let_in) == settings.connections_per_address
        await talking
        heard: list[str] = []
        while len(heard) < len(said):
            frame = await bob.receive()
            heard += [frame["text"]] if frame["type"] == "message" else []
            assert frame["type"] in ("message", "joined", "left"), frame
        assert heard == said
    await nobody_is_inside()


# Who may speak: the Origin


@pytest.mark.parametrize("step", [faulty("step07_backpressure", AssertionError), "step08_security"])
async def test_a_page_on_another_origin_is_refused_before_anybody_hears_of_it(
    serve: Serve, step: str
) -> None:
    server = serve(step)
    async with ada_and_bob(server) as (ada, bob):
        assert await knock(server, EVIL) == NOT_YOURS
        await bob.say("marker")
        assert await ada.hears() == "marker"


SAME_HOST = [
    ("chat.example", "http://chat.example", 101),
    ("chat.example", "https://chat.example", 101),  # a proxy in between took the TLS off
    ("chat.example:8000", "http://chat.example:8000", 101),
    ("[::1]:8000", "http://[::1]:8000", 101),
    ("chat.example:8000", "http://chat.example", 403),
    ("chat.example", "http://chat.example:8000", 403),
    ("127.0.0.1:8000", "http://localhost:8000", 403),
    ("chat.example", "null", 403),  # a file, a sandbox
    ("chat.example", "", 403),
    ("chat.example", "chat.example", 403),
    ("chat.example", "ftp://chat.example", 403),
    ("chat.example", "HTTP://CHAT.EXAMPLE", 403),  # no browser writes it so
    ("chat.example", "http://chat.example.", 403),
    ("chat.example", "http://chat.example/", 403),
    ("chat.example", "http://sub.chat.example", 403),
    ("chat.example", "http://example", 403),
    ("chat.example", "http://chat.example.evil.example", 403),
    ("chat.example", "http://evil-chat.example", 403),
    ("chat.example", "http://chat.example@evil.example", 403),
    ("chat.example", "http://evil.example@chat.example", 403),
    ("chat.example", "http://evil.example/chat.example", 403),
    ("chat.example", "http://chat.example http://evil.example", 403),
    ("chat.example", "http://[", 403),  # what a parser of addresses raises over
]
LISTED = [
    ("chat.example", "https://chat.example", 101),
    ("chat.example", "http://localhost:3000", 101),
    ("upstream:8000", "https://chat.example", 101),  # a proxy that does not pass the host on
    ("chat.example", "http://chat.example", 403),
    ("chat.example", "https://chat.example:443", 403),
    ("chat.example", "https://localhost:3000", 403),
    ("localhost:3000", "http://127.0.0.1:3000", 403),
]


async def test_without_a_list_a_page_may_speak_on_the_host_that_it_came_from(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve("step08_security")
    for host, origin, status in SAME_HOST:
        assert (await knock(server, origin, host))[0] == status, (host, origin)
    server.stop()
    assert "Traceback" not in caplog.text


async def test_with_a_list_those_in_it_may_speak_and_no_others(
    serve: Serve, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(settings, "origins", ["https://chat.example", "http://localhost:3000"])
    server = serve("step08_security")
    for host, origin, status in LISTED:
        assert (await knock(server, origin, host))[0] == status, (host, origin)


async def test_a_proxy_that_does_not_pass_the_host_on_shuts_its_own_pages_out(
    serve: Serve,
) -> None:
    answer = await knock(serve("step08_security"), "https://chat.example", "upstream:8000")
    assert answer == NOT_YOURS


async def test_only_a_list_stops_a_name_that_was_rebound_to_our_address(
    serve: Serve, monkeypatch: Patch
) -> None:
    server = serve("step08_security")
    # The page came from evil.example, which is our address now: the two headers agree.
    assert await knock(server, "http://evil.example", "evil.example") == (101, "")
    monkeypatch.setattr(settings, "origins", ["https://chat.example"])
    assert await knock(server, "http://evil.example", "evil.example") == NOT_YOURS


async def test_a_program_that_names_no_origin_is_let_in(serve: Serve, monkeypatch: Patch) -> None:
    monkeypatch.setattr(settings, "origins", ["https://chat.example"])
    server = serve("step08_security")
    async with server.connect() as client:
        assert client.connection.request
        assert "Origin" not in client.connection.request.headers
        assert (await client.receive())["type"] == "welcome"


async def test_no_host_is_nobodys_host(serve: Serve) -> None:
    server = serve("step08_security")
    for headers, status in (
        ([], "101 Switching Protocols"),
        (["Origin: null"], "403 Forbidden"),
        (["Origin: http://chat.example"], "403 Forbidden"),
        (["Host:", "Origin: null"], "403 Forbidden"),
        (["Host: a", "Origin: http://b", "Origin: http://a"], "400 Bad Request"),
    ):
        _, writer, answer = await by_hand(server, *headers)
        writer.close()
        assert answer == f"HTTP/1.1 {status}", headers


async def test_every_socket_is_behind_the_door_also_those_added_later(serve: Serve) -> None:
    async def speak(websocket: WebSocket) -> None:
        await websocket.accept()

    app, inner = FastAPI(), FastAPI()
    app.add_middleware(Door)
    app.mount("/inner", inner)
    app.add_api_websocket_route("/later", speak)
    inner.add_api_websocket_route("/later", speak)
    server = serve(app)
    for path in ("/later", "/inner/later"):
        assert await knock(server, "http://chat.example", path=path) == (101, "")
        assert await knock(server, EVIL, path=path) == NOT_YOURS
    # The step's own: also on a path where there is nothing.
    server = serve("step08_security")
    assert (await knock(server, path="/nowhere"))[0] == 404
    assert await knock(server, EVIL, path="/nowhere") == NOT_YOURS


# How big


@pytest.mark.parametrize("step", [faulty("step07_backpressure", AssertionError), "step08_security"])
@pytest.mark.parametrize("letter", ["x", "ä"])
async def test_a_frame_that_is_too_big_is_answered_and_the_connection_lives(
    serve: Serve, step: str, letter: str
) -> None:
    server, size = serve(step), 16384 // len(letter.encode())
    async with ada_and_bob(server) as (ada, bob):
        await ada.send(letter * size)
        assert (await ada.receive())["code"] == "bad_json"
        await ada.send(letter * (size + 1))
        answer = {"type": "error", "code": "too_big", "detail": "At most 16384 bytes."}
        assert await ada.receive() == answer
        await ada.say("sorry")
        assert await bob.hears() == "sorry"


async def test_the_longest_message_fits_as_a_page_writes_it_and_not_as_python_does(
    serve: Serve,
) -> None:
    longest = "👋" * 2000
    async with ada_and_bob(serve("step08_security")) as (ada, _):
        await ada.send(json.dumps({"type": "say", "text": longest}, ensure_ascii=False))
        assert await ada.hears() == longest
        await ada.say(longest)  # as \ud83d\udc4b: twelve bytes for one of them
        assert (await ada.receive())["code"] == "too_big"


async def test_what_counts_is_the_size_after_decompression(serve: Serve) -> None:
    async with serve("step08_security").connect("/ws?name=ada") as ada:
        assert (await ada.receive())["type"] == "welcome"
        protocol = ada.connection.protocol
        protocol.send_text(b"x" * 20_000)
        packet = b"".join(protocol.data_to_send())
        assert len(packet) < 100
        ada.connection.transport.write(packet)
        assert (await ada.receive())["code"] == "too_big"


@pytest.mark.parametrize("how", ["compressed", "in one frame", "in fragments"])
async def test_above_ws_max_size_it_ends_with_1009_before_the_app_has_it(
    serve: Serve, monkeypatch: Patch, how: str
) -> None:
    seen: list[str | None] = []

    def noted(_: security.Limit, text: str | None) -> None:
        seen.append(text and f"{len(text)} characters")

    monkeypatch.setattr(security.Limit, "exceeded", noted)
    server = serve("step08_security", ws_max_size=65536)
    options: dict[str, Any] = {} if how == "compressed" else {"compression": None}
    async with ada_and_bob(server) as (ada, bob), server.connect(**options) as eve:
        if how == "compressed":
            protocol = eve.connection.protocol
            protocol.send_text(b"x" * 10_000_000)
            packet = b"".join(protocol.data_to_send())
            assert len(packet) < 20_000
            eve.connection.transport.write(packet)
        else:
            text = "x" * 65537
            await eve.connection.send(text if how == "in one frame" else [text[:40000]] * 2)
        assert (await eve.closed())[0] == 1009
        for kind in ("joined", "left"):
            assert (await bob.receive())["type"] == kind
        await ada.say("marker")
        assert await bob.hears() == "marker"
    assert seen == [f"{len(json.dumps({'type': 'say', 'text': 'marker'}))} characters"]


# How fast


@pytest.mark.parametrize("step", [faulty("step07_backpressure", AssertionError), "step08_security"])
async def test_a_burst_passes_then_it_is_too_fast_and_a_moment_later_all_is_well(
    serve: Serve, clock: Clock, step: str
) -> None:
    async with ada_and_bob(serve(step)) as (ada, bob):
        for number in range(43):
            await ada.say(f"number {number}")
        for number in range(40):
            assert await ada.hears() == f"number {number}"
        for _ in range(3):
            answer = {"type": "error", "code": "too_fast", "detail": "At most 20 a second."}
            assert await ada.receive() == answer
        clock.now += 1  # 20 tokens: 3 pay the debt
        for number in range(17):
            await ada.say(f"later {number}")
            assert await ada.hears() == f"later {number}"
        await ada.say("too early")
        assert (await ada.receive())["code"] == "too_fast"
        expected = [f"number {n}" for n in range(40)] + [f"later {n}" for n in range(17)]
        assert [await bob.hears() for _ in expected] == expected
        await bob.say("marker")
        assert await bob.hears() == "marker"


async def test_who_keeps_to_the_rate_is_never_told_off(serve: Serve, clock: Clock) -> None:
    async with ada_and_bob(serve("step08_security")) as (ada, _):
        for number in range(200):
            await ada.say(f"number {number}")
            assert await ada.hears() == f"number {number}"
            clock.now += 1 / 20


async def test_who_was_silent_for_long_has_saved_no_more_than_a_burst(
    serve: Serve, clock: Clock
) -> None:
    async with ada_and_bob(serve("step08_security")) as (ada, _):
        clock.now += 3600
        for _ in range(41):
            await ada.say("hello")
        frames = [await ada.receive() for _ in range(41)]
        assert [frame["type"] for frame in frames] == ["message"] * 40 + ["error"]


@pytest.mark.parametrize("step", [faulty("step07_backpressure", AssertionError), "step08_security"])
async def test_who_goes_on_is_closed_with_4429(serve: Serve, clock: Clock, step: str) -> None:
    assert clock.now == 0
    server = serve(step)
    async with ada_and_bob(server) as (ada, bob):
        for _ in range(80):
            await ada.say("hello")
        types = [(await ada.receive())["type"] for _ in range(80)]
        assert types == ["message"] * 40 + ["error"] * 40
        await ada.say("hello")
        assert await ada.closed() == (4429, "Too fast for too long.")
        assert [await bob.hears() for _ in range(40)] == ["hello"] * 40
        assert await bob.receive() == {"type": "left", "name": "ada"}


@pytest.mark.parametrize("frame", [b"\x00", "{", "x" * 20_000], ids=["binary", "junk", "big"])
async def test_whatever_a_frame_is_it_counts(
    serve: Serve, clock: Clock, frame: str | bytes
) -> None:
    assert clock.now == 0
    async with ada_and_bob(serve("step08_security")) as (ada, _):
        for _ in range(41):
            await ada.send(frame)
        codes = [(await ada.receive())["code"] for _ in range(41)]
        assert "too_fast" not in codes[:40]
        assert codes[40] == "too_fast"


async def test_the_limit_who_comes_back_has_a_full_bucket(serve: Serve, clock: Clock) -> None:
    assert clock.now == 0
    server = serve("step08_security")
    for _ in range(3):
        async with server.connect("/ws?name=eve") as eve:
            assert (await eve.receive())["type"] == "welcome"
            for _ in range(40):
                await eve.say("hello")
                assert await eve.hears() == "hello"
        await nobody_is_inside()


async def test_the_limit_comings_and_goings_and_announcements_are_not_counted(
    serve: Serve, clock: Clock
) -> None:
    assert clock.now == 0
    server = serve("step08_security")
    async with (
        server.connect("/ws?name=ada") as ada,
        httpx2.AsyncClient(base_url=server.url) as http,
    ):
        assert (await ada.receive())["type"] == "welcome"
        for number in range(25):
            async with server.connect("/ws?name=eve"):
                assert await ada.receive() == {"type": "joined", "name": "eve"}
            assert await ada.receive() == {"type": "left", "name": "eve"}
            await http.post("/announce", json={"text": f"number {number}"})
            assert await ada.receive() == {"type": "notice", "text": f"number {number}"}


# How many


@pytest.mark.parametrize("step", [faulty("step07_backpressure", AssertionError), "step08_security"])
async def test_an_address_that_has_enough_connections_gets_no_more(
    serve: Serve, monkeypatch: Patch, step: str
) -> None:
    monkeypatch.setattr(settings, "connections_per_address", 2)
    server = serve(step)
    async with ada_and_bob(server) as (ada, bob):
        assert await knock(server) == ENOUGH
        # Others come from elsewhere.
        assert await knock(server, **from_address("10.0.0.1")) == (101, "")
        for kind in ("joined", "left"):
            assert (await ada.receive())["type"] == kind
        await bob.connection.close()
        assert await ada.receive() == {"type": "left", "name": "bob"}
        while await knock(server) != (101, ""):
            pass


async def test_a_server_that_is_full_says_so_to_everyone(serve: Serve, monkeypatch: Patch) -> None:
    monkeypatch.setattr(settings, "connections", 2)
    server = serve("step08_security")
    async with server.connect(), server.connect(**from_address("10.0.0.1")):
        assert await knock(server, **from_address("10.0.0.2")) == FULL
        async with httpx2.AsyncClient(base_url=server.url) as http:
            assert (await http.get("/healthz")).status_code == 200


ENDS = ["leaves", "reset", "taken name", "bad name", "too fast", "too big", "crash", "nowhere"]


@pytest.mark.parametrize("how", ENDS)
async def test_a_connection_counts_no_more_however_it_ended(
    serve: Serve, monkeypatch: Patch, clock: Clock, how: str
) -> None:
    assert clock.now == 0
    server = serve("step08_security", ws_max_size=65536)
    if how == "crash":
        monkeypatch.setattr(main, "read", None)
    async with AsyncExitStack() as stack:
        if how == "taken name":
            ada = await stack.enter_async_context(server.connect("/ws?name=ada"))
            assert (await ada.receive())["type"] == "welcome"
        if how == "nowhere":
            assert (await knock(server, path="/nowhere"))[0] == 404
        else:
            name = "%00" if how == "bad name" else "ada"
            async with server.connect(f"/ws?name={name}") as eve:
                if how == "reset":
                    reset(eve)
                elif how in ("too fast", "crash"):
                    for _ in range(81):
                        await eve.send(b"" if how == "too fast" else "hello")
                elif how == "too big":
                    await eve.send("x" * 65537)
                if how != "leaves":
                    codes = {"reset": 1006, "taken name": 4409, "bad name": 1008, "crash": 1011}
                    codes |= {"too fast": 4429, "too big": 1009}
                    assert (await eve.closed())[0] == codes[how]
    await nobody_is_inside()


async def test_a_client_that_was_cut_off_counts_until_its_line_is_gone(
    serve: Serve, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(settings, "connections_per_address", 1)
    monkeypatch.setattr(settings, "rate", 100_000)
    server, eves = serve("step08_security"), from_address("10.0.0.1")
    async with (
        server.connect("/ws?name=ada", compression=None) as ada,
        server.connect("/ws?name=eve", compression=None, **eves) as eve,
    ):
        eve.connection.transport.pause_reading()
        types = set[str]()
        while "left" not in types:
            await ada.say("x" * 2000)
            types.add((await ada.receive())["type"])
        # Nobody waits for her any more, and the kernel still has her line.
        assert await knock(server, **eves) == ENOUGH
        reset(eve)
        while await knock(server, **eves) != (101, ""):
            pass


async def test_the_limit_who_does_not_answer_a_goodbye_keeps_a_line_that_is_not_counted(
    serve: Serve, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(settings, "rate", 1)
    server = serve("step08_security")
    reader, writer, answer = await by_hand(server, "Host: a")
    assert answer.endswith("101 Switching Protocols")
    for _ in range(5):
        writer.write(b"\x82\x80\0\0\0\0")  # an empty binary frame
    assert b"Too fast for too long." in await reader.readuntil(b"Too fast for too long.")
    await nobody_is_inside()
    # Open still: uvicorn waits ten seconds for the answer.
    assert not reader.at_eof()
    writer.write(GOODBYE)
    assert await reader.read() == b""
    writer.close()


async def test_the_limit_who_never_ends_the_handshake_is_not_counted(
    serve: Serve, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(settings, "connections", 1)
    server = serve("step08_security")
    lines = [await asyncio.open_connection(*server.address.split(":")) for _ in range(20)]
    for _, writer in lines:
        writer.write(b"GET /ws HTTP/1.1\r\nHost: a\r\n")
    assert await knock(server) == (101, "")
    for reader, writer in lines:
        assert not reader.at_eof()
        writer.close()


@pytest.mark.parametrize(
    ("trusted", "counted"),
    [
        ("127.0.0.1", {"10.0.0.7": 1}),  # the default: a proxy on the same machine
        ("10.0.0.99", {"127.0.0.1": 1}),  # the proxy is the one who has all the connections
        ("*", {"1.2.3.4": 1}),  # whatever the client itself has written in front
    ],
)
async def test_behind_a_proxy_the_address_is_what_uvicorn_believes(
    serve: Serve, trusted: str, counted: dict[str, int]
) -> None:
    server = serve("step08_security", forwarded_allow_ips=trusted)
    # A client's own header, to which the proxy adds the address that it sees.
    async with server.connect(**from_address("1.2.3.4, 10.0.0.7")) as client:
        assert (await client.receive())["type"] == "welcome"
        assert inside() == counted


async def test_the_limit_two_addresses_of_one_network_count_as_two(serve: Serve) -> None:
    server = serve("step08_security")
    async with (
        server.connect(**from_address("2001:db8::1")) as one,
        server.connect(**from_address("2001:db8::2")) as other,
    ):
        for client in (one, other):
            assert (await client.receive())["type"] == "welcome"
        assert inside() == {"2001:db8::1": 1, "2001:db8::2": 1}


async def test_uvicorn_calls_a_refusal_an_error_and_the_client_gets_it_all_the_same(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve("step08_security")
    assert await knock(server, EVIL) == NOT_YOURS
    server.stop()
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert errors == ["ASGI callable returned without completing handshake."]


# Settings


WRONG = {
    "CHAT_RATE": ["fast", "0", "-1", "0.5", "", "nan", "inf"],
    "CHAT_MAX_BYTES": ["0", "16k", ""],
    "CHAT_CONNECTIONS": ["0", "many"],
    "CHAT_CONNECTIONS_PER_ADDRESS": ["-5", "1.5"],
    "CHAT_ORIGINS": [
        "",
        "*",
        "null",
        "chat.example",
        "https://chat.example/",
        "https://chat.example/path",
        "https://Chat.example",
        "https://ada@chat.example",
        "https://chat.example, https://b.example",
        "https://chat.example,",
    ],
}


@pytest.mark.parametrize(("name", "value"), [(name, v) for name in WRONG for v in WRONG[name]])
def test_a_wrong_value_is_named(monkeypatch: Patch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=rf"^{name} \([^)]+\): [^\n]+$"):
        from_environment()


def test_a_wrong_value_stops_the_start_with_a_sentence_and_status_1() -> None:
    env = os.environ | {"CHAT_ORIGINS": "https://chat.example/"}
    done = subprocess.run(
        [*COMMAND, "--port=0"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.fullmatch(r"CHAT_ORIGINS \(.+\): .+\n", done.stderr), done.stderr
    assert done.stdout == ""


def test_what_the_environment_says_holds(monkeypatch: Patch) -> None:
    assert from_environment() == Settings.model_validate({}) == settings
    given = {
        "CHAT_ORIGINS": "https://chat.example,http://[::1]:3000",
        "CHAT_MAX_BYTES": "100",
        "CHAT_RATE": "5",
        "CHAT_CONNECTIONS": "10",
        "CHAT_CONNECTIONS_PER_ADDRESS": "2",
    }
    assert (
        {f"CHAT_{name}".upper() for name in Settings.model_fields} == given.keys() == WRONG.keys()
    )
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert from_environment().model_dump() == {
        "origins": ["https://chat.example", "http://[::1]:3000"],
        "max_bytes": 100,
        "rate": 5,
        "connections": 10,
        "connections_per_address": 2,
    }


async def test_one_list_of_origins_is_for_sockets_and_for_requests(
    start_process: StartProcess,
) -> None:
    ours, policy = "https://chat.example", {"access-control-request-method": "POST"}
    server = await start_process("step08_security", env={"CHAT_ORIGINS": ours})
    async with httpx2.AsyncClient(base_url=server.url) as http:
        for origin, status in {ours: 200, EVIL: 400}.items():
            preflight = await http.options("/announce", headers={"origin": origin} | policy)
            assert preflight.status_code == status
    async with server.connect(origin=Origin(ours)):
        pass
    with pytest.raises(InvalidStatus, match="403"):
        async with server.connect(origin=Origin(EVIL)):
            pass
    assert await server.terminate() == -signal.SIGTERM


# Pages


@pytest.mark.parametrize("path", ["/", "/client.js", "/style.css", "/healthz"])
def test_an_answer_says_what_a_browser_may_do_with_it(path: str) -> None:
    with TestClient(main.app) as client:
        headers = client.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy.pop("img-src") == "data:"  # the empty icon
    assert {name for name, value in policy.items() if value == "'self'"} == {
        "script-src",
        "style-src",
        "connect-src",
    }
    assert set(policy.values()) == {"'self'", "'none'"}
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"


def test_the_limit_the_page_of_the_documentation_has_no_policy() -> None:
    with TestClient(main.app) as client:
        assert "content-security-policy" not in client.get("/docs").headers


# TLS


def certified(folder: Path) -> list[str]:
    """Make a key and a certificate; return the options that use them, all as the page says."""
    page = (ROOT / "docs/steps/step08_security.md").read_text("utf-8")
    options = "--ssl-keyfile .venv/server.key --ssl-certfile .venv/server.pem"
    assert "\n    uv run python -m trustme -d .venv\n" in page
    assert f"\n    uv run uvicorn steps.step08_security.main:app {options}\n" in page
    subprocess.run([sys.executable, "-m", "trustme", "-q", "-d", folder], check=True)
    return options.replace(".venv", str(folder)).split()


async def test_over_tls_those_talk_who_trust_the_certificate_and_no_others(
    start_process: StartProcess, tmp_path: Path
) -> None:
    server = await start_process("step08_security", *certified(tmp_path))
    trusting = ssl.create_default_context(cafile=tmp_path / "client.pem")
    stranger = ssl.create_default_context()
    trustme.CA().configure_trust(stranger)
    url = f"wss://{server.address}/ws"
    async with (
        connect(f"{url}?name=ada", ssl=trusting, proxy=None) as line,
        connect(f"{url}?name=bob", ssl=trusting, proxy=None) as other,
    ):
        ada, bob = Client(line), Client(other)
        assert [(await ada.receive())["type"] for _ in range(2)] == ["welcome", "joined"]
        assert (await bob.receive())["type"] == "welcome"
        await ada.say("nobody reads along")
        assert await bob.hears() == "nobody reads along"
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        async with connect(url, ssl=stranger, proxy=None):
            pass
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'chat\.example'"):
        async with connect(url, ssl=trusting, server_hostname="chat.example", proxy=None):
            pass


# What the step does not stop


async def test_the_limit_a_body_is_read_whatever_its_size(serve: Serve) -> None:
    body = b'{"text": "' + b"x" * 20_000_000 + b'"}'
    async with httpx2.AsyncClient(base_url=serve("step08_security").url) as http:
        headers = {"content-type": "application/json"}
        response = await http.post("/announce", content=body, headers=headers)
        # It knows what is wrong with the text: it has read it.
        assert response.json()["detail"][0]["type"] == "string_too_long"


async def test_the_limit_pings_that_are_answered_and_not_read_fill_the_servers_memory(
    serve: Serve,
) -> None:
    waiting: list[asyncio.Transport] = []

    class Watched(WebSocketsSansIOProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            waiting.append(self.transport)

    server = serve("step08_security", ws=Watched)
    _, writer, answer = await by_hand(server, "Host: a")
    assert answer.endswith("101 Switching Protocols")
    while waiting[0].get_write_buffer_size() < 1024 * 1024:
        writer.write(PINGS)
        await writer.drain()
    writer.transport.abort()


async def test_the_limit_a_handshake_with_an_enormous_header_spoils_the_stop(
    start_process: StartProcess,
) -> None:
    server = await start_process("step08_security")
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port))) as line:
        # uvicorn does not answer it, and does not close the line.
        line.sendall(handshake(f"Cookie: {'x' * 9000}"))
        await server.prints("431 Request Header Fields Too Large")
        assert await server.terminate() == 1
    assert "AssertionError" in server.printed()


async def test_the_limit_a_goodbye_of_one_who_does_not_read_spoils_the_stop(
    start_process: StartProcess,
) -> None:
    server = await start_process("step08_security")
    async with server.connect("?name=ada") as ada:
        assert (await ada.receive())["type"] == "welcome"
        _, writer, answer = await by_hand(server, "Host: a")
        assert answer.endswith("101 Switching Protocols")
        assert (await ada.receive())["type"] == "joined"
        for _ in range(100):  # 13 MB: more than the kernel takes for one who does not read
            writer.write(PINGS)
            await writer.drain()
        writer.write(GOODBYE)
        assert (await ada.receive())["type"] == "left"
        assert await server.terminate() == 1
        writer.transport.abort()
    assert "InvalidState: connection is closing" in server.printed()
