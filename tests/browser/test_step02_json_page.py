"""Step 2's page: errors are replies that one can read."""

from playwright.async_api import expect

from tests.browser.conftest import OpenWindow
from tests.conftest import Serve


async def test_what_is_typed_comes_back(serve: Serve, open_window: OpenWindow) -> None:
    window = await open_window(serve("step02_json").url)
    await expect(window.state).to_have_text("online")
    await window.say("hello")
    await expect(window.lines("received")).to_have_text(["hello"])


async def test_an_error_is_shown_and_the_connection_lives_on(
    serve: Serve, open_window: OpenWindow
) -> None:
    window = await open_window(serve("step02_json").url)
    await expect(window.state).to_have_text("online")
    await window.page.evaluate("socket.send('junk')")
    await expect(window.lines("note")).to_contain_text(["bad_json: "])
    await window.say("still here?")
    await expect(window.lines("received")).to_have_text(["still here?"])
