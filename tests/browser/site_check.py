"""The built site, read in a browser. `make site` runs this after the build."""

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.async_api import ViewportSize, expect

from tests.browser.conftest import PHONE, Guard, OpenWindow

SITE = Path(os.environ.get("SITE_DIR", Path(__file__).parents[2] / "site"))
DESK = ViewportSize(width=1280, height=800)
PAGES = sorted(str(path.parent.relative_to(SITE)) for path in SITE.rglob("index.html"))


class Handler(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Serve the site, and return where."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=SITE)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def site(address: str, guard: Guard) -> str:
    """Return the site's URL. A page that turns to any other host fails its test."""
    guard.hosts.add(address)
    return f"http://{address}"


def test_the_site_is_built() -> None:
    assert {".", "questions", "steps/step01_echo", "steps/step05_chat"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_fits_its_window_draws_and_asks_no_other_host(
    site: str, open_window: OpenWindow, page: str
) -> None:
    for viewport, preference, scheme in ((PHONE, "dark", "slate"), (DESK, "light", "default")):
        window = (
            await open_window(f"{site}/{page}/", viewport=viewport, color_scheme=preference)
        ).page
        await expect(window.locator("body")).to_have_attribute("data-md-color-scheme", scheme)
        # What is a diagram in the page's source is a drawing when its script is done.
        await expect(window.locator("pre.mermaid")).to_have_count(0)
        for drawing in await window.locator("div.mermaid").all():
            assert (await drawing.bounding_box() or {"height": 0})["height"] > 50
        widths = await window.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert widths[0] <= widths[1]


async def test_the_home_page_says_in_one_screen_what_for_whom_and_how(
    site: str, open_window: OpenWindow
) -> None:
    page = (await open_window(site, viewport=DESK)).page
    picture = page.get_by_role("img", name="The chat: two windows")
    assert await picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 500
    for part in (picture, page.get_by_text("For you"), page.get_by_text("make run")):
        box = await part.first.bounding_box()
        assert box
        assert box["y"] + box["height"] <= DESK["height"]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("1006", "What does 1006 mean?"),
        ("list.remove", "What is wrong with self.active_connections.remove(websocket)?"),
        ("KeyError", "Where does KeyError: 'text' come from?"),
    ],
)
async def test_the_search_finds(
    site: str, open_window: OpenWindow, words: str, answer: str
) -> None:
    page = (await open_window(site, viewport=DESK)).page
    # Key by key: the search listens for keys.
    await page.get_by_role("textbox", name="Search").press_sequentially(words)
    await expect(page.get_by_role("article").filter(has_text=answer).first).to_be_attached()
