"""Step 9's page: signing in and out, and who else can do it in one's place."""

import re
from collections.abc import Awaitable, Callable, Iterator
from copy import copy
from itertools import product
from typing import Annotated, Any, cast
from urllib.parse import quote

import pytest
from fastapi import Cookie, FastAPI, Response
from playwright.async_api import Browser, Page, Route, ViewportSize, WebSocketRoute, expect

from steps.step09_signin import main, sessions
from steps.step09_signin.security import Door
from steps.step09_signin.settings import settings
from tests.browser.conftest import PHONE, ROOT, Guard, OpenWindow, Window
from tests.conftest import Serve, Server, StartProcess, browse, forget_sign_ins, sign_in
from tests.test_step09_signin import ASKED, WAYS, app_for, table, welcomed

STEP9 = "step09_signin"
KITTENS = ROOT / "tests/broken/page_of_somebody_else.html"
SHOP = ROOT / "tests/elsewhere.html"
SIGNED_OUT = "You have signed out."
DESK = ViewportSize(width=1280, height=800)
TAKEN = "Somebody has that name. Try another."


@pytest.fixture(autouse=True)
def refused(guard: Guard) -> None:
    """Expect what a browser prints when nobody is signed in, or a name is taken."""
    guard.refusals |= {401, 409}


@pytest.fixture
def origins() -> Iterator[list[str]]:
    """Return what CHAT_ORIGINS says. It is empty again afterwards."""
    yield settings.origins
    settings.origins.clear()


def complained(guard: Guard) -> str:
    """Return what was on the consoles; it was expected."""
    said = "\n".join(guard.seen)
    guard.seen.clear()
    return said


def served(page: str) -> FastAPI:
    """Return the server of one page."""
    app = FastAPI()

    @app.get("/")
    async def serve_page() -> Response:
        return Response(page, media_type="text/html")

    return app


def at_another_site(server: Server, guard: Guard) -> str:
    """Return the URL of a server under another name: to a browser, another site."""
    host = server.address.replace("127.0.0.1", "localhost")
    guard.hosts.add(host)
    return f"http://{host}"


async def online(open_window: OpenWindow, server: Server, name: str) -> Window:
    """Open a window and sign somebody in there."""
    window = await open_window(server.url)
    await window.sign_in(name)
    await expect(window.state).to_have_text(f"online as {name}")
    return window


async def another(window: Window, url: str) -> Window:
    """Open a second window of the same browser."""
    second = Window(await window.page.context.new_page())
    await second.page.goto(url)
    return second


async def sign_out_elsewhere(window: Window, server: Server) -> None:
    """Sign somebody out with the cookie of their browser, and without their window."""
    [cookie] = await window.page.context.cookies()
    async with browse(server) as http:
        headers = {"cookie": f"chat_session={cookie.get('value')}"}
        assert (await http.delete("/session", headers=headers)).status_code == 204


NEVER = "Math.random = () => 1000;"  # the next attempt is far away


class Line:
    """The way from a page to its server, which a test can cut and mend."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.opened = 0
        self._newest: list[WebSocketRoute] = []

    async def take(self) -> "Line":
        """Take all that the page opens from now on. It tries again when it is told to."""
        await self.page.add_init_script(NEVER)

        def connect(line: WebSocketRoute) -> None:
            self.opened += 1
            self._newest = [line.connect_to_server(), line]

        await self.page.route_web_socket(re.compile(""), connect)
        return self

    async def cut(self) -> None:
        """Cut it: the server knows of the end, and the page is answered by nobody."""

        async def fail(route: Route) -> None:
            await route.fulfill(status=503)

        await self.page.route("**/session", fail)
        for end in self._newest:
            await end.close(code=1012)

    async def mend(self) -> None:
        """Let requests through again."""
        await self.page.unroute("**/session")


# Signing in and out


async def test_two_people_sign_in_talk_and_sign_out(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(STEP9)
    ada = await open_window(server.url)
    await expect(ada.state).to_have_text("signed out")
    await expect(ada.name).to_be_focused()
    await expect(ada.sign_out).to_be_hidden()
    await ada.sign_in("ada")
    await expect(ada.state).to_have_text("online as ada")
    await expect(ada.name).to_be_hidden()
    await expect(ada.text).to_be_focused()
    bob = await online(open_window, server, "bob")
    await ada.say("hello")
    await expect(bob.lines("theirs")).to_contain_text(["ada hello"])
    await expect(bob.people).to_have_text(["ada", "bob"])
    await ada.sign_out.click()
    await expect(ada.state).to_have_text("signed out")
    await expect(ada.name).to_be_focused()
    await expect(ada.people).to_have_count(0)
    await expect(bob.people).to_have_text(["bob"])
    await expect(bob.lines("note")).to_have_text(["ada left"])


async def test_a_name_in_the_address_only_fills_in_the_field(
    serve: Serve, open_window: OpenWindow
) -> None:
    window = await open_window(f"{serve(STEP9).url}/?name={quote('Ada & Bob')}")
    await expect(window.state).to_have_text("signed out")
    await expect(window.name).to_have_value("Ada & Bob")
    assert not sessions.holders
    await window.page.keyboard.press("Enter")
    await expect(window.state).to_have_text("online as Ada & Bob")


async def test_a_name_that_is_taken_or_no_good_is_explained_and_another_can_be_chosen(
    serve: Serve, guard: Guard, open_window: OpenWindow
) -> None:
    guard.refusals.add(422)
    server = serve(STEP9)
    await sign_in(server, "ada")  # and she is away
    window = await open_window(server.url)
    await window.sign_in("ada")
    await expect(window.state).to_have_text(TAKEN)
    await expect(window.name).to_be_focused()
    await window.say("never mind")
    await window.sign_in(" ")
    await expect(window.state).to_have_text("A name is 1 to 20 printable characters.")
    await window.sign_in("bob")
    await expect(window.state).to_have_text("online as bob")
    # What was typed under no name at all is said under the first one.
    await expect(window.lines("mine")).to_contain_text(["never mind"])


async def test_a_sign_in_survives_a_reload(serve: Serve, open_window: OpenWindow) -> None:
    ada = await online(open_window, serve(STEP9), "ada")
    await ada.page.reload()
    await expect(ada.state).to_have_text("online as ada")


async def test_it_survives_a_restart_of_the_server(
    start_process: StartProcess, open_window: OpenWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_SECRET", "forty-three letters that somebody has kept.")
    server = await start_process(STEP9)
    ada = await open_window()
    await ada.page.add_init_script(NEVER)
    await ada.page.goto(server.url)
    await ada.sign_in("ada")
    await expect(ada.state).to_have_text("online as ada")
    server.kill()
    await expect(ada.state).to_contain_text("offline")
    await ada.say("are you back?")
    await server.start()
    await ada.try_now.click()
    await expect(ada.state).to_have_text("online as ada")
    await expect(ada.lines("mine")).to_contain_text(["are you back?"])


async def test_pressed_twice_it_signs_in_once(serve: Serve, open_window: OpenWindow) -> None:
    window = await open_window(serve(STEP9).url)
    await expect(window.state).to_have_text("signed out")
    asked: list[Route] = []
    await window.page.route("**/session", lambda route: asked.append(route))
    await window.name.fill("ada")
    await window.name.press("Enter")
    await window.name.press("Enter")
    await window.page.evaluate("0")  # a round trip: what was asked has been reported
    assert [route.request.method for route in asked] == ["POST"]
    await window.page.unroute("**/session")
    await asked[0].fallback()
    await expect(window.state).to_have_text("online as ada")


async def test_a_server_that_does_not_answer_is_told_and_one_can_try_again(
    serve: Serve, guard: Guard, open_window: OpenWindow
) -> None:
    guard.refusals.add(503)
    window = await open_window(serve(STEP9).url)
    await expect(window.state).to_have_text("signed out")
    line = await Line(window.page).take()
    await line.cut()
    await window.sign_in("ada")
    await expect(window.state).to_have_text("The server does not answer. Try again.")
    await line.mend()
    await window.name.press("Enter")
    await expect(window.state).to_have_text("online as ada")


async def test_a_question_that_hangs_can_be_asked_anew_and_is_answered_once(
    serve: Serve, guard: Guard, open_window: OpenWindow
) -> None:
    guard.refusals.add(503)
    ada = await open_window()
    line = await Line(ada.page).take()
    await ada.page.goto(serve(STEP9).url)
    await ada.sign_in("ada")
    await expect(ada.state).to_have_text("online as ada")
    await line.cut()
    await expect(ada.state).to_contain_text("offline")
    await line.mend()
    hanging: list[Route] = []

    async def hang_once(route: Route) -> None:
        if hanging:
            await route.fallback()
        hanging.append(route)

    await ada.page.route("**/session", hang_once)
    await ada.try_now.click()
    await expect(ada.state).to_have_text("connecting")
    before = line.opened
    await ada.try_now.click()
    await expect(ada.state).to_have_text("online as ada")
    await hanging[0].fulfill(json={"name": "ada"})
    await ada.say("marker")
    await expect(ada.lines("mine")).to_contain_text(["marker"])
    assert line.opened == before + 1


# The end


async def test_who_is_signed_out_while_the_page_is_open_is_told_and_can_sign_in_again(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP9)
    bob = await online(open_window, server, "bob")
    ada = await online(open_window, server, "ada")
    await bob.say("for ada's eyes")
    await expect(ada.lines("theirs")).to_have_count(1)
    await sign_out_elsewhere(ada, server)
    await expect(ada.state).to_have_text(SIGNED_OUT)
    await expect(ada.name).to_be_focused()
    await expect(ada.log).to_have_text("")
    await expect(ada.people).to_have_count(0)
    await expect(ada.try_now).to_be_hidden()
    await expect(bob.people).to_have_text(["bob"])
    await ada.sign_in("ada")
    await expect(ada.state).to_have_text("online as ada")


async def test_signing_out_in_one_window_signs_out_the_browser(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP9)
    first = await online(open_window, server, "ada")
    second = await another(first, server.url)
    await expect(second.state).to_have_text("You are here already, in another window.")
    await expect(second.try_now).to_be_visible()
    await first.page.close()
    await second.try_now.click()
    await expect(second.state).to_have_text("online as ada")
    third = await another(second, server.url)
    await expect(third.try_now).to_be_visible()
    await second.sign_out.click()
    await expect(second.state).to_have_text("signed out")
    assert await second.page.context.cookies() == []
    await third.try_now.click()
    await expect(third.state).to_have_text("signed out")


async def test_after_signing_out_nothing_is_left_for_the_next(
    serve: Serve, guard: Guard, open_window: OpenWindow
) -> None:
    guard.refusals.add(503)
    server = serve(STEP9)
    ada = await open_window()
    line = await Line(ada.page).take()
    await ada.page.goto(server.url)
    await ada.sign_in("ada")
    await expect(ada.state).to_have_text("online as ada")
    await ada.say("what was said")
    await expect(ada.lines("mine")).to_have_count(1)
    await line.cut()
    await expect(ada.state).to_contain_text("offline")
    await ada.say("what waits")
    await ada.text.fill("what was being typed")
    # The server cannot hear of it yet: the page goes on until it has.
    await ada.sign_out.click()
    await expect(ada.log).to_have_text("")
    await expect(ada.text).to_have_value("")
    await expect(ada.state).to_contain_text("offline")
    await line.mend()
    await ada.try_now.click()
    await expect(ada.state).to_have_text("signed out")
    assert not sessions.holders
    await ada.sign_in("bob")
    await expect(ada.state).to_have_text("online as bob")
    await ada.say("marker")
    await expect(ada.log).to_have_text(re.compile("^bob marker [^a-z]*( [AP]M)?$"))


@pytest.mark.parametrize("next_one", ["ada", "bob"])
async def test_what_waits_is_said_by_whom_it_was_typed_or_not_at_all(
    serve: Serve, guard: Guard, open_window: OpenWindow, next_one: str
) -> None:
    guard.refusals.add(503)
    server = serve(STEP9)
    window = await open_window()
    line = await Line(window.page).take()
    await window.page.goto(server.url)
    await window.sign_in("ada")
    await expect(window.state).to_have_text("online as ada")
    await line.cut()
    await expect(window.state).to_contain_text("offline")
    await window.say("what ada typed")
    await sign_out_elsewhere(window, server)
    await line.mend()
    await window.try_now.click()
    await expect(window.state).to_have_text("signed out")
    await window.sign_in(next_one)
    await expect(window.state).to_have_text(f"online as {next_one}")
    await window.say("marker")
    texts = ["what ada typed", "marker"] if next_one == "ada" else ["marker"]
    await expect(window.log.locator(".text")).to_have_text(texts)


async def test_what_is_typed_while_nobody_is_signed_in_is_not_said_by_the_next(
    serve: Serve, open_window: OpenWindow
) -> None:
    window = await online(open_window, serve(STEP9), "ada")
    await window.sign_out.click()
    await expect(window.state).to_have_text("signed out")
    await window.say("Ada's last words")
    await window.sign_in("bob")
    await expect(window.state).to_have_text("online as bob")
    await window.say("marker")
    await expect(window.log.locator(".text")).to_have_text(["marker"])


async def test_a_window_that_was_offline_when_its_owner_left_shows_the_next_nothing(
    serve: Serve, guard: Guard, open_window: OpenWindow
) -> None:
    guard.refusals.add(503)
    server = serve(STEP9)
    first = await open_window()
    line = await Line(first.page).take()
    await first.page.goto(server.url)
    await first.sign_in("ada")
    await expect(first.state).to_have_text("online as ada")
    await first.say("Ada's secret")
    await expect(first.lines("mine")).to_have_count(1)
    await line.cut()
    await expect(first.state).to_contain_text("offline")
    await sign_out_elsewhere(first, server)
    second = await another(first, server.url)
    await second.sign_in("bob")
    await expect(second.state).to_have_text("online as bob")
    await line.mend()
    await first.try_now.click()
    await expect(first.state).to_have_text("You are here already, in another window.")
    await expect(first.log).to_have_text("")


async def test_two_windows_that_sign_in_under_one_name_are_one_person(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP9)
    first = await open_window(server.url)
    second = await another(first, server.url)
    await expect(second.state).to_have_text("signed out")
    await first.sign_in("ada")
    await expect(first.state).to_have_text("online as ada")
    await second.sign_in("ada")
    await expect(second.state).to_have_text("You are here already, in another window.")
    await expect(second.sign_out).to_be_visible()
    async with server.connect(additional_headers=await sign_in(server, "bob")) as bob:
        assert (await bob.receive())["type"] == "welcome"
        await first.page.close()
        assert await bob.receive() == {"type": "left", "name": "ada"}
        await second.try_now.click()
        await expect(second.state).to_have_text("online as ada")


# Hands and eyes


async def test_all_of_it_is_done_by_keyboard(serve: Serve, open_window: OpenWindow) -> None:
    window = await open_window(serve(STEP9).url)
    keyboard = window.page.keyboard
    await expect(window.name).to_be_focused()
    await keyboard.type("ada")
    await keyboard.press("Tab")
    await expect(window.page.get_by_role("button", name="Sign in")).to_be_focused()
    await keyboard.press("Space")
    await expect(window.state).to_have_text("online as ada")
    await expect(window.text).to_be_focused()
    await keyboard.press("Shift+Tab")
    await expect(window.log).to_be_focused()
    await keyboard.press("Shift+Tab")
    await expect(window.sign_out).to_be_focused()
    await expect(window.sign_out).to_have_css("outline-style", "solid")
    await keyboard.press("Enter")
    await expect(window.state).to_have_text("signed out")
    await expect(window.name).to_be_focused()


async def test_who_is_signed_out_in_the_middle_of_a_sentence_can_finish_it(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP9)
    ada = await online(open_window, server, "ada")
    await ada.text.press_sequentially("see you at ")
    await sign_out_elsewhere(ada, server)
    await expect(ada.state).to_have_text(SIGNED_OUT)
    await ada.page.keyboard.type("eight")
    await expect(ada.text).to_have_value("see you at eight")


async def test_it_is_for_everyone_in_each_of_its_states(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP9)
    long = "W" * 20
    await sign_in(server, "ada")
    window = await open_window(server.url)

    async def look(window: Window, state: str) -> None:
        await expect(window.state).to_have_text(state)
        for size in (DESK, PHONE):
            await window.page.set_viewport_size(size)
            assert await window.outside() == []
            assert await window.complaints() == []
            await expect(window.send).to_be_in_viewport(ratio=1)
            for button in await window.page.get_by_role("button", name=re.compile("^Sign ")).all():
                await expect(button).to_be_in_viewport(ratio=1)

    await window.sign_in("ada")
    await look(window, TAKEN)
    await window.sign_in(long)
    await look(window, f"online as {long}")
    await look(await another(window, server.url), "You are here already, in another window.")
    await sign_out_elsewhere(window, server)
    await look(window, SIGNED_OUT)


# Other hosts, other pages


async def test_two_hosts_of_one_machine_are_two_people_in_one_browser(
    serve: Serve, guard: Guard, open_window: OpenWindow
) -> None:
    server = serve(STEP9)
    ada = await online(open_window, server, "ada")
    bob = await another(ada, at_another_site(server, guard))
    await bob.sign_in("bob")
    await expect(bob.state).to_have_text("online as bob")
    await expect(ada.people).to_have_text(["ada", "bob"])


async def test_another_server_on_the_same_host_is_sent_the_cookie(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP9)
    app, seen = FastAPI(), list[str]()

    @app.get("/seen")
    async def look(chat_session: Annotated[str, Cookie()] = "") -> None:
        seen.append(chat_session)

    elsewhere = serve(app)
    ada = await online(open_window, server, "ada")
    await ada.page.goto(f"{elsewhere.url}/seen")
    assert sessions.session_of(seen[0])


def without_the_door() -> FastAPI:
    """Return step 9 as it would be if nobody looked at the Origin."""
    app, door = copy(main.app), cast("Any", Door)
    app.user_middleware = [part for part in app.user_middleware if part.cls is not door]
    app.middleware_stack = None
    return app


@pytest.mark.parametrize(
    ("door", "site"),
    [
        pytest.param(
            "without the door",
            "the same site",
            marks=pytest.mark.xfail(raises=AssertionError, reason="the cookie is ridden"),
        ),
        ("without the door", "another site"),
        ("with the door", "the same site"),
    ],
)
async def test_a_page_on_another_origin_does_not_ride_the_cookie(
    serve: Serve, guard: Guard, open_window: OpenWindow, door: str, site: str
) -> None:
    server = serve(STEP9 if door == "with the door" else without_the_door())
    elsewhere = serve(served(KITTENS.read_text("utf-8").replace("127.0.0.1:8000", server.address)))
    ada = await open_window(server.url)
    await ada.sign_in("ada")
    await expect(ada.state).to_have_text("online as ada")
    async with server.connect(additional_headers=await sign_in(server, "bob")) as bob:
        assert await welcomed(bob) == "bob"
        # She goes on to look at kittens. Her cookie stays in the browser.
        same = site == "the same site"
        await ada.page.goto(elsewhere.url if same else at_another_site(elsewhere, guard))
        await expect(ada.page.locator("body")).to_contain_text(re.compile("read along|shut out"))
        await bob.say("marker")
        heard = [await bob.receive()]
        while heard[-1].get("text") != "marker":
            heard.append(await bob.receive())
    said = complained(guard)
    assert [frame["type"] for frame in heard] == ["left", "message"]
    refusal = "code: 403" if door == "with the door" else "no valid credentials available"
    assert refusal in said


@pytest.mark.parametrize("where", ["listed", "not listed"])
async def test_a_page_on_another_host_comes_in_with_a_ticket_if_it_is_listed(
    serve: Serve, guard: Guard, browser: Browser, origins: list[str], where: str
) -> None:
    server = serve(STEP9)
    shop = served(SHOP.read_text("utf-8").replace("127.0.0.1:8000", server.address))
    url = at_another_site(serve(shop), guard)
    origins += [server.url, *([url] if where == "listed" else [])]
    # Unguarded: in guarded contexts it is Playwright that answers preflight requests.
    context = await browser.new_context()
    customer, said = await context.new_page(), list[str]()
    customer.on("console", lambda message: said.append(message.text))
    await customer.goto(url)
    body = customer.locator("body")
    headers = await sign_in(server, "ada")
    if where == "listed":
        await expect(body).to_contain_text('{"type":"welcome","name":"customer"')
        async with server.connect(additional_headers=headers) as ada:
            await ada.say("can I help you?")
            await expect(body).to_contain_text("can I help you?")
        assert not said
    else:
        await expect(body).to_contain_text("TypeError: Failed to fetch")
        assert "blocked by CORS policy" in said[0]
        # Nor with a ticket that somebody gives it.
        async with browse(server) as http:
            ticket = (await http.post("/ticket", headers=headers)).json()["ticket"]
        path = f"ws://{server.address}/ws?ticket={ticket}"
        assert not await customer.evaluate(OPENS, path)
        assert "Unexpected response code: 403" in said[-1]
    await context.close()


async def test_a_browser_lets_no_page_set_a_header_on_a_socket(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP9)
    page = (await open_window(server.url)).page
    said = await page.evaluate(
        """(address) => {
            try {
                new WebSocket(address, { headers: { authorization: "Bearer token" } });
            } catch (error) {
                return `${error}`;
            }
        }""",
        f"ws://{server.address}/ws",
    )
    assert said == (
        "SyntaxError: Failed to construct 'WebSocket': "
        "The subprotocol '[object Object]' is invalid."
    )


# The table: what only a browser can answer. The rest is in ../test_step09_signin.py.

OPENS = """(address) => new Promise((settle) => {
    const socket = new WebSocket(address);
    socket.onmessage = ({ data }) => settle(data.includes("welcome"));
    socket.onclose = () => settle(false);
})"""
SIGNS_IN = """async ({ url, credentials }) => {
    const headers = { "content-type": "application/json" };
    const request = { method: "POST", credentials, headers, body: '{"name": "ada"}' };
    globalThis.token = (await (await fetch(`${url}/session`, request)).json()).token;
}"""
PROVES = """async ({ url, way }) => {
    const address = `${url.replace("http", "ws")}/ws`;
    const headers = { authorization: `Bearer ${globalThis.token}` };
    const open = {
        "Cookie": () => new WebSocket(address),
        "Bearer token": () => new WebSocket(address, { headers }),
        "Ticket": async () => {
            const answer = await fetch(`${url}/ticket`, { method: "POST", headers });
            globalThis.ticket = (await answer.json()).ticket;
            return new WebSocket(`${address}?ticket=${globalThis.ticket}`);
        },
        "First message": () => {
            const socket = new WebSocket(address);
            socket.onopen = () => socket.send(globalThis.token ?? "");
            return socket;
        },
    };
    try {
        const socket = await open[way]();
        return await new Promise((settle) => {
            socket.onmessage = ({ data }) => settle(data.includes("welcome"));
            socket.onclose = () => settle(false);
        });
    } catch {
        return false;
    }
}"""
# All that a script finds in a page that it was not written for.
FOUND = """async () => JSON.stringify([
    document.cookie,
    { ...localStorage },
    { ...sessionStorage },
    globalThis.token,
    globalThis.ticket,
    await (await fetch("/session")).text(),
])"""


class Pages:
    """A server that takes one of the proofs, and pages from here and there in one browser."""

    def __init__(self, way: str, page: Page, server: Server, elsewhere: str) -> None:
        self.way = way
        self.page = page
        self.server = server
        self.elsewhere = elsewhere

    async def go(self, url: str) -> None:
        """Go to something on another origin, or on the server's own, that runs no script."""
        await self.page.goto(f"{url}/openapi.json")

    async def sign_in(self, url: str) -> None:
        """Sign in from a page there, or with the cookie: that is set on the server's own alone."""
        with_cookie = self.way == "Cookie"
        await self.go(self.server.url if with_cookie else url)
        credentials = "same-origin" if with_cookie else "omit"
        await self.page.evaluate(SIGNS_IN, {"url": self.server.url, "credentials": credentials})
        if with_cookie:
            await self.go(url)

    async def prove(self) -> bool:
        """Return whether the page that is there now can open a socket by its proof."""
        given = {"url": self.server.url, "way": self.way}
        return bool(await self.page.evaluate(PROVES, given))


async def a_page_of_ours_can_use_it(pages: Pages) -> bool:
    await pages.sign_in(pages.server.url)
    return await pages.prove()


async def a_page_elsewhere_can_use_it(pages: Pages) -> bool:
    await pages.sign_in(pages.elsewhere)
    return await pages.prove()


async def scripts_cannot_read_it(pages: Pages) -> bool:
    await pages.sign_in(pages.server.url)
    [secret] = [cookie.get("value") for cookie in await pages.page.context.cookies()] or [None]
    await pages.prove()
    if pages.way == "Ticket":
        secret = await pages.page.evaluate("globalThis.ticket")
    elif pages.way != "Cookie":
        secret = next(sessions.token_for(session) for session in sessions.holders.values())
    assert secret
    found = await pages.page.evaluate(FOUND)
    return secret not in found


async def no_other_page_can_ride_it(pages: Pages) -> bool:
    await pages.sign_in(pages.server.url)
    # Of the same site: 127.0.0.1, as the server, and another port.
    await pages.go(pages.elsewhere.replace("localhost", "127.0.0.1"))
    return not await pages.prove()


ASKED_OF_PAGES: dict[str, Callable[[Pages], Awaitable[bool]]] = {
    "A page of our own can use it": a_page_of_ours_can_use_it,
    "A page on another host can use it": a_page_elsewhere_can_use_it,
    "Scripts cannot read it": scripts_cannot_read_it,
    "No other page can ride it": no_other_page_can_ride_it,
}


@pytest.mark.parametrize("asked", ASKED_OF_PAGES)
async def test_the_table_tells_pages_the_truth(
    serve: Serve, guard: Guard, open_window: OpenWindow, origins: list[str], asked: str
) -> None:
    elsewhere = at_another_site(serve(served("")), guard)
    page = (await open_window()).page
    answers = {}
    for way in WAYS:
        ridden = asked == "No other page can ride it" and way != "First message"
        server = serve(without_the_door() if ridden else app_for(way))
        origins[:] = [server.url, elsewhere]
        answer = await ASKED_OF_PAGES[asked](Pages(way, page, server, elsewhere))
        answers[way] = "yes" if answer else "no"
        # The next way finds a browser and a server that know nobody.
        await page.goto("about:blank")
        await page.context.clear_cookies()
        forget_sign_ins()
    complained(guard)
    assert answers == {way: table()[way, asked] for way in WAYS}


def test_every_cell_of_the_table_has_a_test() -> None:
    assert table().keys() == set(product(WAYS, [*ASKED_OF_PAGES, *ASKED]))
