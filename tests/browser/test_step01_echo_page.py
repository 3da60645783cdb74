"""Step 1's page: an echo."""

from playwright.async_api import expect

from tests.browser.conftest import OpenWindow
from tests.conftest import Serve


async def test_what_is_typed_comes_back(serve: Serve, open_window: OpenWindow) -> None:
    window = await open_window(serve("step01_echo").url)
    await expect(window.state).to_have_text("online")
    await window.say("hello")
    await expect(window.lines("sent")).to_have_text(["hello"])
    await expect(window.lines("received")).to_have_text(["hello"])
    await expect(window.text).to_have_value("")


async def test_markup_that_comes_back_stays_text(serve: Serve, open_window: OpenWindow) -> None:
    window = await open_window(serve("step01_echo").url)
    await expect(window.state).to_have_text("online")
    await window.say("<img src=x onerror=alert()>")
    await expect(window.lines("received")).to_have_text(["<img src=x onerror=alert()>"])
    await expect(window.log.locator("img")).to_have_count(0)
