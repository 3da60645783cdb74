"""Step 3's page: what one window says, the others show."""

from playwright.async_api import expect

from tests.browser.conftest import OpenWindow
from tests.conftest import Serve


async def test_what_one_window_says_the_other_shows(serve: Serve, open_window: OpenWindow) -> None:
    server = serve("step03_broadcast")
    ada, bob = await open_window(server.url), await open_window(server.url)
    for window in (ada, bob):
        await expect(window.state).to_have_text("online")
    await ada.say("hello")
    await expect(bob.lines("received")).to_have_text(["hello"])
    await bob.say("hello yourself")
    # Not her own words: bob's are the first that she receives.
    await expect(ada.lines("received")).to_have_text(["hello yourself"])
