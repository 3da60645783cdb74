"""Step 11's page: what was read and what was missed is there again, once and in order."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.conftest import PHONE, Guard, OpenWindow, Window
from tests.browser.test_step09_signin_page import NEVER, Line
from tests.browser.test_step10_rooms_page import go
from tests.conftest import Host, Serve, StartProcess, sign_in
from tests.test_step09_signin import token_of
from tests.test_step11_history import SECRET, file_of, fill, through

STEP11 = "step11_history"


@pytest.fixture(autouse=True)
def refused(guard: Guard) -> None:
    """Expect what a browser prints when nobody is signed in, and when a test cuts a line."""
    guard.refusals |= {401, 503}


async def open_as(window: Window, server: Host, name: str) -> Window:
    """Go to the page as somebody who has signed in before."""
    token = token_of(await sign_in(server, name))
    await window.page.context.add_cookies(
        [{"name": "chat_session", "value": token, "url": server.url}]
    )
    await window.page.goto(server.url)
    await expect(window.state).to_have_text(f"online as {name}")
    return window


async def online(open_window: OpenWindow, server: Host, name: str, **options: Any) -> Window:
    """Open a window of somebody who has signed in before."""
    return await open_as(await open_window(**options), server, name)


async def say(window: Window, *texts: str) -> None:
    """Say something, and wait until it has come back from the server."""
    for text in texts:
        await window.say(text)
        await expect(window.lines("mine").last).to_contain_text(text)


async def texts(window: Window, kind: str = "theirs") -> list[str]:
    """Return what was said, as the window shows it."""
    return await window.log.locator(f".{kind} .text").all_text_contents()


async def memory(window: Window) -> Any:
    """Return what a window keeps for its next load."""
    return json.loads(await window.page.evaluate("sessionStorage.getItem('chat')"))


async def test_a_reload_shows_what_was_read_and_what_was_missed(
    serve: Serve, log: str, open_window: OpenWindow
) -> None:
    fill(log, through(1, 60))
    server = serve(STEP11)
    ada = await online(open_window, server, "ada")
    bob = await online(open_window, server, "bob")
    await expect(ada.lines("theirs")).to_have_count(50)
    await say(bob, "one", "two")
    await expect(ada.lines("theirs")).to_have_count(52)
    await ada.page.goto("about:blank")
    await say(bob, "while you were away")
    await ada.page.goto(server.url)
    await expect(ada.lines("theirs").last).to_contain_text("while you were away")
    # Fifty that she had read, and the one that she had not.
    shown = [f"number {number}" for number in through(13, 60)]
    assert await texts(ada) == [*shown, "one", "two", "while you were away"]
    await ada.page.reload()
    await expect(ada.lines("theirs").last).to_contain_text("while you were away")
    assert await texts(ada) == [*shown[1:], "one", "two", "while you were away"]


async def test_what_is_said_while_one_is_offline_comes_once_and_in_order(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP11)
    bob = await online(open_window, server, "bob")
    ada = await open_window()
    line = await Line(ada.page).take()
    await open_as(ada, server, "ada")
    await say(bob, "before")
    await expect(ada.lines("theirs")).to_have_count(1)
    for number in range(1, 3):
        await line.cut()
        await expect(ada.state).to_contain_text("offline")
        await say(bob, f"missed {number}", f"missed {number}, too")
        await line.mend()
        await ada.try_now.click()
        await expect(ada.lines("theirs").last).to_contain_text(f"missed {number}, too")
    await say(bob, "after")
    await expect(ada.lines("theirs").last).to_contain_text("after")
    missed = ["missed 1", "missed 1, too", "missed 2", "missed 2, too"]
    assert await texts(ada) == ["before", *missed, "after"]


async def test_a_kill_of_the_server_loses_nothing_that_was_seen(
    start_process: StartProcess, open_window: OpenWindow
) -> None:
    server = await start_process(STEP11, env=SECRET)
    windows = []
    for name in ("ada", "bob"):
        window = await open_window()
        await window.page.add_init_script(NEVER)
        windows.append(await open_as(window, server, name))
    ada, bob = windows
    await say(ada, "before")
    await expect(bob.lines("theirs")).to_have_count(1)
    server.kill()
    await expect(ada.state).to_contain_text("offline")
    await ada.say("said to nobody")
    await server.start()
    for window in windows:
        await window.try_now.click()
        await expect(window.state).to_contain_text("online as")
    await say(bob, "are you there?")
    await expect(ada.lines("theirs")).to_have_count(1)
    assert await texts(ada, "mine") == ["before", "said to nobody"]
    assert await texts(bob) == ["before", "said to nobody"]


async def test_signing_out_leaves_nothing_for_the_next(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP11)
    ada = await online(open_window, server, "ada")
    await go(ada, "secret garden")
    await say(ada, "what was said")
    assert await memory(ada) == {"owner": "ada", "last": {"secret garden": 1}}
    await ada.sign_out.click()
    await expect(ada.state).to_have_text("signed out")
    await expect(ada.log).to_have_text("")
    assert await memory(ada) == {"owner": None, "last": {}}
    # What is in the file is in the file: it is there for who enters, as for everybody.
    await ada.sign_in("eve")
    await expect(ada.lines("theirs")).to_have_count(1)


async def test_another_name_begins_anew(serve: Serve, log: str, open_window: OpenWindow) -> None:
    fill(log, through(1, 60))
    server = serve(STEP11)
    window = await online(open_window, server, "ada")
    await expect(window.lines("theirs").last).to_contain_text("number 60")
    # Her sign-in has gone without a word, and somebody else is here now.
    await open_as(window, server, "bob")
    await expect(window.lines("theirs").last).to_contain_text("number 60")
    assert await texts(window) == [f"number {number}" for number in through(11, 60)]


async def test_each_room_has_a_history_of_its_own(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(STEP11)
    ada = await online(open_window, server, "ada")
    bob = await online(open_window, server, "bob")
    await say(bob, "in the lobby")
    await expect(ada.lines("theirs")).to_have_count(1)
    await go(ada, "garden")
    await say(ada, "in the garden")
    await expect(ada.log).not_to_contain_text("in the lobby")
    await say(bob, "while you were in the garden")
    await go(ada, "lobby")
    await expect(ada.lines("theirs")).to_have_count(2)
    assert await texts(ada) == ["in the lobby", "while you were in the garden"]
    await go(ada, "garden")
    await expect(ada.lines("mine")).to_have_count(1)


@pytest.mark.parametrize("room", ["constructor", "__proto__"])
async def test_a_room_may_be_called_as_what_every_object_has(
    serve: Serve, open_window: OpenWindow, room: str
) -> None:
    ada = await online(open_window, serve(STEP11), "ada")
    await go(ada, room)
    await say(ada, "hello")
    await ada.page.reload()
    await expect(ada.lines("mine")).to_have_count(1)
    assert (await memory(ada))["last"] == {room: 1}


async def test_a_new_window_shows_the_last_fifty(
    serve: Serve, log: str, open_window: OpenWindow
) -> None:
    fill(log, through(1, 60))
    server = serve(STEP11)
    ada = await online(open_window, server, "ada")
    await expect(ada.lines("theirs").last).to_contain_text("number 60")
    assert await texts(ada) == [f"number {number}" for number in through(11, 60)]


async def test_an_old_message_says_its_day_and_fits_on_a_phone(
    serve: Serve, log: str, open_window: OpenWindow
) -> None:
    fill(log, through(1, 60), size=30)
    with closing(sqlite3.connect(file_of(log), isolation_level=None)) as database:
        long_ago = (datetime.now(UTC) - timedelta(days=40)).isoformat()
        database.execute("UPDATE messages SET at = ? WHERE id <= 59", (long_ago,))
    window = await online(open_window, serve(STEP11), "ada", viewport=PHONE, locale="en-GB")
    await expect(window.lines("theirs")).to_have_count(50)
    *old, new = await window.log.locator("time").all_text_contents()
    day = (datetime.now(UTC) - timedelta(days=40)).strftime("%d/%m/%Y")
    assert all(day in shown for shown in old)
    assert len(new) == len("12:34")
    # It stands at the end, and one can go back.
    assert (
        await window.log.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight") < 5
    )
    assert await window.outside() == []
    assert await window.complaints() == []
