"""Step 10's page: rooms, several windows, who is typing, and whispers."""

import re
from contextlib import AsyncExitStack
from typing import Literal
from urllib.parse import urlencode

import pytest
from playwright.async_api import ViewportSize, WebSocket, expect

from tests.browser.conftest import PHONE, Guard, OpenWindow, Window
from tests.browser.test_step05_chat_page import stop_time
from tests.browser.test_step09_signin_page import Line, another
from tests.conftest import Serve, Server, browse, sign_in
from tests.test_step09_signin import token_of
from tests.test_step10_rooms import TYPING, entered, people, until, whisper

STEP10 = "step10_rooms"
LOOKS: list[tuple[Literal["light", "dark"], ViewportSize]] = [
    ("light", ViewportSize(width=1280, height=800)),
    ("dark", PHONE),
]
MARKUP = "<img src onerror=x>"


@pytest.fixture(autouse=True)
def refused(guard: Guard) -> None:
    """Expect what a browser prints when nobody is signed in, and when a test cuts a line."""
    guard.refusals |= {401, 503}


async def open_as(window: Window, server: Server, name: str) -> Window:
    """Go to the page as somebody who has signed in before."""
    token = token_of(await sign_in(server, name))
    await window.page.context.add_cookies(
        [{"name": "chat_session", "value": token, "url": server.url}]
    )
    await window.page.goto(server.url)
    await expect(window.state).to_have_text(f"online as {name}")
    return window


async def online(open_window: OpenWindow, server: Server, name: str) -> Window:
    """Open a window of somebody who has signed in before."""
    return await open_as(await open_window(), server, name)


async def go(window: Window, room: str) -> None:
    """Enter another room."""
    await window.room.fill(room)
    await window.room.press("Enter")
    await expect(window.page).to_have_title(f"{room} · Chat")
    await expect(window.state).to_contain_text("online as")


# Rooms


async def test_two_people_meet_in_another_room_and_nobody_else_hears_them(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP10)
    [eve] = await people(server, "eve")
    async with entered(server, eve) as lobby:
        ada, bob = [await online(open_window, server, name) for name in ("ada", "bob")]
        await expect(ada.room).to_have_value("lobby")
        await ada.say("follow me")
        await expect(bob.lines("theirs")).to_contain_text(["ada follow me"])
        for window in (ada, bob):
            await go(window, "garden")
            await expect(window.text).to_be_focused()
            # What was said in the lobby stays there.
            await expect(window.log).not_to_contain_text("follow me")
        await expect(bob.people).to_have_text(["ada", "bob"])
        await expect(ada.people).to_have_text(["ada", "bob"])
        await bob.say("just us")
        await expect(ada.lines("theirs")).to_contain_text(["bob just us"])
        await lobby.say("marker")
        heard = await until(lobby, "marker")
        assert [frame["text"] for frame in heard if frame["type"] == "message"] == ["follow me"]
        assert [frame["name"] for frame in heard if frame["type"] == "left"] == ["ada", "bob"]


async def test_the_address_keeps_the_room_for_a_reload_and_for_friends(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP10)
    ada = await online(open_window, server, "ada")
    await go(ada, "Ada's & Bob's")
    await ada.page.reload()
    await expect(ada.state).to_have_text("online as ada")
    await expect(ada.room).to_have_value("Ada's & Bob's")
    bob = await open_window(ada.page.url)
    await bob.sign_in("bob")
    await expect(bob.people).to_have_text(["ada", "bob"])


async def test_a_room_that_cannot_be_is_not_entered(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(STEP10)
    window = await online(open_window, server, "ada")
    for room in ["a/b", ".", "..", "x" * 21, "a\u200bb", "🦊" * 21]:
        await window.room.fill(room)
        await window.room.press("Enter")
        # The browser has said what is wrong, and the page has done nothing.
        assert await window.room.evaluate("(field) => !field.validity.valid"), room
        await expect(window.state).to_have_text("online as ada")
        await expect(window.page).to_have_title("lobby · Chat")
    for room in ["..", "x" * 21]:
        await window.page.goto(f"{server.url}/?{urlencode({'room': room})}")
        await expect(window.state).to_have_text("online as ada")
        await expect(window.room).to_have_value("lobby")


async def test_any_other_room_is_entered_as_it_is(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(STEP10)
    window = await online(open_window, server, "ada")
    [bob] = await people(server, "bob")
    for room in ["🦊" * 20, "...", "50%", "a?b#c&d", MARKUP]:
        await go(window, room)
        async with entered(server, bob, room, here=["ada", "bob"]):
            await expect(window.people).to_have_text(["ada", "bob"])
    await window.page.reload()
    await expect(window.room).to_have_value(MARKUP)
    await expect(window.page.locator("img")).to_have_count(0)


async def test_what_waits_is_said_in_the_room_in_which_it_was_typed(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP10)
    [bob] = await people(server, "bob")
    ada = await open_window()
    line = await Line(ada.page).take()
    await open_as(ada, server, "ada")
    await line.cut()
    await expect(ada.state).to_contain_text("offline")
    await ada.say("for the lobby")
    await ada.room.fill("garden")
    await ada.room.press("Enter")
    await expect(ada.lines("waiting")).to_have_count(0)
    await expect(ada.state).to_contain_text("offline")
    await ada.say("for the garden")
    await line.mend()
    async with entered(server, bob) as lobby, entered(server, bob, "garden") as garden:
        await ada.try_now.click()
        await until(garden, "for the garden")
        await expect(ada.lines("mine")).to_contain_text(["for the garden"])
        await expect(ada.log).not_to_contain_text("for the lobby")
        await go(ada, "lobby")
        heard = await until(lobby, "for the lobby")
        assert heard == [{"type": "joined", "name": "ada"}]
        await expect(ada.lines("mine")).to_contain_text(["for the lobby"])
        await garden.say("marker")
        assert await until(garden, "marker") == [{"type": "left", "name": "ada"}]


# Windows


async def test_several_windows_of_one_browser_are_one_person(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP10)
    bob = await online(open_window, server, "bob")
    first = await online(open_window, server, "ada")
    second = await another(first, server.url)
    await expect(second.state).to_have_text("online as ada")
    await expect(bob.people).to_have_text(["ada", "bob"])
    await first.say("from the first")
    await expect(second.lines("mine")).to_contain_text(["ada from the first"])
    await bob.say("hello ada")
    for window in (first, second):
        await expect(window.lines("theirs")).to_contain_text(["bob hello ada"])
    await first.page.close()
    await second.say("still here")
    await expect(bob.lines("theirs")).to_contain_text(["still here"])
    await expect(bob.lines("note")).to_have_text(["ada joined"])
    await second.page.close()
    await expect(bob.lines("note")).to_have_text(["ada joined", "ada left"])


async def test_signing_out_in_one_window_ends_all_of_them(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP10)
    first = await online(open_window, server, "ada")
    second = await another(first, f"{server.url}/?room=garden")
    await expect(second.state).to_have_text("online as ada")
    await first.sign_out.click()
    await expect(first.state).to_have_text("signed out")
    await expect(second.state).to_have_text("You have signed out.")


# Typing


async def test_who_is_typing_is_seen_until_they_have_said_it(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP10)
    [eve] = await people(server, "eve")
    ada, bob = await online(open_window, server, "ada"), await open_window()
    await stop_time(bob.page)  # here no sign ends by itself
    await open_as(bob, server, "bob")
    async with entered(server, eve) as client:
        await ada.text.press_sequentially("hel")
        await expect(bob.typing).to_have_text("ada is typing")
        await client.send(TYPING)
        await expect(bob.typing).to_have_text("ada, eve are typing")
        await expect(ada.typing).to_have_text("eve is typing")
        await ada.text.press("Enter")
        await expect(bob.typing).to_have_text("eve is typing")
    # Who goes in the middle of a word has stopped.
    await expect(bob.typing).to_have_text("")


async def test_a_sign_of_typing_ends_by_itself_and_is_renewed_while_one_types(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP10)
    ada, bob = await open_window(), await open_window()
    sent: list[str | bytes] = []

    def watch(socket: WebSocket) -> None:
        socket.on("framesent", lambda payload: sent.append(payload))

    ada.page.on("websocket", watch)
    for name, window in (("ada", ada), ("bob", bob)):
        await stop_time(window.page)
        await open_as(window, server, name)
    await ada.text.press_sequentially("hello")
    await expect(bob.typing).to_have_text("ada is typing")
    await ada.page.clock.run_for(2499)
    await ada.text.press_sequentially(" bob")
    await ada.page.clock.run_for(1)
    await bob.page.clock.run_for(4999)
    assert sent == ['{"type":"typing"}']
    await expect(bob.typing).to_have_text("ada is typing")
    # Renewed at the last moment, it is good for five seconds more.
    await ada.text.press("!")
    await ada.page.wait_for_function("typedAt === Date.now()")
    await ada.say("hello bob!")
    await expect(bob.lines("theirs")).to_contain_text(["hello bob!"])
    await expect(bob.typing).to_have_text("")
    await ada.text.press("?")
    await expect(bob.typing).to_have_text("ada is typing")
    await bob.page.clock.run_for(5000)
    await expect(bob.typing).to_have_text("")


# Whispers


async def test_two_people_whisper_by_keyboard_and_nobody_else_knows(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP10)
    [eve] = await people(server, "eve")
    ada, bob = [await online(open_window, server, name) for name in ("ada", "bob")]
    await expect(ada.people).to_have_text(["ada", "bob"])
    async with entered(server, eve) as client:
        await ada.text.focus()
        await ada.page.keyboard.press("Shift+Tab")
        await expect(ada.to).to_be_focused()
        await ada.page.keyboard.type("b")
        await expect(ada.to).to_have_value("bob")
        await ada.page.keyboard.press("Tab")
        await ada.page.keyboard.type("psst")
        await ada.page.keyboard.press("Enter")
        await expect(bob.lines("theirs.whisper")).to_contain_text(["ada to you alone psst"])
        await expect(ada.lines("mine.whisper")).to_contain_text(["to bob alone psst"])
        await bob.to.select_option("ada")
        await bob.say("what?")
        await expect(ada.lines("theirs.whisper")).to_contain_text(["bob to you alone what?"])
        # Nor that they were typing.
        await client.say("marker")
        assert await until(client, "marker") == []


async def test_a_whisper_never_becomes_public(serve: Serve, open_window: OpenWindow) -> None:
    server = serve(STEP10)
    bob, eve = await people(server, "bob", "eve")
    ada = await online(open_window, server, "ada")
    async with entered(server, eve) as lobby, entered(server, eve, "garden") as garden:
        async with entered(server, bob):
            await ada.to.select_option("bob")
        await expect(ada.people).to_have_text(["ada", "eve"])
        for client in (lobby, garden):
            await expect(ada.to).to_have_value("bob")
            await ada.say("do not tell eve")
            gone = "not_here: bob is not here, and has not heard it."
            await expect(ada.lines("note").last).to_have_text(gone)
            await client.say("marker")
            assert {frame["type"] for frame in await until(client, "marker")} <= {"joined", "left"}
            await go(ada, "garden")


async def test_a_whisper_stays_one_when_its_window_becomes_the_person_it_is_for(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP10)
    eve, ada = await people(server, "eve", "ada")
    window = await online(open_window, server, "bob")
    async with entered(server, eve) as witness, browse(server) as http:
        async with entered(server, ada):
            await window.to.select_option("ada")
            await window.text.fill("for ada alone")
            await http.delete("/session", headers=ada)
        # In another window of this browser somebody signs in under the name that is free now.
        other = await another(window, server.url)
        await other.sign_out.click()
        await other.sign_in("ada")
        await expect(other.state).to_have_text("online as ada")
        await window.sign_in("ada")
        await expect(window.state).to_have_text("online as ada")
        await expect(window.to).to_have_value("ada")
        await window.text.press("Enter")
        await expect(other.lines("whisper")).to_contain_text(["for ada alone"])
        await witness.say("marker")
        heard = await until(witness, "marker")
        assert {frame["type"] for frame in heard} == {"joined", "left"}


async def test_who_whispers_from_another_room_can_be_answered(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP10)
    [bob] = await people(server, "bob")
    ada = await online(open_window, server, "ada")
    async with entered(server, bob, "garden") as garden:
        await whisper(garden, "ada", "come here")
        await expect(ada.lines("theirs.whisper")).to_contain_text(["bob to you alone come here"])
        await expect(ada.people).to_have_text(["ada"])
        await ada.to.select_option("bob")
        await ada.say("where?")
        assert [frame["text"] for frame in await until(garden, "where?")] == ["come here"]


async def test_everyone_can_be_whispered_to_whatever_their_name(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP10)
    ada = await online(open_window, server, "ada")
    names = [MARKUP, "everyone", "two  spaces"]
    async with AsyncExitStack() as stack:
        for place, who in enumerate(await people(server, *names), 1):
            client = await stack.enter_async_context(entered(server, who))
            await expect(ada.to.locator("option")).to_have_count(1 + place)
            await ada.to.select_option(index=place)
            await ada.say("psst")
            assert {frame["type"] for frame in await until(client, "psst")} <= {"joined"}
    everyone = "everyone in this room"
    await expect(ada.to.locator("option")).to_have_text([everyone, *names])
    assert len(everyone) > 20  # nobody can be called so


async def test_a_whisper_waits_for_the_connection_and_stays_one(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP10)
    bob, eve = await people(server, "bob", "eve")
    ada = await open_window()
    line = await Line(ada.page).take()
    await open_as(ada, server, "ada")
    async with entered(server, bob) as listener, entered(server, eve) as other:
        await ada.to.select_option("bob")
        await line.cut()
        await expect(ada.state).to_contain_text("offline")
        await expect(ada.to).to_have_value("bob")
        await ada.say("psst")
        await expect(ada.lines("waiting")).to_have_text([re.compile("^to bob alone psst")])
        await ada.to.select_option("")
        await ada.say("hello")
        await line.mend()
        await ada.try_now.click()
        await until(listener, "psst")
        assert "psst" not in [frame.get("text") for frame in await until(other, "hello")]


async def test_after_signing_out_nobody_sees_with_whom_one_has_whispered(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP10)
    [bob] = await people(server, "bob")
    ada = await online(open_window, server, "ada")
    async with entered(server, bob) as client:
        await ada.to.select_option("bob")
        await ada.say("psst")
        await until(client, "psst")
        await expect(ada.lines("whisper")).to_have_count(1)
        await ada.sign_out.click()
        await expect(ada.state).to_have_text("signed out")
        await expect(ada.to.locator("option")).to_have_text(["everyone in this room"])
        await expect(ada.log).to_have_text("")


# Hands and eyes


async def test_a_room_is_entered_by_keyboard(serve: Serve, open_window: OpenWindow) -> None:
    ada = await online(open_window, serve(STEP10), "ada")
    keyboard = ada.page.keyboard
    await ada.text.focus()
    for field in (ada.to, ada.log, ada.sign_out):
        await keyboard.press("Shift+Tab")
        await expect(field).to_be_focused()
    for _ in range(2):  # the list of who is here, which may be long enough to scroll; the button
        await keyboard.press("Shift+Tab")
    await expect(ada.page.get_by_role("button", name="Enter")).to_be_focused()
    await keyboard.press("Shift+Tab")
    await expect(ada.room).to_be_focused()
    await expect(ada.room).to_have_css("outline-style", "solid")
    await keyboard.press("Control+A")
    await keyboard.type("garden")
    await keyboard.press("Enter")
    await expect(ada.page).to_have_title("garden · Chat")
    await expect(ada.text).to_be_focused()


async def test_it_is_for_everyone_in_each_of_its_states(
    serve: Serve, open_window: OpenWindow
) -> None:
    server = serve(STEP10)
    long = "W" * 20
    [bob] = await people(server, long)
    ada = await online(open_window, server, "ada")

    async def look(window: Window) -> None:
        for scheme, size in LOOKS:
            await window.page.emulate_media(color_scheme=scheme)
            await window.page.set_viewport_size(size)
            assert await window.outside() == []
            assert await window.complaints() == []
            for part in (window.send, window.to, window.room):
                await expect(part).to_be_in_viewport(ratio=1)
            # Wide enough to see what one types: a dozen letters.
            box = await window.text.bounding_box()
            assert box
            assert box["width"] > 120

    async with entered(server, bob) as client:
        await ada.to.select_option(long)
        await ada.say("psst")
        await whisper(client, "ada", "a whisper of some length, which a phone breaks into lines")
        await expect(ada.lines("theirs.whisper")).to_have_count(1)
        await client.send(TYPING)
        await expect(ada.typing).to_have_text(f"{long} is typing")
        # It is not read aloud: the messages are, and they are enough.
        await expect(ada.page.get_by_role("status")).to_have_count(1)
        await look(ada)
    await go(ada, long)
    await look(ada)
