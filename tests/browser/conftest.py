"""A browser, windows in it, and a guard over all pages."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import (
    BrowserContext,
    BrowserType,
    ConsoleMessage,
    Locator,
    Page,
    Route,
    ViewportSize,
    WebError,
    WebSocket,
)
from pytest_playwright_asyncio.pytest_playwright import CreateContextCallback

from tests.browser.browsers import NoBrowserError, launch_options
from tests.conftest import Process, Serve, Server, StartProcess

ROOT = Path(__file__).parents[2]
PHONE = ViewportSize(width=360, height=640)


@pytest.fixture(scope="session")
def browser_type_launch_args(
    browser_type_launch_args: dict[str, Any], browser_type: BrowserType
) -> dict[str, Any]:
    """Choose the browser. Without one the tests are skipped; REQUIRE_BROWSER=1 makes them fail."""
    if browser_type.name != "chromium":
        return browser_type_launch_args
    try:
        return launch_options(browser_type.executable_path) | browser_type_launch_args
    except NoBrowserError as missing:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def base_url() -> None:
    """Take the place of the plugin's fixture (0.10), which pytest 9 warns about: no test asks."""


class Guard:
    """Notes what no page of a step may do: turn to another host, fail, or complain."""

    def __init__(self) -> None:
        self.hosts: set[str] = set()
        """The servers of the test. Pages may turn to these."""
        self.down: set[str] = set()
        """Those of them that were killed: what browsers print about these is expected."""
        self.refusals: set[int] = set()
        """The statuses by which requests may be refused: browsers print each."""
        self.seen: list[str] = []

    async def watch(self, context: BrowserContext) -> None:
        """Note what the pages of a context do from now on."""
        # What a page's own routes fulfill does not come here, and never leaves the browser.
        await context.route("**/*", self._request)
        context.on("page", lambda page: page.on("websocket", self._websocket))
        context.on("weberror", self._error)
        context.on("console", self._console)

    async def _request(self, route: Route) -> None:
        if urlsplit(route.request.url).netloc in self.hosts:
            await route.fallback()
        else:
            self.seen.append(f"a request to {route.request.url}")
            await route.abort()

    def _websocket(self, websocket: WebSocket) -> None:
        if urlsplit(websocket.url).netloc not in self.hosts:
            self.seen.append(f"a socket to {websocket.url}")

    def _error(self, error: WebError) -> None:
        self.seen.append(f"an uncaught {error.error}")

    def _console(self, message: ConsoleMessage) -> None:
        lost = any(f"WebSocket connection to 'ws://{host}/" in message.text for host in self.down)
        asked = urlsplit(message.location["url"]).netloc
        lost |= "net::ERR_" in message.text and asked in self.down
        refused = any(f"with a status of {status} " in message.text for status in self.refusals)
        if message.type in ("error", "warning") and not lost and not refused:
            self.seen.append(f"the console's {message.type}: {message.text}")


@pytest.fixture
def guard() -> Guard:
    """Return what watches over the pages of a test."""
    return Guard()


@pytest.fixture
async def new_context(
    new_context: CreateContextCallback, guard: Guard, serve: Serve
) -> AsyncIterator[Callable[..., Awaitable[BrowserContext]]]:
    """Make browser contexts; afterwards the test fails if a page did what none may do."""
    # Asking for `serve` makes pages end before their servers: none sees its server stop.
    del serve
    contexts: list[BrowserContext] = []

    async def make(**options: Any) -> BrowserContext:
        context = await new_context(**options)
        await guard.watch(context)
        contexts.append(context)
        return context

    yield make
    for page in [page for context in contexts for page in context.pages]:
        # A round trip: whatever the page has done before has been reported then.
        await page.evaluate("0")
    assert not guard.seen


@pytest.fixture
def serve(serve: Serve, guard: Guard) -> Serve:
    """Start servers in a thread, as everywhere, and let pages turn to them."""

    def start(*args: Any, **options: Any) -> Server:
        server = serve(*args, **options)
        guard.hosts.add(server.address)
        return server

    return start


@pytest.fixture
def start_process(start_process: StartProcess, guard: Guard) -> StartProcess:
    """Start an app in a process of its own, as everywhere, and let pages turn to it."""

    async def start(*args: Any, **options: Any) -> Process:
        process = await start_process(*args, **options)
        guard.hosts.add(process.address)
        process.when_down.append(guard.down.add)
        return process

    return start


class Window:
    """A window with a step's page: its parts, and the verbs that tests use."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.state = page.get_by_role("status")
        self.log = page.get_by_role("log")
        self.text = page.get_by_label("Message", exact=True)
        self.send = page.get_by_role("button", name="Send")
        # From step 5 on:
        self.countdown = page.locator("#countdown")
        self.try_now = page.get_by_role("button", name="Try now")
        self.people = page.get_by_role("complementary").get_by_role("listitem")
        self.name = page.get_by_label("Your name")
        # From step 9 on:
        self.sign_out = page.get_by_role("button", name="Sign out")
        # From step 10 on:
        self.room = page.get_by_label("Room", exact=True)
        self.to = page.get_by_label("To", exact=True)
        self.typing = page.locator("#typing")

    def lines(self, kind: str) -> Locator:
        """Return the lines of one kind in the log: `mine`, `theirs`, `note`, ..."""
        return self.log.locator(f".{kind}")

    async def say(self, text: str) -> None:
        """Type a text and send it with Enter."""
        await self.text.fill(text)
        await self.text.press("Enter")

    async def sign_in(self, name: str) -> None:
        """Sign in, from step 9 on, with Enter."""
        await self.name.fill(name)
        await self.name.press("Enter")

    async def outside(self) -> list[str]:
        """Return which elements reach beyond the left or the right edge of the window."""
        found: list[str] = await self.page.evaluate("""() =>
            [...document.querySelectorAll("body, body *")]
              .filter((element) => {
                const { left, right, width } = element.getBoundingClientRect();
                return width > 0 && (left < 0 || right > document.documentElement.clientWidth);
              })
              .map((element) => element.outerHTML.slice(0, 80))""")
        return found

    async def complaints(self) -> list[str]:
        """Return what axe-core finds wrong for people who read or work the page differently."""
        found = (await Axe().run(self.page)).response["violations"]
        return [f"{rule['id']}: {node['html']}" for rule in found for node in rule["nodes"]]


class OpenWindow(Protocol):
    """Opens windows."""

    async def __call__(self, url: str = "", **options: Any) -> Window:
        """Open a window in a context of its own (`options` are that context's) and go to `url`."""


@pytest.fixture
def open_window(new_context: Callable[..., Awaitable[BrowserContext]]) -> OpenWindow:
    """Open windows, each like a person of its own: nothing is shared with another."""

    async def open_one(url: str = "", **options: Any) -> Window:
        context = await new_context(**options)
        window = Window(await context.new_page())
        if url:
            await window.page.goto(url)
        return window

    return open_one
