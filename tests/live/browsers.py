"""One vocabulary for two browsers: a tab, and what tests do in it."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from playwright.async_api import Browser as PlaywrightBrowser
from playwright.async_api import BrowserContext, FrameLocator, Page, async_playwright
from playwright.async_api import Error as PlaywrightError

from tests.browser.browsers import launch_options
from tests.browser.conftest import Guard

PATIENCE = 30
"""Seconds that a tab has for what a test waits for."""

# The client windows are frames of the page's own origin: what holds in them can be asked from it.
IN_PAGE = (
    "(async (window, document) => JSON.stringify(({expression}) ?? null))({window}, {document})"
)
BOTH = "(async value => [!!(value = await value), value])({expression})"
CLIENT = """document.querySelector('.client[data-client="{client}"] iframe')"""
# Events and all, as if it were pasted: assigned to `value` it would be no input.
FILL = """(field => {{
    field.focus();
    field.select();
    document.execCommand({text} ? "insertText" : "delete", false, {text});
    if (field.value !== {text}) throw new Error(`the field has ${{field.value}}`);
}})(document.querySelector({selector}))"""
RUNNER = """(runner => runner && [
    `state: ${runner.dataset.state}`,
    `status: ${runner.querySelector(".status")?.textContent}`,
    `output: ${runner.querySelector(".output")?.textContent.slice(-2000)}`,
].join("\\n"))(document.querySelector("fastapi-runner"))"""


class Size(NamedTuple):
    """What a page has to itself, in CSS pixels."""

    width: int
    height: int


DESK = Size(1280, 800)
PHONE = Size(360, 640)


class ScriptError(Exception):
    """An expression raised something in the page."""


class Tab(ABC):
    """A tab of its own: no other has its storage. `client=2` means: in the second client window."""

    expected = "$^"
    """What the browser may complain of, as a regular expression: the test brings it about."""

    @property
    @abstractmethod
    def asked(self) -> list[str]:
        """The URLs that were asked for since the tab is there."""

    @property
    @abstractmethod
    def complaints(self) -> list[str]:
        """What the console has shown as an error since the tab is there."""

    @abstractmethod
    async def go(self, url: str) -> None:
        """Go to a page, and wait until it is loaded."""

    @abstractmethod
    async def look(self, size: Size = DESK, *, dark: bool = False) -> None:
        """Make the window so large, and prefer this colour scheme."""

    @abstractmethod
    async def before(self, script: str) -> None:
        """Run a script in every page that is opened from now on, before the page's own."""

    @abstractmethod
    async def click(self, selector: str, client: int | None = None) -> None:
        """Press the mouse on an element, once it can be pressed."""

    @abstractmethod
    async def press(self, keys: str, client: int | None = None) -> None:
        """Press keys where the focus is: `Tab`, `Control+Enter`, ..."""

    @abstractmethod
    async def screenshot(self, path: Path) -> None:
        """Take a picture of the whole page."""

    @abstractmethod
    async def close(self) -> None:
        """Close the tab."""

    @abstractmethod
    async def _json(self, script: str) -> str:
        """Return the text that a script in the page promises. Raises ScriptError."""

    async def open(self, url: str, size: Size = DESK, *, dark: bool = False) -> None:
        """Go to a page, in a window of this size and with this colour scheme."""
        await self.look(size, dark=dark)
        await self.go(url)

    async def evaluate(self, expression: str, client: int | None = None) -> Any:
        """Return what a JavaScript expression, or its promise, comes to. Raises ScriptError."""
        window, document = "window", "document"
        if client is not None:
            frame = CLIENT.format(client=client)
            window, document = f"{frame}.contentWindow", f"{frame}.contentDocument"
        script = IN_PAGE.format(
            expression=f"await ({expression})", window=window, document=document
        )
        try:
            async with asyncio.timeout(PATIENCE / 3):
                return json.loads(await self._json(script))
        except TimeoutError:
            raise ScriptError(f"no answer to {expression}") from None

    async def until(self, expression: str, client: int | None = None) -> Any:
        """Wait until an expression is true, as JavaScript sees it; return what it comes to.

        A page that is not there yet is waited for. Who waits in vain is told what the expression
        was at last, and what the runner shows.
        """
        last: Any = None
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        true, last = await self.evaluate(BOTH.format(expression=expression), client)
                    except ScriptError as error:
                        last = error
                    else:
                        if true:
                            return last
                    await asyncio.sleep(0.02)
        except TimeoutError:
            where = f"in client {client}" if client else "in the page"
            text = f"never true {where}: {expression}\nat last: {last!r}"
            raise AssertionError(f"{text}\n{await self.evaluate(RUNNER)}") from None

    async def fill(self, selector: str, text: str, client: int | None = None) -> None:
        """Replace what is in a field, as pasting does."""
        name = json.dumps(selector)
        await self.until(f"document.querySelector({name})", client)
        await self.evaluate(FILL.format(selector=name, text=json.dumps(text)), client)


class Browser(ABC):
    """A browser that runs, and opens tabs."""

    @abstractmethod
    async def tab(self) -> Tab:
        """Open a tab."""


class ChromiumTab(Tab):
    """A tab of Chromium, driven by Playwright, which the tests of its own may use as well."""

    def __init__(self, context: BrowserContext, page: Page, guard: Guard) -> None:
        self.context = context
        self.page = page
        self._asked: list[str] = []
        self._guard = guard
        context.on("request", lambda request: self._asked.append(request.url))

    @property
    def asked(self) -> list[str]:
        return self._asked

    @property
    def complaints(self) -> list[str]:
        return self._guard.seen

    async def go(self, url: str) -> None:
        await self.page.goto(url)

    async def look(self, size: Size = DESK, *, dark: bool = False) -> None:
        await self.page.set_viewport_size({"width": size.width, "height": size.height})
        await self.page.emulate_media(color_scheme="dark" if dark else "light")

    async def before(self, script: str) -> None:
        await self.page.add_init_script(script)

    async def click(self, selector: str, client: int | None = None) -> None:
        place: Page | FrameLocator = self.page
        if client is not None:
            place = self.page.frame_locator(f'.client[data-client="{client}"] iframe')
        try:
            await place.locator(selector).first.click()
        except PlaywrightError as error:
            raise AssertionError(f"{error.message}\n{await self.evaluate(RUNNER)}") from None

    async def press(self, keys: str, client: int | None = None) -> None:
        del client  # it goes where the focus is
        await self.page.keyboard.press(keys)

    async def screenshot(self, path: Path) -> None:
        await self.page.screenshot(path=path, full_page=True)

    async def close(self) -> None:
        await self.context.close()

    async def _json(self, script: str) -> str:
        try:
            text: str = await self.page.evaluate(script)
        except PlaywrightError as error:
            raise ScriptError(error.message) from None
        return text


class Chromium(Browser):
    """Chromium, or what is built like it: the one that the other tests use, too."""

    def __init__(self, browser: PlaywrightBrowser, host: str) -> None:
        self._browser = browser
        self._host = host

    @classmethod
    @asynccontextmanager
    async def start(cls, host: str, *, headed: bool = False) -> AsyncIterator["Chromium"]:
        """Start it; its pages may turn to this host alone. Raises NoBrowserError."""
        async with async_playwright() as playwright:
            options = launch_options(playwright.chromium.executable_path)
            browser = await playwright.chromium.launch(**options, headless=not headed)
            yield cls(browser, host)
            await browser.close()

    async def tab(self, **options: Any) -> ChromiumTab:
        """Open a tab; `options` are those of Playwright's contexts."""
        # Without windows it has no language of its own, and would send no Accept-Language.
        context = await self._browser.new_context(**{"locale": "en-US", **options})
        context.set_default_timeout(PATIENCE * 1000)
        guard = Guard()
        guard.hosts.add(self._host)
        await guard.watch(context)
        return ChromiumTab(context, await context.new_page(), guard)
