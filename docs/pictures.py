"""Takes the pictures of the site and of the README: `uv run python docs/pictures.py`.

People in windows of the newest step talk to each other and are photographed: `docs/assets/chat.png`
and `chat-phone.png`; for step 5's page, in its own: `step05_chat.png`. `site.png` is the home page
and `runner.png` step 1 as it runs in its page, if the site has been built
(`uv run --group docs mkdocs build`). All of it happens on this machine; the browser is the one that
the tests use.
"""

import asyncio
import os
import re
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from fastapi import FastAPI
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

sys.path.insert(0, str(Path(__file__).parents[1]))

from steps.step05_chat.main import app as step05
from tests.browser.browsers import launch_options
from tests.conftest import Server

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "docs" / "assets"
NEWEST = max(path.parent.name for path in ROOT.glob("steps/step*/main.py"))
LARGEST = 150_000
"""Bytes that a picture may have: readers wait for each."""
TALK = [
    ("ada", "Lunch at noon? I hear it is dumpling day."),
    ("bob", "It is <b>always</b> dumpling day."),
    ("ada", "Not in bold, it seems."),
    ("eve", "Still on the train. Keep me a seat?"),
    ("bob", "12:30 then. I will get a table for three."),
]
DESK = """
<!doctype html>
<style>
  body { display: flex; gap: 20px; margin: 0; padding: 20px; width: max-content;
         background: #e4ebe9; font: 13px system-ui, sans-serif; color: #4c5a57; }
  figure { margin: 0; border: 1px solid #b9c7c3; border-radius: 10px; overflow: hidden; }
  figcaption { padding: 9px 14px; background: #d3dedb; }
  img { display: block; width: 400px; height: 520px; }
</style>
"""


async def main() -> None:
    """Take all pictures."""
    async with async_playwright() as playwright:
        options = launch_options(playwright.chromium.executable_path)
        browser = await playwright.chromium.launch(**options)
        with TemporaryDirectory() as folder:
            # It asks for it when it is imported.
            os.environ["CHAT_LOG"] = f"sqlite:///{folder}/chat.db"
            newest = import_module(f"steps.{NEWEST}.main").app
            await photograph_chat(browser, newest, "chat.png", "chat-phone.png")
        await photograph_chat(browser, step05, "step05_chat.png")
        if (ROOT / "site" / "index.html").exists():
            with served(ROOT / "site") as url:
                await photograph_site(browser, url)
                await photograph_runner(browser, url)
        else:
            sys.stdout.write("There is no site yet, for site.png and runner.png: build it\n")
        await browser.close()


async def photograph_chat(
    browser: Browser, app: FastAPI, side_by_side: str, on_a_phone: str = ""
) -> None:
    """Let Ada and Bob talk on a desk, and Eve on a phone in the dark."""
    # Wherever and whenever this runs, in the picture it is shortly before noon.
    before_noon = f"Etc/GMT{datetime.now(UTC).hour - 11:+d}"
    server = Server(app)
    window = partial(browser.new_page, locale="en-GB", timezone_id=before_noon)
    sizes = {"ada": (400, 520), "bob": (400, 520), "eve": (360, 640)}
    people: dict[str, Page] = {}
    try:
        for name, (width, height) in sizes.items():
            people[name] = page = await window(
                viewport={"width": width, "height": height},
                device_scale_factor=2 if name == "eve" else 1.5,
                color_scheme="dark" if name == "eve" else "light",
            )
            await page.goto(f"{server.url}/?name={name}")
            status = page.get_by_role("status")
            await expect(status).to_have_text(re.compile("signed out|online"))
            if await status.inner_text() == "signed out":
                await page.get_by_role("button", name="Sign in").click()
            await expect(status).to_have_text(f"online as {name}")
        for name, text in TALK:
            field = people[name].get_by_label("Message", exact=True)
            await field.fill(text)
            await field.press("Enter")
            for page in people.values():
                await expect(page.get_by_role("log")).to_contain_text(text)
            await field.blur()
        desk = await browser.new_page(device_scale_factor=1.5)
        figures = DESK
        for name in ("ada", "bob"):
            shot = b64encode(await people[name].screenshot()).decode()
            figures += f"<figure><figcaption>{name}, at localhost:8000</figcaption>"
            figures += f'<img src="data:image/png;base64,{shot}"></figure>'
        await desk.set_content(figures)
        await keep(side_by_side, desk.locator("body").screenshot)
        if on_a_phone:
            await keep(on_a_phone, people["eve"].screenshot)
        for page in desk, *people.values():
            await page.close()
    finally:
        server.stop()


async def photograph_site(browser: Browser, url: str) -> None:
    """Take a picture of the site's home page."""
    viewport = ViewportSize(width=1200, height=750)
    page = await browser.new_page(color_scheme="light", viewport=viewport)
    await page.goto(url, wait_until="networkidle")
    await keep("site.png", page.screenshot)
    await page.close()


async def photograph_runner(browser: Browser, url: str) -> None:
    """Run step 1 in its page: one client is answered, and the other sends a binary frame."""
    # All of it in sight: nothing of the page lies over what is photographed.
    viewport = ViewportSize(width=1280, height=1800)
    page = await browser.new_page(color_scheme="light", viewport=viewport)
    await page.goto(f"{url}steps/step01_echo/")
    runner = page.locator("fastapi-runner").first
    await runner.get_by_role("button", name="Run").click()
    for number in (1, 2):
        status = page.frame_locator(f"[data-client='{number}'] iframe").locator("#state")
        await expect(status).to_have_text("online", timeout=30_000)
    ada = page.frame_locator("[data-client='1'] iframe")
    await ada.locator("#text").fill("hello")
    await ada.get_by_role("button", name="Send").click()
    await expect(ada.locator(".received")).to_have_text("hello")
    await page.locator("[data-client='2'] .binary").click()
    await page.locator(".output .place").click()
    await ada.locator("#text").blur()
    await page.locator("textarea").blur()
    await keep("runner.png", runner.screenshot)
    await page.close()


async def keep(name: str, take: Callable[..., Any]) -> None:
    """Take a picture and keep it, if it is small enough."""
    data: bytes = await take(animations="disabled")
    if len(data) > LARGEST:
        raise SystemExit(f"{name} has {len(data)} bytes: more than {LARGEST}")
    (ASSETS / name).write_bytes(data)
    sys.stdout.write(f"{name}: {len(data)} bytes\n")


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and does not talk about it."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    asyncio.run(main())
