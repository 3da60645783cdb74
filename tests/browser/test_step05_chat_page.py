"""Step 5's page: a chat people can use, and that finds its way back."""

import asyncio
import re
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

import httpx2
import pytest
from playwright.async_api import Page, Route, WebSocketRoute, expect

from tests.browser.conftest import PHONE, ROOT, OpenWindow
from tests.conftest import Serve, StartProcess, faulty

STATIC = ROOT / "steps/step05_chat/static"
MARKUP = "<img src onerror=x>"
MINUTE = 60_000
# Step 8's page is under a strict policy: what people do there works as before.
each_chat = pytest.mark.parametrize("step", ["step05_chat", "step08_security"])


class GaveUpError(AssertionError):
    """A page did not open a second socket."""


class DeafError(AssertionError):
    """A page did not hear what was said to it."""


async def stop_time(page: Page) -> None:
    """Let the page's timers wait from now on, until a test moves its clock."""
    await page.clock.install(time=datetime(2026, 1, 1, tzinfo=UTC))
    await page.clock.pause_at(datetime(2026, 1, 1, 12, tzinfo=UTC))


class Sockets:
    """The sockets that a page opens: the test is the server at the other end."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._opened: asyncio.Queue[WebSocketRoute] = asyncio.Queue()

    async def take(self) -> Self:
        """Take all sockets that the page opens from now on."""
        await self.page.route_web_socket(re.compile(""), self._opened.put_nowait)
        return self

    async def next(self) -> WebSocketRoute:
        """Return the next socket that the page opens, or has opened. Raises `TimeoutError`."""
        async with asyncio.timeout(5):
            return await self._opened.get()

    async def there_is_one(self) -> bool:
        """Return whether the page has opened a socket that nobody has asked for yet."""
        # A marker: what the page has opened before comes before it.
        await self.page.evaluate("new WebSocket('ws://marker.example'), undefined")
        first = await self.next()
        if "marker" in first.url:
            return False
        assert "marker" in (await self.next()).url, "and a third"
        return True


# People


@each_chat
async def test_two_windows_talk_with_names_and_times(
    serve: Serve, open_window: OpenWindow, step: str
) -> None:
    server = serve(step)
    ada = await open_window(f"{server.url}/?name=ada")
    await expect(ada.state).to_have_text("online as ada")
    bob = await open_window(f"{server.url}/?name=bob")
    await expect(bob.state).to_have_text("online as bob")
    await ada.say("hello")
    await expect(bob.lines("theirs")).to_have_text([re.compile(r"^ada hello \d+:\d\d( [AP]M)?$")])
    await expect(ada.lines("mine")).to_have_text([re.compile("^ada hello ")])
    await bob.say("hello yourself")
    await expect(ada.lines("theirs")).to_have_text([re.compile("^bob hello yourself ")])


async def test_who_comes_and_who_goes_is_seen(serve: Serve, open_window: OpenWindow) -> None:
    server = serve("step05_chat")
    ada = await open_window(f"{server.url}/?name=ada")
    await expect(ada.people).to_have_text(["ada"])
    bob = await open_window(f"{server.url}/?name=bob")
    await expect(bob.people).to_have_text(["ada", "bob"])
    await expect(ada.people).to_have_text(["ada", "bob"])
    await bob.page.close()
    await expect(ada.people).to_have_text(["ada"])
    await expect(ada.lines("note")).to_have_text(["bob joined", "bob left"])


async def test_who_brings_no_name_gets_one(serve: Serve, open_window: OpenWindow) -> None:
    window = await open_window(serve("step05_chat").url)
    await expect(window.state).to_have_text("online as guest-1")
    await expect(window.name).to_have_value("guest-1")


async def test_a_new_name_is_seen_by_all_and_survives_a_reload(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve("step05_chat")
    ada = await open_window(f"{server.url}/?name=ada")
    bob = await open_window(f"{server.url}/?name=bob")
    await expect(bob.state).to_have_text("online as bob")
    await bob.name.fill("Bob & Eve")
    await bob.name.press("Enter")
    await expect(ada.people).to_have_text(["ada", "Bob & Eve"])
    await bob.page.reload()
    await expect(bob.state).to_have_text("online as Bob & Eve")


async def test_a_taken_name_is_explained_and_another_can_be_chosen(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve("step05_chat")
    ada = await open_window(f"{server.url}/?name=ada")
    await expect(ada.state).to_have_text("online as ada")
    bob = await open_window(f"{server.url}/?name=ada")
    await expect(bob.state).to_have_text("Somebody here has that name. Try another.")
    await expect(bob.name).to_be_focused()
    await bob.say("never mind")
    await bob.name.fill("bob")
    await bob.name.press("Enter")
    await expect(bob.state).to_have_text("online as bob")
    # What was typed under no name at all is said under the new one.
    await expect(ada.lines("theirs")).to_have_text([re.compile("^bob never mind ")])


@each_chat
async def test_markup_stays_text_in_messages_names_and_announcements(
    serve: Serve, open_window: OpenWindow, step: str
) -> None:
    server = serve(step)
    ada = await open_window(f"{server.url}/?name=ada")
    bob = await open_window(f"{server.url}/?{urlencode({'name': MARKUP})}")
    await expect(bob.state).to_have_text(f"online as {MARKUP}")
    await bob.say(MARKUP)
    await expect(bob.lines("mine")).to_contain_text([f"{MARKUP} {MARKUP}"])
    await expect(ada.lines("theirs")).to_contain_text([f"{MARKUP} {MARKUP}"])
    await expect(ada.lines("note")).to_have_text([f"{MARKUP} joined"])
    await expect(ada.people).to_have_text([MARKUP, "ada"])
    async with httpx2.AsyncClient(base_url=server.url) as http:
        await http.post("/announce", json={"text": MARKUP})
    await expect(ada.lines("notice")).to_have_text([MARKUP])
    for window in (ada, bob):
        # As markup it would be an image, and run x, which the guard would see: there is no x.
        await expect(window.page.locator("img")).to_have_count(0)


# The way back


@pytest.mark.parametrize(
    "client",
    [
        faulty("step04_manager", GaveUpError),
        faulty("client_that_forgets_its_handlers", DeafError),
        "step05_chat",
    ],
)
async def test_a_page_whose_server_died_hears_the_next_message(
    start_process: StartProcess, open_window: OpenWindow, client: str
) -> None:
    broken = ROOT / f"tests/broken/{client}.js"
    server = await start_process("step05_chat" if broken.exists() else client)
    ada = await open_window()
    if broken.exists():
        await ada.page.route("**/client.js", lambda route: route.fulfill(path=broken))
    await ada.page.add_init_script("""
        globalThis.opened = 0;
        globalThis.WebSocket = class extends WebSocket {
          constructor(...address) { super(...address); opened += 1; }
        };""")
    await stop_time(ada.page)
    await ada.page.goto(f"{server.url}/?name=ada")
    await expect(ada.state).to_contain_text("online")
    server.kill()
    await expect(ada.state).to_contain_text("offline")
    await server.start()
    await ada.page.clock.fast_forward(MINUTE)
    if await ada.page.evaluate("opened") == 1:
        raise GaveUpError
    await expect(ada.state).to_contain_text("online")
    async with server.connect("/ws?name=bob") as bob:
        assert (await bob.receive())["here"] == ["ada", "bob"]
        await bob.say("the next message")
        assert await bob.hears() == "the next message"
        # A marker: what comes through her socket before it has been dealt with.
        await ada.page.evaluate("""new Promise((resolve) => {
            socket.addEventListener("message", ({ data }) => data.includes("marker") && resolve());
            socket.send(JSON.stringify({ type: "say", text: "marker" }));
        })""")
        if "the next message" not in await ada.log.inner_text():
            raise DeafError


async def test_windows_come_back_by_themselves(
    start_process: StartProcess, open_window: OpenWindow
) -> None:
    server = await start_process("step05_chat")
    ada, bob = await open_window(), await open_window()
    for name, window in (("ada", ada), ("bob", bob)):
        # A tenth of what they might have to wait, so that the test does not wait long.
        await window.page.add_init_script("Math.random = () => 0.1;")
        await window.page.goto(f"{server.url}/?name={name}")
        await expect(window.state).to_have_text(f"online as {name}")
    server.kill()
    for window in (ada, bob):
        await expect(window.state).to_have_text("offline")
        await expect(window.people).to_have_count(0)
        await expect(window.countdown).to_have_text(re.compile(r"^retry in \d+ s$"))
    await server.start()
    for window in (ada, bob):
        await expect(window.people).to_have_text(["ada", "bob"])
        await expect(window.countdown).to_be_empty()
    await bob.say("we are back")
    await expect(ada.lines("theirs")).to_contain_text(["we are back"])


async def test_what_was_typed_offline_waits_and_arrives_in_order_and_once(
    start_process: StartProcess, open_window: OpenWindow
) -> None:
    server = await start_process("step05_chat")
    ada = await open_window()
    await stop_time(ada.page)
    await ada.page.goto(f"{server.url}/?name=ada")
    await expect(ada.state).to_have_text("online as ada")
    server.kill()
    await expect(ada.state).to_have_text("offline")
    typed = ["one", "two", "three"]
    for text in typed:
        await ada.say(text)
    await expect(ada.lines("waiting")).to_have_text(typed)
    await server.start()
    async with server.connect("/ws?name=bob") as bob:
        assert (await bob.receive())["here"] == ["bob"]
        await ada.page.clock.fast_forward(MINUTE)
        assert await bob.receive() == {"type": "joined", "name": "ada"}
        assert [await bob.hears() for _ in typed] == typed
        await expect(ada.lines("waiting")).to_have_count(0)
        await expect(ada.lines("mine")).to_contain_text(typed)
        # Nothing is said twice: the next that arrives is the next that she types.
        await ada.say("marker")
        assert await bob.hears() == "marker"


async def test_what_is_typed_before_the_welcome_is_not_lost_on_a_refusal(
    serve: Serve, open_window: OpenWindow
) -> None:
    window = await open_window()
    sockets = await Sockets(window.page).take()
    await window.page.goto(serve("step05_chat").url)
    refused = await sockets.next()
    said: asyncio.Queue[str | bytes] = asyncio.Queue()
    refused.on_message(said.put_nowait)
    # Open, and nobody knows yet whether the name is good.
    await window.page.wait_for_function("socket.readyState === WebSocket.OPEN")
    await window.say("too early")
    await expect(window.lines("waiting")).to_have_text(["too early"])
    await refused.close(code=4409, reason="taken")
    await expect(window.name).to_be_focused()
    await window.page.keyboard.type("bob")
    await window.page.keyboard.press("Enter")
    welcomed = await sockets.next()
    welcomed.on_message(lambda text: said.put_nowait(f"welcomed {text!s}"))
    welcomed.send('{"type": "welcome", "name": "bob", "here": ["bob"]}')
    async with asyncio.timeout(5):
        assert await said.get() == 'welcomed {"type":"say","text":"too early"}'


async def test_try_now_does_not_wait_and_does_not_try_twice(
    serve: Serve, open_window: OpenWindow
) -> None:
    ada = await open_window()
    await stop_time(ada.page)
    sockets = await Sockets(ada.page).take()
    await ada.page.goto(serve("step05_chat").url)
    await expect(ada.try_now).to_be_hidden()
    await (await sockets.next()).close(code=1012)
    await ada.try_now.click()
    await expect(ada.state).to_have_text("connecting")
    (await sockets.next()).connect_to_server()
    await expect(ada.state).to_have_text("online as guest-1")
    await expect(ada.try_now).to_be_hidden()
    await ada.page.clock.fast_forward(MINUTE)
    assert not await sockets.there_is_one()


@pytest.mark.parametrize("luck", [1, 0.75, 0])
async def test_it_waits_twice_as_long_after_each_failure_times_luck(
    serve: Serve, open_window: OpenWindow, luck: float
) -> None:
    window = await open_window()
    await stop_time(window.page)
    await window.page.add_init_script(f"Math.random = () => {luck};")
    sockets = await Sockets(window.page).take()
    await window.page.goto(serve("step05_chat").url)
    milliseconds = [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]
    # The ninth attempt succeeds; after it the waiting starts small again.
    for attempt, longest in enumerate([*milliseconds, 500]):
        socket = await sockets.next()
        if attempt == len(milliseconds):
            socket.send('{"type": "welcome", "name": "ada", "here": ["ada"]}')
            await expect(window.state).to_have_text("online as ada")
        await socket.close(code=1006)
        await expect(window.state).to_have_text("offline")
        delay = int(longest * luck)
        if delay:
            await expect(window.countdown).to_have_text(f"retry in {-(-delay // 1000)} s")
            await window.page.clock.run_for(delay - 1)
            assert not await sockets.there_is_one()
        await window.page.clock.run_for(1)


async def test_it_comes_back_unless_that_would_end_the_same(
    serve: Serve, open_window: OpenWindow
) -> None:
    window = await open_window()
    await stop_time(window.page)
    sockets = await Sockets(window.page).take()
    url = serve("step05_chat").url
    final = [1000, 1008, 4401, 4409]
    for code in [1001, 1006, 1009, 1011, 1012, 1013, 4429, *final]:
        await window.page.goto(url)
        await (await sockets.next()).close(code=code, reason=MARKUP)
        await expect(window.state).to_have_text(MARKUP if code in final else "offline")
        await window.page.clock.fast_forward(MINUTE)
        assert await sockets.there_is_one() == (code not in final), code


async def test_a_page_that_came_over_https_opens_wss(open_window: OpenWindow) -> None:
    window = await open_window()

    async def answer(route: Route) -> None:
        name = route.request.url.removeprefix("https://chat.example/").partition("?")[0]
        await route.fulfill(path=STATIC / Path(name or "index.html").name)

    # Nothing of it leaves the browser.
    await window.page.route("https://chat.example/**", answer)
    sockets = await Sockets(window.page).take()
    await window.page.goto("https://chat.example/?name=ada%20b")
    assert (await sockets.next()).url == "wss://chat.example/ws?name=ada%20b"


# Hands and eyes


@each_chat
async def test_everything_is_reached_and_used_by_keyboard(
    serve: Serve, open_window: OpenWindow, step: str
) -> None:
    window = await open_window()
    keyboard = window.page.keyboard
    await stop_time(window.page)
    sockets = await Sockets(window.page).take()
    await window.page.goto(serve(step).url)
    (await sockets.next()).connect_to_server()
    await expect(window.state).to_have_text("online as guest-1")
    change = window.page.get_by_role("button", name="Change")
    here = window.page.get_by_role("list", name="Here now")
    for control in (here, window.name, change, window.log, window.text, window.send):
        await keyboard.press("Tab")
        await expect(control).to_be_focused()
        await expect(control).to_have_css("outline-style", "solid")
    await keyboard.press("Shift+Tab")
    await keyboard.type("hello")
    await keyboard.press("Tab")
    await keyboard.press("Space")
    await expect(window.lines("mine")).to_contain_text(["hello"])
    for _ in range(4):
        await keyboard.press("Shift+Tab")
    await keyboard.type("ada")  # Tab has selected the old name
    await keyboard.press("Enter")
    second = await sockets.next()
    await expect(window.state).to_have_text("connecting")
    await second.close(code=1012)
    await expect(window.try_now).to_be_visible()
    for _ in range(2):
        await keyboard.press("Shift+Tab")
    await expect(window.try_now).to_be_focused()
    await keyboard.press("Enter")
    (await sockets.next()).connect_to_server()
    await expect(window.state).to_have_text("online as ada")


async def test_the_log_follows_the_newest_message_unless_one_reads_older_ones(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve("step05_chat")
    ada = await open_window(f"{server.url}/?name=ada")
    await expect(ada.state).to_have_text("online as ada")

    async def is_in_view(text: str) -> None:
        await expect(ada.log.get_by_text(text, exact=True)).to_be_in_viewport()

    async with server.connect("/ws?name=bob") as bob:
        for number in range(200):
            await bob.say(f"message {number}")
        await is_in_view("message 199")
        await ada.log.evaluate("log => { log.scrollTop = 0; }")
        await bob.say("the newest")
        await expect(ada.log).to_contain_text("the newest")
        await is_in_view("message 0")
        # Whoever speaks wants to see it.
        await ada.say("my own")
        await is_in_view("my own")


@each_chat
async def test_many_people_long_names_and_long_words_fit_on_a_phone(
    serve: Serve, open_window: OpenWindow, step: str
) -> None:
    server = serve(step)
    window = await open_window(f"{server.url}/?name={'W' * 20}", viewport=PHONE)
    await expect(window.state).to_have_text(f"online as {'W' * 20}")
    async with AsyncExitStack() as people:
        for number in range(30):
            path = f"/ws?name={'M' * 17}{number}"
            person = await people.enter_async_context(server.connect(path))
        await person.say("M" * 2000)
        await window.say("W" * 2000)
        await expect(window.lines("mine")).to_have_count(1)
        await expect(window.people).to_have_count(31)
        assert await window.outside() == []
        await expect(window.text).to_be_in_viewport(ratio=1)
        await expect(window.send).to_be_in_viewport(ratio=1)
        assert await window.complaints() == []


WELCOMES_ADA = '{"type": "welcome", "name": "ada", "here": ["ada"]}'


async def test_what_is_typed_while_the_line_closes_waits(
    serve: Serve, open_window: OpenWindow
) -> None:
    ada = await open_window(f"{serve('step05_chat').url}/?name=ada")
    await expect(ada.state).to_have_text("online as ada")
    # The page has not been told yet: its close event comes later than this.
    await ada.page.evaluate("""() => {
        Object.defineProperty(socket, "readyState", { value: WebSocket.CLOSING });
        socket.send = () => {};
        page.text.value = "late";
        page.say.requestSubmit();
    }""")
    await expect(ada.lines("waiting")).to_have_text(["late"])


async def test_the_end_of_the_old_socket_is_not_the_end_of_the_new_one(
    serve: Serve, open_window: OpenWindow
) -> None:
    window = await open_window()
    sockets = await Sockets(window.page).take()
    await window.page.goto(f"{serve('step05_chat').url}/?name=ada")
    (await sockets.next()).send(WELCOMES_ADA)
    await expect(window.state).to_have_text("online as ada")
    await window.page.evaluate("globalThis.old = socket")
    await window.name.fill("bob")
    await window.name.press("Enter")
    second = await sockets.next()
    second.send('{"type": "welcome", "name": "bob", "here": ["bob"]}')
    await expect(window.state).to_have_text("online as bob")
    await window.page.evaluate(
        "old.dispatchEvent(new CloseEvent('close', { code: 1000 })), undefined"
    )
    await expect(window.state).to_have_text("online as bob")
    await expect(window.people).to_have_text(["bob"])


async def test_a_name_half_typed_survives_the_welcome(
    serve: Serve, open_window: OpenWindow
) -> None:
    window = await open_window()
    sockets = await Sockets(window.page).take()
    await window.page.goto(serve("step05_chat").url)
    socket = await sockets.next()
    await window.name.press_sequentially("Ada Lov")
    socket.send(WELCOMES_ADA)
    await expect(window.state).to_have_text("online as ada")
    await expect(window.name).to_have_value("Ada Lov")


async def test_a_refusal_does_not_take_the_hands_from_a_message(
    serve: Serve, open_window: OpenWindow
) -> None:
    window = await open_window()
    sockets = await Sockets(window.page).take()
    await window.page.goto(serve("step05_chat").url)
    await window.text.press_sequentially("see you at ")
    await (await sockets.next()).close(code=4409, reason="taken")
    await expect(window.state).to_have_text("taken")
    await expect(window.text).to_be_focused()


async def test_after_sleep_it_does_not_count_below_zero(
    serve: Serve, open_window: OpenWindow
) -> None:
    window = await open_window()
    await stop_time(window.page)
    await window.page.add_init_script("Math.random = () => 1;")
    sockets = await Sockets(window.page).take()
    await window.page.goto(serve("step05_chat").url)
    await (await sockets.next()).close(code=1006)
    await expect(window.state).to_have_text("offline")
    await window.page.evaluate("{ const now = Date.now; Date.now = () => now() + 3600_000; }")
    await window.page.clock.run_for(250)
    await sockets.next()


async def test_a_mistake_is_told_to_its_maker(serve: Serve, open_window: OpenWindow) -> None:
    ada = await open_window(f"{serve('step05_chat').url}/?name=ada")
    await expect(ada.state).to_have_text("online as ada")
    await ada.page.evaluate("socket.send('junk')")
    await expect(ada.lines("note")).to_contain_text("bad_json")


async def test_an_attempt_that_hangs_can_be_tried_anew(
    serve: Serve, open_window: OpenWindow
) -> None:
    window = await open_window()
    await stop_time(window.page)
    sockets = await Sockets(window.page).take()
    await window.page.goto(serve("step05_chat").url)
    await expect(window.try_now).to_be_hidden()  # nothing is wrong yet
    await (await sockets.next()).close(code=1006)
    await window.try_now.press("Enter")
    await sockets.next()  # and nothing comes from this one
    await expect(window.state).to_have_text("connecting")
    await window.try_now.press("Enter")
    (await sockets.next()).send(WELCOMES_ADA)
    await expect(window.state).to_have_text("online as ada")
    await expect(window.try_now).to_be_hidden()
    await expect(window.text).to_be_focused()
