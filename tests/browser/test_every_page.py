"""What holds for the page of every step: for all eyes, on all sizes."""

import re

import pytest
from playwright.async_api import ViewportSize, WebSocketRoute, expect

from tests.browser.conftest import PHONE, ROOT, Guard, OpenWindow, Window
from tests.conftest import Serve, sign_in

DESK = ViewportSize(width=1280, height=800)
STEPS = sorted(path.parent.name for path in ROOT.glob("steps/step*/main.py"))


async def look(window: Window) -> list[str]:
    """Return what is wrong with the page as it is now: light and dark, on a desk and a phone."""
    wrong: list[str] = []
    for size in (DESK, PHONE):
        await window.page.set_viewport_size(size)
        wrong += [f"outside: {element}" for element in await window.outside()]
        await expect(window.send).to_be_in_viewport(ratio=1)
        for scheme in ("light", "dark"):
            await window.page.emulate_media(color_scheme=scheme)
            paper = await window.page.evaluate("getComputedStyle(document.body).backgroundColor")
            shades = [int(shade) for shade in re.findall(r"\d+", paper)]
            if (min(shades) > 200, max(shades) < 50) != (scheme == "light", scheme == "dark"):
                wrong.append(f"paper: {paper} when {scheme}")
            # axe-core takes its time, and colours are not a matter of size.
            if (size, scheme) in ((DESK, "light"), (PHONE, "dark")):
                wrong += [f"{scheme}, {size}: {found}" for found in await window.complaints()]
    return wrong


@pytest.mark.parametrize("step", STEPS)
async def test_a_page_is_for_everyone_online_and_offline(
    serve: Serve, guard: Guard, open_window: OpenWindow, step: str
) -> None:
    guard.refusals.add(401)
    server = serve(step)
    signed_in = await sign_in(server, "bob") if step >= "step09" else {}
    window = await open_window()
    # The next attempt is far away: offline stays offline while we look.
    await window.page.add_init_script("Math.random = () => 1000;")
    lines: list[WebSocketRoute] = []

    def connect(line: WebSocketRoute) -> None:
        lines.append(line.connect_to_server())
        lines.append(line)

    await window.page.route_web_socket(re.compile(""), connect)
    await window.page.goto(server.url)
    if signed_in:
        await expect(window.state).to_have_text("signed out")
        assert await look(window) == []
        await window.sign_in("ada")
    await expect(window.state).to_contain_text("online")
    async with server.connect(additional_headers=signed_in) as bob:
        await bob.say("what bob says")
        await window.say("what is typed here")
        await window.page.evaluate("socket.send('junk')")
        await expect(window.log).to_contain_text("typed here")
        await expect(window.log).to_contain_text(re.compile("junk|bad_json"))
        assert await look(window) == []
    for line in lines:
        await line.close(code=1012)
    await expect(window.state).to_contain_text("offline")
    await window.say("typed offline")
    assert await look(window) == []
