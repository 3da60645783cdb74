"""What a browser says of connections that fail, and what it keeps from its page."""

import asyncio
from queue import Queue

import pytest
from fastapi import FastAPI, WebSocket
from playwright.async_api import Page, Route

from tests.browser.conftest import Guard, OpenWindow
from tests.conftest import Serve

# Settles with the close code that the page is told, or with the error that the constructor throws.
CONNECT = """([address, protocols]) => new Promise((settle) => {
    try {
        const socket = new WebSocket(address, protocols);
        socket.onclose = (event) => settle(event.code);
        socket.onopen = () => socket.close(1000);
    } catch (error) {
        settle(`${error}`);
    }
})"""


async def outcome(page: Page, guard: Guard, address: str, *protocols: str) -> tuple[object, str]:
    """Connect from a page; return what the page is told, and what the console says."""
    told = await page.evaluate(CONNECT, [address, list(protocols)])
    await page.evaluate("0")
    said = "\n".join(guard.seen)
    guard.seen.clear()
    return told, said


async def test_a_page_is_told_1006_and_the_console_says_why(
    serve: Serve, guard: Guard, open_window: OpenWindow
) -> None:
    server = serve("step01_echo")
    page = (await open_window(server.url)).page
    told, said = await outcome(page, guard, f"ws://{server.address}/nowhere")
    assert told == 1006
    assert "Error during WebSocket handshake: Unexpected response code: 403" in said
    server.stop()
    told, said = await outcome(page, guard, f"ws://{server.address}/ws")
    assert told == 1006
    assert "net::ERR_CONNECTION_REFUSED" in said


@pytest.mark.parametrize("answer", [None, "chat.v1"])
async def test_a_browser_refuses_a_server_that_answers_none_of_its_subprotocols(
    serve: Serve, guard: Guard, open_window: OpenWindow, answer: str | None
) -> None:
    app = FastAPI()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept(subprotocol=answer)
        await websocket.receive()

    @app.get("/")
    async def page() -> str:
        return "a page"

    server = serve(app)
    window = await open_window(server.url)
    told, said = await outcome(window.page, guard, f"ws://{server.address}/ws", "chat.v1")
    if answer:
        assert (told, said) == (1000, "")
    else:
        assert told == 1006
        assert "Sent non-empty 'Sec-WebSocket-Protocol' header but no response was received" in said


async def test_a_page_that_came_over_https_may_not_open_ws(
    guard: Guard, open_window: OpenWindow
) -> None:
    async def fulfill(route: Route) -> None:
        await route.fulfill(body="a page", content_type="text/html")

    page = (await open_window()).page
    await page.route("https://chat.example/", fulfill)
    await page.goto("https://chat.example/")
    told, said = await outcome(page, guard, "ws://chat.example/ws")
    assert told == (
        "SecurityError: Failed to construct 'WebSocket': "
        "An insecure WebSocket connection may not be initiated from a page loaded over HTTPS."
    )
    assert (
        "Mixed Content: The page at 'https://chat.example/' was loaded over HTTPS, "
        "but attempted to connect to the insecure WebSocket endpoint 'ws://chat.example/ws'."
    ) in said


async def test_a_tab_that_is_closed_says_1001(serve: Serve, open_window: OpenWindow) -> None:
    app, heard = FastAPI(), Queue[int]()

    @app.websocket("/ws")
    async def ws(websocket: WebSocket) -> None:
        await websocket.accept()
        heard.put((await websocket.receive())["code"])

    @app.get("/")
    async def page() -> str:
        return "a page"

    server = serve(app)
    page_of_ada = (await open_window(server.url)).page
    await page_of_ada.evaluate(
        """(address) => new Promise((settle) => {
            window.socket = new WebSocket(address);
            window.socket.onopen = settle;
        })""",
        f"ws://{server.address}/ws",
    )
    await page_of_ada.goto("about:blank")
    assert await asyncio.to_thread(heard.get, timeout=10) == 1001
