"""Step 12's page: what was typed is sending until it is sent, and it gets there once."""

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from typing import Self

import pytest
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import ViewportSize, WebSocketRoute, expect

from steps.step12_delivery import security
from steps.step12_delivery.settings import settings
from tests import delivery_server as changed
from tests.browser.conftest import PHONE, Guard, OpenWindow, Window
from tests.browser.test_step05_chat_page import stop_time
from tests.browser.test_step09_signin_page import NEVER, Line
from tests.browser.test_step10_rooms_page import go, online, open_as
from tests.conftest import Client, Host, Serve, Server, StartProcess, faulty, sign_in
from tests.delivery_server import Killable, proof
from tests.test_step09_signin import token_of
from tests.test_step12_delivery import entered, kept, texts_until

STEP11, STEP12 = "step11_history", "step12_delivery"
DESK = ViewportSize(width=1280, height=800)
WAITING, SENDING, SENT, NOT_SENT = "waiting for the connection", "sending...", "✓ sent", "not sent"


@pytest.fixture(autouse=True)
def refused(guard: Guard) -> None:
    """Expect what a browser prints when nobody is signed in, and when a test cuts a line."""
    guard.refusals |= {401, 503}


class LossyLine(Line):
    """A line on which frames get lost, and which a test can cut and mend."""

    def __init__(self, window: Window) -> None:
        super().__init__(window.page)
        self.window = window
        self.loses: set[str] = set()
        """The types of frames that do not get through."""
        self.lost = asyncio.Event()
        """One has not."""

    async def take(self) -> Self:
        """Take all that the page opens from now on. It tries again when it is told to."""
        await self.page.add_init_script(NEVER)

        def connect(page: WebSocketRoute) -> None:
            server = page.connect_to_server()
            self._newest = [server, page]
            page.on_message(lambda text: self._carry(text, server))
            server.on_message(lambda text: self._carry(text, page))

        await self.page.route_web_socket(re.compile(""), connect)
        return self

    def _carry(self, text: str | bytes, to: WebSocketRoute) -> None:
        if json.loads(text)["type"] in self.loses:
            self.lost.set()
        else:
            to.send(text)

    async def cut(self) -> None:
        """Cut it, and wait until the page knows."""
        await super().cut()
        await expect(self.window.state).to_contain_text("offline")

    async def mend(self) -> None:
        """Lose nothing from now on, and have the page try again."""
        self.loses.clear()
        await super().mend()
        await self.window.try_now.click()
        await expect(self.window.state).to_contain_text("online as")


async def on_a_line(open_window: OpenWindow, server: Server, name: str) -> tuple[Window, LossyLine]:
    """Open a window of somebody's, on a line that the test has in its hand."""
    window = await open_window()
    line = await LossyLine(window).take()
    return await open_as(window, server, name), line


async def cookie(window: Window, server: Host, token: str) -> None:
    """Give a browser a sign-in."""
    await window.page.context.add_cookies(
        [{"name": "chat_session", "value": token, "url": server.url}]
    )


async def shows(window: Window, *lines: tuple[str, str]) -> None:
    """Wait until one's own lines are these: their texts, and what stands behind each."""
    own = window.log.locator(".mine, .waiting, .refused")
    await expect(own.locator(".text")).to_have_text([text for text, _ in lines])
    behind = "(all) => all.map((one) => getComputedStyle(one, '::after').content)"
    marks = [content.strip('" ') for content in await own.evaluate_all(behind)]
    assert marks == [mark or "none" for _, mark in lines]


async def answered(window: Window) -> None:
    """Wait until the server has answered to what the page has sent."""
    while await window.page.evaluate("unanswered !== null"):
        pass


async def hears_alone(client: Client, *texts: str) -> None:
    """Wait until somebody has heard the last of these texts: they must be all since the marker."""
    assert await texts_until(client, texts[-1]) == [*texts[:-1]]
    await client.say("marker")
    assert await texts_until(client, "marker") == []


# Sent


@pytest.mark.parametrize("step", [faulty(STEP11, AssertionError), STEP12])
async def test_what_was_lost_on_its_way_is_said_after_all(
    serve: Serve, open_window: OpenWindow, step: str
) -> None:
    server = serve(step)
    async with entered(server, await sign_in(server, "bob")) as bob:
        ada, line = await on_a_line(open_window, server, "ada")
        line.loses = {"say"}
        await ada.say("hello")
        await line.cut()
        await line.mend()
        await ada.say("marker")
        await hears_alone(bob, "hello", "marker")


async def test_a_message_is_sending_until_it_is_sent(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(STEP12)
    bob = await online(open_window, server, "bob")
    ada, line = await on_a_line(open_window, server, "ada")
    line.loses = {"say"}
    await ada.say("hello")
    await shows(ada, ("hello", SENDING))
    await line.cut()
    await shows(ada, ("hello", WAITING))
    await line.mend()
    await expect(ada.lines("mine")).to_have_count(1)
    await shows(ada, ("hello", SENT))
    await expect(bob.lines("theirs")).to_contain_text(["ada hello"])
    # What somebody else said has nothing behind it.
    await shows(bob)


async def test_an_answer_that_got_lost_is_asked_for_again(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP12)
    async with entered(server, await sign_in(server, "bob")) as bob:
        ada, line = await on_a_line(open_window, server, "ada")
        line.loses = {"ack"}
        await ada.say("hello")
        await expect(ada.lines("mine")).to_have_count(1)
        await line.cut()
        await line.mend()
        await expect(ada.lines("waiting")).to_have_count(0)
        await shows(ada, ("hello", SENT))
        await hears_alone(bob, "hello")


@pytest.mark.parametrize("then", ["the line is cut", "the page is reloaded"])
async def test_who_has_the_answer_and_not_the_message_hears_it_later(
    serve: Serve, open_window: OpenWindow, then: str
) -> None:
    server = serve(STEP12)
    async with entered(server, await sign_in(server, "bob")) as bob:
        ada, line = await on_a_line(open_window, server, "ada")
        await bob.say("one")
        await expect(ada.lines("theirs")).to_have_count(1)
        line.loses = {"message"}
        await bob.say("two")
        await ada.say("hello")
        await answered(ada)
        if then == "the line is cut":
            await line.cut()
            await line.mend()
        else:
            line.loses.clear()
            await ada.page.reload()
        await expect(ada.log.locator(".text")).to_have_text(["one", "two", "hello"])
        await expect(ada.lines("waiting")).to_have_count(0)
        await hears_alone(bob, "one", "two", "hello")


async def test_a_line_that_is_dead_and_does_not_say_so_is_given_up(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP12)
    async with entered(server, await sign_in(server, "bob")) as bob:
        window = await open_window()
        await stop_time(window.page)
        line = await LossyLine(window).take()
        ada = await open_as(window, server, "ada")
        line.loses = {"say"}
        await ada.say("hello")
        await ada.page.clock.fast_forward(9_000)
        await expect(ada.state).to_have_text("online as ada")
        await ada.page.clock.fast_forward(2_000)
        await expect(ada.state).to_have_text("offline: the server did not answer")
        await line.mend()
        await hears_alone(bob, "hello")
        # And who was answered is not given up.
        await ada.page.clock.fast_forward(60_000)
        await ada.say("still here")
        await expect(ada.lines("mine").locator(".text")).to_have_text(["hello", "still here"])


async def test_a_whisper_is_answered_before_the_next_message_is_sent_and_is_not_sent_again(
    serve: Serve, open_window: OpenWindow, log: str
) -> None:
    server = serve(STEP12)
    async with entered(server, await sign_in(server, "bob")) as bob:
        window = await open_window()
        await stop_time(window.page)
        line = await LossyLine(window).take()
        ada = await open_as(window, server, "ada")
        await ada.to.select_option("bob")
        await ada.say("psst")
        await expect(ada.lines("mine")).to_have_count(1)
        line.loses = {"whisper"}
        await ada.page.clock.fast_forward(100)
        await ada.say("lost")
        await ada.to.select_option("")
        await ada.say("hello")
        # An error would be taken for the answer to what was sent last.
        await ada.page.clock.fast_forward(9_000)
        await shows(ada, ("psst", ""), ("hello", SENDING))
        await ada.page.clock.fast_forward(2_000)
        await expect(ada.state).to_have_text("offline: the server did not answer")
        await line.mend()
        await expect(ada.lines("mine")).to_have_count(2)
        whispers = []
        while (frame := await bob.receive()).get("text") != "hello":
            whispers += [frame["text"]] if frame["type"] == "whisper" else []
        assert whispers == ["psst"]
    assert kept(log) == [(1, "ada", "hello")]


async def test_who_is_not_there_to_be_whispered_to_keeps_nothing_back(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP12)
    ada, line = await on_a_line(open_window, server, "ada")
    async with entered(server, await sign_in(server, "bob")):
        await ada.to.select_option("bob")
    await expect(ada.lines("note").last).to_have_text("bob left")
    await line.cut()
    await ada.say("psst")
    await ada.to.select_option("")
    await ada.say("hello")
    await line.mend()
    await expect(ada.lines("mine")).to_have_count(1)
    await expect(ada.lines("note").last).to_contain_text("not_here")
    await shows(ada, ("hello", SENT))


# Typed offline


async def test_what_was_typed_offline_survives_a_reload_and_is_said_once_in_its_order(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP12)
    async with entered(server, await sign_in(server, "bob")) as bob:
        ada, line = await on_a_line(open_window, server, "ada")
        await line.cut()
        typed = ["one", "two", "three"]
        for text in typed[:2]:
            await ada.say(text)
        await ada.page.reload()
        await expect(ada.state).to_contain_text("offline")
        await shows(ada, *((text, WAITING) for text in typed[:2]))
        await ada.say(typed[2])
        await ada.page.reload()
        await expect(ada.state).to_contain_text("offline")
        await line.mend()
        await expect(ada.lines("waiting")).to_have_count(0)
        await shows(ada, *((text, SENT) for text in typed))
        await hears_alone(bob, *typed)
        # Said is said: after another reload it does not wait again.
        await ada.page.reload()
        await expect(ada.lines("mine").locator(".text")).to_have_text(typed)
        await bob.say("another marker")
        assert await texts_until(bob, "another marker") == []


async def test_what_waits_survives_a_reload_for_which_there_is_no_server(
    start_process: StartProcess, open_window: OpenWindow, log: str
) -> None:
    server = await start_process(STEP12)
    ada = await open_window()
    await ada.page.add_init_script(NEVER)
    await ada.page.goto(server.url)
    await ada.sign_in("ada")
    await expect(ada.state).to_have_text("online as ada")
    server.kill()
    await expect(ada.state).to_contain_text("offline")
    await ada.say("hello")
    with pytest.raises(PlaywrightError, match="ERR_CONNECTION_REFUSED"):
        await ada.page.reload()
    await server.start()
    # It has made up another secret: her old sign-in is good no more.
    await ada.page.goto(server.url)
    await expect(ada.state).to_have_text("signed out")
    await shows(ada, ("hello", WAITING))
    await ada.sign_in("ada")
    await expect(ada.lines("mine")).to_have_count(1)
    await expect(ada.lines("waiting")).to_have_count(0)
    assert kept(log) == [(1, "ada", "hello")]


async def test_a_window_that_is_opened_with_the_memory_of_another_says_nothing_again(
    serve: Serve, open_window: OpenWindow, log: str
) -> None:
    server = serve(STEP12)
    ada, line = await on_a_line(open_window, server, "ada")
    await line.cut()
    await ada.say("hello")
    async with ada.page.expect_popup() as opening:
        await ada.page.evaluate("window.open(location.href), undefined")
    popup = Window(await opening.value)
    # The new window is online, has what waits in the first, and says it.
    await expect(popup.lines("mine")).to_have_count(1)
    await expect(popup.lines("waiting")).to_have_count(0)
    await line.mend()
    await expect(ada.lines("waiting")).to_have_count(0)
    for window in (ada, popup):
        await shows(window, ("hello", SENT))
    # Each makes up keys of its own from then on.
    for window, text in ((ada, "from the first"), (popup, "from the second")):
        await window.say(text)
        await expect(ada.lines("mine")).to_contain_text([text])
    texts = [text for _, _, text in kept(log)]
    assert texts == ["hello", "from the first", "from the second"]


async def test_what_waits_for_another_room_or_for_one_person_survives_a_reload_too(
    serve: Serve, open_window: OpenWindow, log: str
) -> None:
    server = serve(STEP12)
    async with entered(server, await sign_in(server, "bob"), "/ws/garden") as bob:
        ada, line = await on_a_line(open_window, server, "ada")
        await go(ada, "garden")
        await ada.to.select_option("bob")
        await line.cut()
        await ada.say("psst")
        await ada.to.select_option("")
        await ada.say("for the garden")
        await ada.room.fill("lobby")
        await ada.room.press("Enter")
        await ada.page.reload()
        await expect(ada.state).to_contain_text("offline")
        await shows(ada)
        await line.mend()
        await ada.say("for the lobby")
        await expect(ada.lines("mine")).to_have_count(1)
        await go(ada, "garden")
        await expect(ada.lines("waiting")).to_have_count(0)
        await shows(ada, ("psst", ""), ("for the garden", SENT))
        while (frame := await bob.receive())["type"] != "whisper":
            assert frame["type"] in ("joined", "left")
        assert frame["text"] == "psst"
        assert await texts_until(bob, "for the garden") == []
    assert kept(log) == [(1, "ada", "for the lobby")]


async def test_a_page_that_remembers_what_the_step_before_kept_starts_all_the_same(
    serve: Serve, open_window: OpenWindow
) -> None:
    ada = await online(open_window, serve(STEP12), "ada")
    await ada.page.evaluate("""sessionStorage.setItem("chat", '{"owner": "ada", "last": {}}')""")
    await ada.page.reload()
    await ada.say("hello")
    await expect(ada.lines("mine")).to_have_count(1)
    await shows(ada, ("hello", SENT))


@pytest.mark.parametrize(
    "dies", [changed.dies_before_it_is_kept, changed.dies_before_it_is_acknowledged]
)
async def test_a_server_that_is_killed_loses_and_doubles_nothing(
    guard: Guard, open_window: OpenWindow, log: str, dies: changed.Append
) -> None:
    with Killable(log, dies) as server:
        guard.hosts.add(server.address)
        ada, bob = await open_window(), await open_window()
        for name, window in (("ada", ada), ("bob", bob)):
            await window.page.add_init_script(NEVER)
            await cookie(window, server, proof(name)["authorization"].split()[1])
            await window.page.goto(server.url)
            await expect(window.state).to_have_text(f"online as {name}")
        await ada.say("one")
        server.ended()
        await expect(ada.state).to_contain_text("offline")
        await ada.say("two")
        server.change = None
        server.start()
        for window in (bob, ada):
            await window.try_now.click()
        await expect(ada.lines("waiting")).to_have_count(0)
        await shows(ada, ("one", SENT), ("two", SENT))
        await expect(bob.lines("theirs").locator(".text")).to_have_text(["one", "two"])
        for window in (ada, bob):
            await window.page.close()
    assert [text for _, _, text in kept(log)] == ["one", "two"]


async def test_a_server_that_cannot_keep_it_is_asked_less_and_less_often(
    serve: Serve, open_window: OpenWindow, log: str
) -> None:
    server = serve(STEP12)
    window = await open_window()
    await window.page.add_init_script(NEVER)
    ada = await open_as(window, server, "ada")
    with closing(sqlite3.connect(log.removeprefix("sqlite:///"))) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        await ada.say("hello")
        for ends in (1, 2, 3):
            # It is let in each time, and then ended by what it says.
            await expect(ada.state).to_have_text(re.compile("offline: The server made a mistake"))
            assert await ada.page.evaluate("attempt") == ends
            await ada.try_now.click()
        await expect(ada.state).to_contain_text("offline")
        database.execute("DROP TRIGGER full")
    await ada.try_now.click()
    await expect(ada.lines("mine")).to_have_count(1)
    await answered(ada)
    assert await ada.page.evaluate("attempt") == 0
    assert kept(log) == [(1, "ada", "hello")]


async def test_what_was_typed_before_a_sign_in_is_that_persons_also_after_a_reload(
    serve: Serve, open_window: OpenWindow, log: str
) -> None:
    server = serve(STEP12)
    window = await open_window()
    line = await LossyLine(window).take()
    await window.page.goto(server.url)
    await expect(window.state).to_have_text("signed out")
    await window.say("Ada's secret")
    line.loses = {"welcome"}
    await window.sign_in("ada")
    await line.lost.wait()
    # She has not been online yet. Meanwhile somebody else signs in with this browser.
    line.loses.clear()
    await cookie(window, server, token_of(await sign_in(server, "bob")))
    await window.page.reload()
    await expect(window.state).to_have_text("online as bob")
    await window.say("marker")
    await expect(window.lines("mine")).to_have_count(1)
    assert kept(log) == [(1, "bob", "marker")]


async def test_an_empty_buffer_says_nothing_about_what_was_in_it(
    guard: Guard, open_window: OpenWindow, log: str
) -> None:
    with Killable(log) as server:
        guard.hosts.add(server.address)
        ada = await open_window()
        await ada.page.add_init_script(NEVER)
        await cookie(ada, server, proof("ada")["authorization"].split()[1])
        await ada.page.goto(server.url)
        await expect(ada.state).to_have_text("online as ada")
        # The server stands still, and the system takes for it what is sent to it.
        server.stop()
        await ada.say("hello")
        while await ada.page.evaluate("socket.bufferedAmount"):
            pass
        server.kill()
        await expect(ada.state).to_contain_text("offline")
        await ada.page.close()
    assert kept(log) == []


# Refused


async def test_what_was_too_fast_is_sent_again_and_keeps_its_place(
    serve: Serve, open_window: OpenWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]
    monkeypatch.setattr(settings, "rate", 1)
    monkeypatch.setattr(security, "monotonic", lambda: seconds[0])
    server = serve(STEP12)
    async with entered(server, await sign_in(server, "bob")) as bob:
        window = await open_window()
        await stop_time(window.page)
        ada = await open_as(window, server, "ada")
        # Faster than anybody types, and without signs of typing, which would count as well.
        typed = ["one", "two", "three", "four"]
        await ada.text.evaluate(
            """(field, typed) => typed.forEach((text) => {
              field.value = text;
              field.form.requestSubmit();
            })""",
            typed,
        )
        # Two at once are not too many. The third is.
        for _ in range(2):
            await answered(ada)
            await ada.page.clock.fast_forward(100)
        await expect(ada.lines("note")).to_have_text(["too_fast: At most 1 a second."])
        await shows(ada, *zip(typed, (SENT, SENT, SENDING, SENDING), strict=True))
        seconds[0] += 10
        await ada.page.clock.fast_forward(1000)
        await answered(ada)
        await ada.page.clock.fast_forward(100)
        await expect(ada.lines("mine")).to_have_count(4)
        await shows(ada, *((text, SENT) for text in typed))
        await hears_alone(bob, *typed)


async def test_what_is_refused_is_marked_and_the_next_is_sent(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP12)
    async with entered(server, await sign_in(server, "bob")) as bob:
        ada, line = await on_a_line(open_window, server, "ada")
        await line.cut()
        await ada.text.evaluate("(field) => field.removeAttribute('maxlength')")
        long = "x" * 2001
        for text in ("one", long, "two"):
            await ada.say(text)
        await line.mend()
        await expect(ada.lines("mine")).to_have_count(2)
        await expect(ada.lines("note").last).to_contain_text("bad_message: say.text: ")
        await shows(ada, ("one", SENT), (long, NOT_SENT), ("two", SENT))
        await hears_alone(bob, "one", "two")
        await ada.page.reload()
        # It is not tried again.
        await expect(ada.lines("mine")).to_have_count(2)
        await shows(ada, ("one", SENT), ("two", SENT))


async def test_the_limit_who_signs_out_leaves_nothing_that_waits(
    serve: Serve, open_window: OpenWindow, log: str
) -> None:
    server = serve(STEP12)
    ada, line = await on_a_line(open_window, server, "ada")
    await line.cut()
    await ada.say("never said")
    await ada.sign_out.click()
    assert "never said" not in await ada.page.evaluate("sessionStorage.getItem('chat')")
    await super(LossyLine, line).mend()
    await ada.try_now.click()
    await expect(ada.state).to_have_text("signed out")
    await ada.sign_in("ada")
    await ada.say("marker")
    await expect(ada.lines("mine")).to_have_count(1)
    assert [text for _, _, text in kept(log)] == ["marker"]


# Hands and eyes


async def test_it_works_where_the_browser_calls_the_page_insecure(
    serve: Serve, guard: Guard, open_window: OpenWindow, log: str
) -> None:
    server = serve(STEP12)
    # The same server; but without TLS only 127.0.0.1 and localhost count as secure.
    there = f"http://{server.address.replace('127.0.0.1', 'chat.test')}"
    guard.hosts.add(there.removeprefix("http://"))
    ada = await open_window(there)
    await ada.sign_in("ada")
    assert not await ada.page.evaluate("isSecureContext")
    error = await ada.page.evaluate(
        "(() => { try { crypto.randomUUID() } catch (error) { return `${error}` } })()"
    )
    assert error == "TypeError: crypto.randomUUID is not a function"
    await ada.say("hello")
    await expect(ada.lines("mine")).to_have_count(1)
    await shows(ada, ("hello", SENT))
    assert [text for _, _, text in kept(log)] == ["hello"]


async def test_its_keys_are_random_uuids(serve: Serve, open_window: OpenWindow) -> None:
    window = await open_window(serve(STEP12).url)
    keys: list[str] = await window.page.evaluate("Array.from({ length: 1000 }, uuid)")
    assert len(set(keys)) == 1000
    form = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert not [key for key in keys if not re.fullmatch(form, key)]


async def test_it_is_for_everyone_in_each_of_its_states(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP12)
    ada, line = await on_a_line(open_window, server, "ada")
    keyboard = ada.page.keyboard
    await ada.text.focus()
    # With nothing but keys, and what is seen is there for who listens, too.
    await keyboard.type("first")
    await keyboard.press("Enter")
    await expect(ada.lines("mine")).to_have_count(1)
    await ada.text.evaluate("(field) => field.removeAttribute('maxlength')")
    await ada.text.fill("W" * 2001)
    await keyboard.press("Enter")
    await expect(ada.lines("refused")).to_have_count(1)
    line.loses = {"say"}
    await ada.say("W" * 300)

    async def look(mark: str) -> None:
        for size in (DESK, PHONE):
            await ada.page.set_viewport_size(size)
            assert await ada.outside() == []
            assert await ada.complaints() == []
            await expect(ada.send).to_be_in_viewport(ratio=1)
        heard = await ada.log.aria_snapshot()
        for one in (SENT, NOT_SENT, mark):
            assert one in heard

    await look(SENDING)
    await line.cut()
    await look(WAITING)
