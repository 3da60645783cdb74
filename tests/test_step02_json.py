"""Step 2: every frame that reaches the app has an answer, and none ends the connection."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from websockets.exceptions import ConnectionClosedError

from steps.step02_json.main import app
from tests.conftest import Serve, faulty

# What a client may send by mistake: the code of the error, and a part of what it says.
MISTAKES: dict[str, tuple[str | bytes, str, str]] = {
    "no JSON": ("hello", "bad_json", "expected value at line 1 column 1"),
    "half of it": ('{"type":"say","text":"he', "bad_json", "EOF while parsing a string"),
    "nothing": ("", "bad_json", "EOF while parsing a value"),
    "half a surrogate pair": (r'{"type":"say","text":"\ud83d"}', "bad_json", "hex escape"),
    "too deep": ("[" * 100_000, "bad_json", "recursion limit"),
    "a list": ("[]", "bad_message", "Input should be an object"),
    "no type": ('{"text":"hi"}', "bad_message", "type: Field required"),
    "an unknown type": ('{"type":"shout"}', "bad_message", "type: Input should be 'say'"),
    "no text": ('{"type":"say"}', "bad_message", "text: Field required"),
    "a number for a text": ('{"type":"say","text":7}', "bad_message", "text: Input should be"),
    "an empty text": ('{"type":"say","text":""}', "bad_message", "at least 1 character"),
    "a long text": (f'{{"type":"say","text":"{"x" * 2001}"}}', "bad_message", "at most 2000"),
    "a binary frame": (b'{"type":"say","text":"hi"}', "not_text", "binary frame"),
}


def test_what_is_said_comes_back_as_a_message() -> None:
    with TestClient(app) as client, client.websocket_connect("/ws") as socket:
        socket.send_json({"type": "say", "text": "hello"})
        assert socket.receive_json() == {"type": "message", "text": "hello"}


@pytest.mark.parametrize("text", ["x", "x" * 2000, "👋" * 2000, "<b>&amp;</b>", '"', "\u0000"])
def test_any_text_of_1_to_2000_characters_comes_back_unchanged(text: str) -> None:
    with TestClient(app) as client, client.websocket_connect("/ws") as socket:
        socket.send_json({"type": "say", "text": text})
        assert socket.receive_json()["text"] == text


def test_fields_that_the_server_does_not_know_are_ignored() -> None:
    with TestClient(app) as client, client.websocket_connect("/ws") as socket:
        socket.send_json({"type": "say", "text": "hello", "since": "a newer client"})
        assert socket.receive_json() == {"type": "message", "text": "hello"}


async def test_a_mistake_is_answered_and_the_connection_lives_on(serve: Serve) -> None:
    server = serve("step02_json")
    async with server.connect() as ada:
        for mistake, (frame, code, detail) in MISTAKES.items():
            await ada.send(frame)
            error: dict[str, Any] = await ada.receive()
            assert (error["type"], error["code"]) == ("error", code), mistake
            assert detail in error["detail"], mistake
            await ada.say(f"still here after {mistake}")
            assert await ada.hears() == f"still here after {mistake}"


@pytest.mark.parametrize("step", [faulty("step01_echo", ConnectionClosedError), "step02_json"])
async def test_a_binary_frame_does_not_end_the_connection(serve: Serve, step: str) -> None:
    server = serve(step)
    async with server.connect() as ada:
        await ada.send(b"\x00\xff")
        await ada.connection.recv()


async def test_step_1_logs_a_key_error_and_closes_without_a_close_frame(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve("step01_echo")
    async with server.connect() as ada:
        await ada.send(b"\x00\xff")
        assert await ada.closed() == (1006, "")
    server.stop()
    assert "KeyError: 'text'" in caplog.text


@pytest.mark.parametrize(
    ("frame", "logged"),
    [("junk", "JSONDecodeError"), ("{}", "KeyError: 'text'"), ("[]", "TypeError: list indices")],
)
async def test_receive_json_alone_lets_any_mistake_end_the_connection(
    serve: Serve, caplog: pytest.LogCaptureFixture, frame: str, logged: str
) -> None:
    server = serve("tests.broken.receive_json")
    async with server.connect() as ada:
        await ada.send(frame)
        assert await ada.closed() == (1006, "")
    server.stop()
    assert logged in caplog.text


async def test_a_hundred_mistakes_leave_no_traceback_in_the_log(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve("step02_json")
    async with server.connect() as ada:
        for number in range(100):
            await ada.send(b"binary" if number % 2 else "junk")
        for _ in range(100):
            assert (await ada.receive())["type"] == "error"
    server.stop()
    assert caplog.text == ""
