"""Step 6's page: it says why it is offline, and comes back from whatever it was."""

import re
from typing import Any

import pytest
from playwright.async_api import expect

from steps.step06_faults.messages import read
from tests.browser.conftest import PHONE, OpenWindow
from tests.browser.test_step05_chat_page import MARKUP, MINUTE, WELCOMES_ADA, Sockets, stop_time
from tests.conftest import Serve, StartProcess, faulty

LONGEST = "Sorry! " * 17 + "1234"  # 123 bytes: no close frame holds more


@pytest.mark.parametrize("step", [faulty("step05_chat", AssertionError), "step06_faults"])
async def test_a_server_that_restarts_is_said_to_and_both_windows_come_back(
    start_process: StartProcess, open_window: OpenWindow, step: str
) -> None:
    server = await start_process(step)
    ada, bob = await open_window(), await open_window()
    for name, window in (("ada", ada), ("bob", bob)):
        await stop_time(window.page)
        await window.page.goto(f"{server.url}/?name={name}")
        await expect(window.state).to_have_text(f"online as {name}")
    await server.terminate()
    for window in (ada, bob):
        await expect(window.state).to_contain_text("offline")
        # Step 5 says no more than that.
        assert await window.state.inner_text() == "offline: the server is restarting"
    await ada.say("are you back?")
    await server.start()
    for window in (bob, ada):
        await window.page.clock.fast_forward(MINUTE)
        await expect(window.state).to_contain_text("online")
    await expect(bob.lines("theirs")).to_contain_text(["are you back?"])


async def test_a_fault_of_the_server_is_told_to_one_and_the_other_talks_on(
    serve: Serve, open_window: OpenWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_or_fail(text: str | None) -> Any:
        return 1 / 0 if text and "divide" in text else read(text)

    monkeypatch.setattr("steps.step06_faults.main.read", read_or_fail)
    server = serve("step06_faults")
    ada, bob = await open_window(), await open_window(f"{server.url}/?name=bob")
    await expect(bob.state).to_have_text("online as bob")
    await stop_time(ada.page)
    await ada.page.goto(f"{server.url}/?name=ada")
    await expect(ada.state).to_have_text("online as ada")
    await ada.say("divide by zero")
    await expect(ada.state).to_have_text("offline: The server made a mistake; its log says which.")
    await expect(bob.lines("note")).to_have_text(["ada joined", "ada left"])
    await bob.say("where are you?")
    await expect(bob.lines("mine")).to_contain_text(["where are you?"])
    await ada.try_now.press("Enter")
    await expect(ada.state).to_have_text("online as ada")
    await ada.say("here again")
    await expect(bob.lines("theirs")).to_contain_text(["here again"])


async def test_it_says_why_it_is_offline(serve: Serve, open_window: OpenWindow) -> None:
    window = await open_window()
    await stop_time(window.page)
    sockets = await Sockets(window.page).take()
    url = serve("step06_faults").url
    for code, reason, shown in (
        (1006, "", "the connection was lost"),
        (1009, "frame with 2000 bytes exceeds limit of 1000 bytes", "that was too big"),
        (1012, "", "the server is restarting"),
        (1013, "Too much at once. Try again later.", "Too much at once. Try again later."),
        (4429, "", "code 4429"),
        (1011, MARKUP, MARKUP),
    ):
        await window.page.goto(url)
        await (await sockets.next()).close(code=code, reason=reason)
        await expect(window.state).to_have_text(f"offline: {shown}")


async def test_the_first_reason_stays_until_it_is_online_again(
    serve: Serve, open_window: OpenWindow
) -> None:
    window = await open_window()
    await stop_time(window.page)
    sockets = await Sockets(window.page).take()
    await window.page.goto(serve("step06_faults").url)
    await (await sockets.next()).close(code=1012)
    for _ in range(2):  # nobody answers yet: to a browser that is 1006
        await expect(window.state).to_have_text("offline: the server is restarting")
        await window.page.clock.fast_forward(MINUTE)
        await (await sockets.next()).close(code=1006)
    await expect(window.state).to_have_text("offline: the server is restarting")
    await window.page.clock.fast_forward(MINUTE)
    socket = await sockets.next()
    socket.send(WELCOMES_ADA)
    await expect(window.state).to_have_text("online as ada")
    await socket.close(code=1006)
    await expect(window.state).to_have_text("offline: the connection was lost")


async def test_a_name_that_is_taken_is_said_as_before(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve("step06_faults")
    ada = await open_window(f"{server.url}/?name=ada")
    await expect(ada.state).to_have_text("online as ada")
    second = await open_window(f"{server.url}/?name=ada")
    await expect(second.state).to_have_text("Somebody here has that name. Try another.")
    await expect(second.name).to_be_focused()
    await second.page.keyboard.type("bob")
    await second.page.keyboard.press("Enter")
    await expect(ada.people).to_have_text(["ada", "bob"])


@pytest.mark.parametrize("options", [{}, {"viewport": PHONE}, {"color_scheme": "dark"}])
async def test_the_longest_reason_fits_and_axe_has_no_complaint(
    serve: Serve, open_window: OpenWindow, options: dict[str, Any]
) -> None:
    window = await open_window(**options)
    await window.page.add_init_script("Math.random = () => 1000;")  # it does not try again
    sockets = await Sockets(window.page).take()
    await window.page.goto(serve("step06_faults").url)
    await (await sockets.next()).close(code=1011, reason=LONGEST)
    await expect(window.state).to_have_text(re.compile(f"^offline: {LONGEST}$"))
    await expect(window.try_now).to_be_visible()
    assert await window.outside() == []
    assert await window.complaints() == []
