"""Step 7's page: a window that does not read is told so, and comes back by itself."""

import asyncio

import pytest
from playwright.async_api import Dialog, expect

from steps.step07_backpressure import outbox
from tests.browser.conftest import PHONE, OpenWindow
from tests.conftest import Serve
from tests.test_step07_backpressure import SMALL, TOO_SLOW, hears_until, text


async def test_a_window_that_reads_too_slowly_is_told_so_and_comes_back(
    serve: Serve, open_window: OpenWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MESSAGES", 20)
    server = serve("step07_backpressure", socket_options=SMALL, ws_per_message_deflate=False)
    bob = await open_window(f"{server.url}/?name=bob")
    eve = await open_window(viewport=PHONE)
    # Ten seconds before she tries again, so that there is time to look at her.
    await eve.page.add_init_script("Math.random = () => 20;")
    await eve.page.goto(f"{server.url}/?name=eve")
    async with server.connect("/ws?name=ada") as ada:
        await expect(eve.people).to_have_text(["ada", "bob", "eve"])
        # A page that shows a dialog does nothing else: it reads no frames, either.
        dialogs: asyncio.Queue[Dialog] = asyncio.Queue()
        eve.page.on("dialog", dialogs.put_nowait)
        await eve.page.evaluate("setTimeout(() => alert('Lunch?')), undefined")
        dialog = await dialogs.get()
        try:
            for number in range(200):
                await ada.say(text(number))
                heard = await hears_until(ada, {"type": "message", "text": text(number)})
                await expect(bob.lines("theirs")).to_have_count(number + 1)
                if {"type": "left", "name": "eve"} in heard:
                    break
            await expect(bob.people).to_have_text(["ada", "bob"])
        finally:
            await dialog.accept()
        await expect(eve.state).to_have_text(f"offline: {TOO_SLOW[1]}")
        await expect(eve.countdown).to_contain_text("retry in")
        assert await eve.complaints() == []
        assert await eve.outside() == []
        await eve.try_now.press("Enter")
        await expect(eve.state).to_have_text("online as eve")
        await expect(bob.people).to_have_text(["ada", "bob", "eve"])
        await ada.say("Lunch is over")
        await expect(eve.lines("theirs").last).to_contain_text("Lunch is over")
