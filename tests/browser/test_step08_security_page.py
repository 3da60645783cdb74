"""Step 8's page: no other page speaks in its place, and what is too much is told."""

import asyncio
import re
from pathlib import Path

import pytest
from fastapi import FastAPI, Response
from playwright.async_api import expect

from steps.step08_security import security
from steps.step08_security.settings import settings
from tests.browser.conftest import PHONE, ROOT, Guard, OpenWindow
from tests.browser.test_step05_chat_page import MINUTE, Sockets, stop_time
from tests.conftest import Serve, StartProcess, faulty
from tests.test_step08_security import Clock, certified

KITTENS = ROOT / "tests/broken/page_of_somebody_else.html"
each_side = pytest.mark.parametrize(
    "step", [faulty("step07_backpressure", AssertionError), "step08_security"]
)


def page_of_somebody_else(page: str) -> FastAPI:
    """Return the server of a page: on another port, and so of another origin."""
    app = FastAPI()

    @app.get("/")
    async def serve_page() -> Response:
        return Response(page, media_type="text/html")

    return app


def complained(guard: Guard) -> str:
    """Return what was on the consoles; it was expected."""
    said = "\n".join(guard.seen)
    guard.seen.clear()
    return said


# Other pages


@each_side
async def test_a_page_of_somebody_else_speaks_and_reads_along_in_nobodys_browser(
    serve: Serve, guard: Guard, open_window: OpenWindow, step: str
) -> None:
    server = serve(step)
    kittens = KITTENS.read_text("utf-8").replace("127.0.0.1:8000", server.address)
    elsewhere = serve(page_of_somebody_else(kittens))
    ada = await open_window(f"{server.url}/?name=ada")
    await expect(ada.state).to_have_text("online as ada")
    visitor = (await open_window(elsewhere.url)).page
    await expect(visitor.locator("body")).to_contain_text(re.compile("read along|shut out"))
    async with server.connect("/ws?name=bob") as bob:
        await bob.say("marker")
        await expect(ada.lines("theirs").filter(has_text="marker")).to_have_count(1)
    assert "I never wrote this." not in await ada.log.inner_text()
    assert "visitor" not in await ada.log.inner_text()
    await expect(visitor.locator("body")).to_contain_text("I was shut out: 1006")
    assert "Unexpected response code: 403" in complained(guard)


@each_side
async def test_no_other_page_can_put_this_one_into_a_frame(
    serve: Serve, guard: Guard, open_window: OpenWindow, step: str
) -> None:
    server = serve(step)
    framing = f'<link rel="icon" href="data:,"><iframe src="{server.url}/?name=ada"></iframe>'
    window = await open_window(serve(page_of_somebody_else(framing)).url)
    [frame] = window.page.main_frame.child_frames
    assert await frame.get_by_role("log").count() == 0
    assert "frame-ancestors 'none'" in complained(guard)


# Scripts that are not ours

INJECTED = {
    "a script": """document.body.append(
        Object.assign(document.createElement("script"), { textContent: "ran()" }))""",
    "an address": """Object.assign(
        document.createElement("a"), { href: "javascript:ran()" }).click()""",
    "a text": "setTimeout('ran()')",
    "a handler": "document.body.innerHTML += '<img src=data:, onerror=ran()>'",
}


@each_side
async def test_a_script_that_got_into_the_page_does_not_run(
    serve: Serve, guard: Guard, open_window: OpenWindow, step: str
) -> None:
    ada = await open_window(f"{serve(step).url}/?name=ada")
    await expect(ada.state).to_have_text("online as ada")
    ends = {
        how: await ada.page.evaluate(f"""() => new Promise((settle) => {{
            window.ran = () => settle("ran");
            document.onsecuritypolicyviolation = () => settle("stopped");
            {script};
        }})""")
        for how, script in INJECTED.items()
    }
    assert ends == dict.fromkeys(INJECTED, "stopped")
    assert complained(guard).count("Content Security Policy") >= len(INJECTED)


async def test_the_page_sends_nothing_to_another_host(
    serve: Serve, guard: Guard, open_window: OpenWindow
) -> None:
    ada = await open_window(f"{serve('step08_security').url}/?name=ada")
    await expect(ada.state).to_have_text("online as ada")
    errors = await ada.page.evaluate("""async () => {
        const ways = [
            () => fetch("http://elsewhere.example/"),
            () => new Promise((done, fail) => {
                new WebSocket("ws://elsewhere.example/").onerror = () => fail(new Error("socket"));
            }),
            () => new Promise((done, fail) => {
                const image = new Image();
                image.onerror = () => fail(new Error("image"));
                image.src = "http://elsewhere.example/";
            }),
        ];
        const ends = await Promise.allSettled(ways.map((way) => way()));
        return ends.map((end) => end.status);
    }""")
    assert errors == ["rejected"] * 3
    # The policy, and not only the guard: nothing has left the page.
    said = complained(guard)
    assert "a request to" not in said
    assert said.count("Content Security Policy") >= 3


# Too much


async def test_who_is_too_fast_is_told_and_thrown_out_and_comes_back(
    serve: Serve, open_window: OpenWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "rate", 1)
    monkeypatch.setattr(security, "monotonic", Clock())
    server = serve("step08_security")
    ada = await open_window(viewport=PHONE)
    # She would wait for most of a minute, so that there is time to look at what she sees.
    await ada.page.add_init_script("Math.random = () => 100;")
    await ada.page.goto(f"{server.url}/?name=ada")
    await expect(ada.state).to_have_text("online as ada")
    bob = await open_window(f"{server.url}/?name=bob")
    await expect(bob.state).to_have_text("online as bob")
    for text in ("one", "two", "three", "four"):
        await ada.say(text)
    told_off = "too_fast: At most 1 a second."
    await expect(ada.lines("note")).to_have_text(["bob joined", told_off, told_off])
    await expect(ada.lines("mine")).to_contain_text(["one", "two"])
    assert not await ada.complaints()
    assert not await ada.outside()
    await ada.say("five")
    await expect(ada.state).to_have_text("offline: Too fast for too long.")
    await expect(bob.lines("note")).to_have_text(["ada left"])
    assert not await ada.complaints()
    assert not await ada.outside()
    await ada.try_now.press("Enter")
    await expect(ada.state).to_have_text("online as ada")
    await ada.say("slowly now")
    await expect(bob.lines("theirs")).to_contain_text(["one", "two", "slowly now"])


async def test_a_message_that_is_too_big_is_told(
    serve: Serve, open_window: OpenWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "max_bytes", 100)
    ada = await open_window(f"{serve('step08_security').url}/?name=ada", viewport=PHONE)
    await expect(ada.state).to_have_text("online as ada")
    await ada.say("x" * 100)
    await expect(ada.lines("note")).to_have_text(["too_big: At most 100 bytes."])
    assert not await ada.complaints()
    assert not await ada.outside()


@pytest.mark.parametrize("step", [faulty("step07_backpressure", AssertionError), "step08_security"])
async def test_a_hundred_messages_typed_offline_are_all_said_in_order_and_none_is_refused(
    serve: Serve, open_window: OpenWindow, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(security, "monotonic", clock := Clock())
    server = serve("step08_security")
    ada, script = await open_window(), ROOT / f"steps/{step}/static/client.js"
    await ada.page.route("**/client.js", lambda route: route.fulfill(path=script))
    await stop_time(ada.page)
    sockets = await Sockets(ada.page).take()
    await ada.page.goto(f"{server.url}/?name=ada")
    await (await sockets.next()).close(code=1012)
    await expect(ada.state).to_contain_text("offline")
    typed = [f"number {number}" for number in range(100)]
    later = [f"and {number}" for number in range(20)]
    type_all = """(texts) => texts.forEach((text) => {
        page.text.value = text;
        page.say.requestSubmit();
    })"""
    await ada.page.evaluate(type_all, typed)
    await expect(ada.lines("waiting")).to_have_text(typed)
    async with server.connect("/ws?name=bob") as bob:
        assert (await bob.receive())["type"] == "welcome"
        await ada.try_now.click()
        (await sockets.next()).connect_to_server()
        assert await bob.receive() == {"type": "joined", "name": "ada"}
        assert await bob.hears() == typed[0]
        # What she types while they are on their way comes after them, and makes them no faster.
        await ada.page.evaluate(type_all, later)
        for text in [*typed[1:], *later]:
            assert await bob.hears() == text
            # A tenth of a second, for the page and for the server.
            await ada.page.clock.run_for(100)
            clock.now += 0.1
        await ada.say("marker")
        assert await bob.hears() == "marker"
    await expect(ada.lines("mine")).to_contain_text([*typed, *later, "marker"])
    await expect(ada.lines("waiting")).to_have_count(0)
    await expect(ada.lines("note")).to_have_text(["bob left"])


async def test_who_finds_the_server_full_waits_and_gets_in_later(
    serve: Serve, guard: Guard, open_window: OpenWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "connections_per_address", 1)
    server = serve("step08_security")
    bob = await open_window()
    await stop_time(bob.page)
    async with server.connect("/ws?name=ada"):
        await bob.page.goto(f"{server.url}/?name=bob")
        await expect(bob.state).to_have_text("offline: the connection was lost")
        assert "Unexpected response code: 429" in complained(guard)
    async with asyncio.timeout(10):
        while await bob.state.inner_text() != "online as bob":
            # The door may not have heard yet that Ada is gone.
            await bob.page.clock.fast_forward(MINUTE)
    complained(guard)


# TLS


async def test_two_windows_talk_over_tls(
    start_process: StartProcess, open_window: OpenWindow, tmp_path: Path
) -> None:
    server = await start_process("step08_security", *certified(tmp_path))
    ada, bob = [await open_window(ignore_https_errors=True) for _ in range(2)]
    for name, window in (("ada", ada), ("bob", bob)):
        async with window.page.expect_websocket() as opened:
            await window.page.goto(f"https://{server.address}/?name={name}")
        assert (await opened.value).url == f"wss://{server.address}/ws?name={name}"
        await expect(window.state).to_have_text(f"online as {name}")
    await bob.say("nobody reads along")
    await expect(ada.lines("theirs")).to_contain_text(["nobody reads along"])
    for window in (ada, bob):
        await window.page.close()
