"""Step 1: what one client sends comes back to it, and its leaving disturbs nobody."""

import pytest
from fastapi.testclient import TestClient
from websockets.exceptions import InvalidStatus

from steps.step01_echo.main import app
from tests.conftest import STEPS, Serve, Server, reset, sign_in


def test_a_text_comes_back_unchanged() -> None:
    with TestClient(app) as client, client.websocket_connect("/ws") as socket:
        for text in ("hello", "", "héllo 👋", "<b>not markup</b>", "two\nlines"):
            socket.send_text(text)
            assert socket.receive_text() == text


async def test_every_client_hears_only_its_own_text(serve: Serve) -> None:
    server = serve("step01_echo")
    async with server.connect() as ada, server.connect() as bob:
        await ada.send("from ada")
        await bob.send("from bob")
        assert await bob.connection.recv() == "from bob"
        assert await ada.connection.recv() == "from ada"


async def test_texts_come_back_in_the_order_in_which_they_were_sent(serve: Serve) -> None:
    server = serve("step01_echo")
    texts = [str(number) for number in range(1000)]
    async with server.connect() as ada:
        for text in texts:
            await ada.send(text)
        assert [await ada.connection.recv() for _ in texts] == texts


every_step = pytest.mark.parametrize("step", STEPS)


async def proof(server: Server, step: str) -> dict[str, str]:
    """Return the headers with which a step lets a client in."""
    return await sign_in(server, "ada") if step >= "step09" else {}


@every_step
async def test_a_closed_tab_leaves_no_traceback_in_the_log(
    serve: Serve, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(step)
    async with server.connect(additional_headers=await proof(server, step)) as ada:
        await ada.send("hello")
        await ada.connection.close(1001)
    server.stop()
    assert caplog.text == ""


@every_step
async def test_a_tab_closed_before_its_answer_leaves_no_traceback_in_the_log(
    serve: Serve, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(step)
    async with server.connect(additional_headers=await proof(server, step)) as ada:
        # One packet, so that the server answers a client that it knows has said goodbye.
        protocol = ada.connection.protocol
        protocol.send_text(b"hello")
        protocol.send_close(1001)
        ada.connection.transport.write(b"".join(protocol.data_to_send()))
        await ada.connection.wait_closed()
    server.stop()
    assert caplog.text == ""


@every_step
async def test_a_line_cut_while_the_server_answers_leaves_no_traceback_in_the_log(
    serve: Serve, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(step)
    async with server.connect(additional_headers=await proof(server, step)) as ada:
        for _ in range(100):
            await ada.send("x" * 10_000)
        reset(ada)
    server.stop()
    assert caplog.text == ""


async def test_a_wrong_path_refuses_the_handshake_with_403(serve: Serve) -> None:
    server = serve("step01_echo")
    for path in ("/", "/wss", "/ws/", "/ws/room"):
        with pytest.raises(InvalidStatus) as refused:
            async with server.connect(path):
                pass
        assert refused.value.response.status_code == 403, path
        assert refused.value.response.body == b"", path


def test_the_page_its_script_and_its_style_are_served() -> None:
    with TestClient(app) as client:
        for path, kind in (("/", "text/html"), ("/client.js", "javascript"), ("/style.css", "css")):
            response = client.get(path)
            assert response.status_code == 200
            assert kind in response.headers["content-type"]
