"""Step 13's page, in front of two processes, and while Redis is away."""

from collections.abc import Callable

import pytest
from playwright.async_api import expect

from tests.browser.conftest import PHONE, Guard, OpenWindow, Window
from tests.browser.test_step09_signin_page import NEVER
from tests.browser.test_step11_history_page import online, open_as, texts
from tests.conftest import Process, StartProcess
from tests.redis_server import Redis

STEP13 = "step13_scale"


@pytest.fixture(autouse=True)
def refused(guard: Guard) -> None:
    """Expect what a browser prints when nobody is signed in, and when the log does not answer."""
    guard.refusals |= {401, 503}


async def two_processes(start_process: StartProcess, **env: str) -> list[Process]:
    """Start two processes on one log."""
    return [await start_process(STEP13, env=env) for _ in range(2)]


async def another(window: Window, host: Process) -> Window:
    """Open a second window of the same browser, at another process."""
    second = Window(await window.page.context.new_page())
    await second.page.goto(host.url)
    return second


async def test_two_people_at_two_processes_talk_and_see_each_other(
    start_process: StartProcess, open_window: OpenWindow
) -> None:
    first, second = await two_processes(start_process)
    ada = await online(open_window, first, "ada", viewport=PHONE)
    bob = await online(open_window, second, "bob")
    for window in (ada, bob):
        await expect(window.people).to_have_text(["ada", "bob"])
    await expect(ada.lines("note")).to_have_text(["bob joined"])
    await bob.text.press_sequentially("hel")
    await expect(ada.typing).to_have_text("bob is typing")
    await bob.say("hello")
    await expect(ada.typing).to_be_empty()
    await expect(ada.lines("theirs")).to_contain_text(["bob hello"])
    await expect(bob.lines("mine")).to_have_count(1)
    await ada.to.select_option("bob")
    await ada.say("between us")
    await expect(bob.lines("whisper")).to_contain_text(["ada to you alone between us"])
    assert await ada.complaints() == await ada.outside() == []
    # Her second window is at the other process, where she never signed in, and is no second Ada.
    also_ada = await another(ada, second)
    await expect(also_ada.state).to_have_text("online as ada")
    await expect(also_ada.lines("theirs")).to_contain_text(["bob hello"])
    await ada.page.close()
    await also_ada.say("still here")
    await expect(bob.lines("theirs").last).to_contain_text("still here")
    await expect(bob.lines("note")).to_have_count(0)


async def test_who_signs_out_at_one_process_is_signed_out_at_the_other(
    start_process: StartProcess, open_window: OpenWindow
) -> None:
    first, second = await two_processes(start_process)
    here = await online(open_window, first, "ada")
    there = await another(here, second)
    await expect(there.state).to_have_text("online as ada")
    await there.sign_out.click()
    await expect(there.state).to_have_text("signed out")
    await expect(here.state).to_have_text("You have signed out.")


async def test_what_is_said_while_redis_is_away_is_said_once_when_it_is_back(
    start_process: StartProcess, start_redis: Callable[[], Redis], open_window: OpenWindow
) -> None:
    server = start_redis()
    first, second = await two_processes(start_process, CHAT_LOG=server.url)
    ada = await open_window()
    await ada.page.add_init_script(NEVER)
    await open_as(ada, first, "ada")
    bob = await online(open_window, second, "bob")
    await ada.say("before")
    await expect(bob.lines("theirs")).to_have_count(1)
    server.kill()
    await ada.say("meanwhile")
    # Redis has been asked again for some seconds by then.
    away = "offline: The log does not answer. Try again later."
    await expect(ada.state).to_have_text(away, timeout=20_000)
    await ada.say("and this")
    await expect(ada.lines("waiting")).to_have_count(2)
    # Who only listens has noticed nothing.
    await expect(bob.state).to_have_text("online as bob")
    assert await ada.complaints() == []
    server.start()
    await ada.try_now.click()
    await expect(ada.state).to_have_text("online as ada")
    await expect(ada.lines("waiting")).to_have_count(0)
    await expect(bob.lines("theirs")).to_have_count(3)
    assert await texts(bob) == await texts(ada, "mine") == ["before", "meanwhile", "and this"]
