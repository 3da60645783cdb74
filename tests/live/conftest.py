"""Two browsers, the built site, and the runner on a step's page."""

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

import pytest

from tests.browser.browsers import NoBrowserError
from tests.live.browsers import Browser, Chromium, Tab
from tests.live.firefox import Firefox
from tests.live.runner import RUNS, Runner
from tests.live.site import FOLDER, Site, served


@pytest.fixture(scope="session")
def whole_site() -> Iterator[Site]:
    """Serve the site."""
    with served() as site:
        yield site


@pytest.fixture
def site(whole_site: Site) -> Iterator[Site]:
    """Return the site. What a test breaks is mended afterwards."""
    whole_site.asked.clear()
    yield whole_site
    whole_site.mend()


@pytest.fixture(scope="session", params=["chromium", "firefox"])
async def driven(request: pytest.FixtureRequest, whole_site: Site) -> AsyncIterator[Browser]:
    """Start each browser in turn. Without it tests are skipped; REQUIRE_BROWSER=1: they fail."""
    headed = bool(request.config.getoption("--headed"))
    async with AsyncExitStack() as stack:
        try:
            if request.param == "chromium":
                start = Chromium.start(whole_site.host, headed=headed)
                yield await stack.enter_async_context(start)
            else:
                yield await stack.enter_async_context(Firefox.start(headed=headed))
        except NoBrowserError as missing:
            if os.environ.get("REQUIRE_BROWSER") == "1":
                pytest.fail(str(missing))
            pytest.skip(str(missing))


@asynccontextmanager
async def watched(tab: Tab, site: Site) -> AsyncIterator[None]:
    """Fail if the page in a tab complains, or turns to another host or folder."""
    asked, complaints = len(tab.asked), len(tab.complaints)
    tab.expected = Tab.expected
    yield
    await tab.evaluate("0")  # a round trip: what happened before has been reported then
    allowed = (site.url, "blob:", "data:", "about:")
    assert not [url for url in tab.asked[asked:] if not url.startswith(allowed)]
    assert not [path for path in site.asked if not path.startswith(FOLDER)]
    assert not [text for text in tab.complaints[complaints:] if not re.search(tab.expected, text)]


@pytest.fixture
async def tab(driven: Browser, site: Site) -> AsyncIterator[Tab]:
    """Open a tab. The test fails if a page complains, or turns to another host or folder."""
    tab = await driven.tab()
    try:
        async with watched(tab, site):
            yield tab
    finally:
        await tab.close()


class OpenRunner(Protocol):
    """Opens the page of a step."""

    async def __call__(self, step: str, *, before: str = "") -> Runner:
        """Open the page of a step; `before` is a script that comes before the page's own."""


@pytest.fixture
def fresh(tab: Tab, site: Site) -> OpenRunner:
    """Open the page of a step in a tab that knows nothing. Run is not pressed."""

    async def open_one(step: str, *, before: str = "") -> Runner:
        if before:
            await tab.before(before)
        runner = Runner(tab, site, step)
        await runner.open()
        return runner

    return open_one


@pytest.fixture(scope="session")
async def shelf(driven: Browser) -> AsyncIterator[dict[str, Runner]]:
    """Keep the pages on which steps run: a start takes seconds, a restart does not."""
    del driven  # each browser has its own
    kept: dict[str, Runner] = {}
    yield kept
    for runner in kept.values():
        await runner.tab.close()


@pytest.fixture
async def running(
    driven: Browser, site: Site, shelf: dict[str, Runner]
) -> AsyncIterator[OpenRunner]:
    """Open the page of a step on which it runs, unchanged, in windows that are new and online."""
    async with AsyncExitStack() as stack:

        async def open_one(step: str, *, before: str = "") -> Runner:
            assert not before, "its page may have been opened already"
            if step not in shelf:
                shelf[step] = Runner(await driven.tab(), site, step)
            runner = shelf[step]
            await stack.enter_async_context(watched(runner.tab, site))
            await runner.tab.look()
            windows = len(RUNS[step])
            if await runner.can_go_on() and await runner.clients() == [*range(1, windows + 1)]:
                await runner.press("reset")
                await runner.forget()
                await runner.run_again()
            else:
                await runner.open()
                await runner.start()
            return runner

        yield open_one
