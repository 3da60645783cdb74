"""Step 4's page: it shows what comes from HTTP too."""

import httpx2
from playwright.async_api import expect

from tests.browser.conftest import OpenWindow
from tests.conftest import Serve


async def test_an_announcement_is_shown(serve: Serve, open_window: OpenWindow) -> None:
    server = serve("step04_manager")
    window = await open_window(server.url)
    await expect(window.state).to_have_text("online")
    async with httpx2.AsyncClient(base_url=server.url) as http:
        await http.post("/announce", json={"text": "lunch"})
    await expect(window.lines("received")).to_have_text(["lunch"])
