"""Step 10: rooms, people with several windows, signs of typing, and whispers."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count, permutations
from typing import Any
from unicodedata import category
from urllib.parse import quote

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from steps.step10_rooms import conversation
from steps.step10_rooms.manager import manager
from steps.step10_rooms.settings import settings
from tests.broken import rooms_that_stay
from tests.conftest import Client, Serve, Server, browse, faulty, reset, sign_in
from tests.test_step02_json import MISTAKES

STEP9, STEP10 = "step09_signin", "step10_rooms"
ONE_SOCKET = "tests.broken.one_socket_a_user"
NO_ROOM = "There is no such room. A name is 1 to 20 printable characters."
TYPING = {"type": "typing"}
Frame = dict[str, Any]
Headers = dict[str, str]
Log = pytest.LogCaptureFixture
Patch = pytest.MonkeyPatch


@pytest.fixture
def unhurried(monkeypatch: Patch) -> None:
    """Let everybody speak as fast as a test does."""
    monkeypatch.setattr(settings, "rate", 100_000)


@asynccontextmanager
async def entered(
    server: Server, who: Headers, room: str = "lobby", here: list[str] | None = None
) -> AsyncIterator[Client]:
    """Open a window of somebody's in a room, and read its welcome, which names who is `here`."""
    path = f"/ws/{quote(room, safe='')}"
    async with server.connect(path, additional_headers=who) as client:
        welcome = await client.receive()
        assert welcome["type"] == "welcome", welcome
        assert here is None or welcome["here"] == here
        yield client


async def people(server: Server, *names: str) -> list[Headers]:
    """Sign some people in."""
    return [await sign_in(server, name) for name in names]


async def until(client: Client, marker: str) -> list[Frame]:
    """Return the frames that come before the message or whisper with this text."""
    frames = [await client.receive()]
    while frames[-1].get("text") != marker:
        frames.append(await client.receive())
    return frames[:-1]


async def refusal(server: Server, path: str, who: Headers) -> tuple[int, str]:
    """Return with what a handshake is refused; 101 if it is not."""
    try:
        async with server.connect(path, additional_headers=who):
            return 101, ""
    except InvalidStatus as refused:
        return refused.response.status_code, bytes(refused.response.body or b"").decode()


async def counted(windows: int) -> None:
    """Wait until the server has noticed that all windows but so many are gone."""
    while sum(map(len, manager.rooms.values())) > windows:  # noqa: ASYNC110 - nobody is told
        await asyncio.sleep(0.001)


async def whisper(client: Client, to: str, text: str) -> None:
    """Say something to one person."""
    await client.send({"type": "whisper", "to": to, "text": text})


# Rooms


async def test_the_first_frame_says_who_you_are_and_who_is_in_the_room(serve: Serve) -> None:
    server = serve(STEP10)
    ada, bob, eve = await people(server, "ada", "bob", "eve")
    async with (
        entered(server, bob),
        entered(server, bob),
        entered(server, eve, "garden"),
        server.connect("/ws/lobby", additional_headers=ada) as client,
    ):
        # Bob once, though he has two windows; and not Eve, who is in another room.
        assert await client.receive() == {"type": "welcome", "name": "ada", "here": ["ada", "bob"]}


async def test_what_is_said_in_one_room_is_not_heard_in_another(serve: Serve) -> None:
    server = serve(STEP10)
    ada, bob, eve = await people(server, "ada", "bob", "eve")
    async with (
        entered(server, eve, "garden") as garden,
        entered(server, ada) as lobby,
        entered(server, bob) as listener,
    ):
        await lobby.say("in the lobby")
        await lobby.send(TYPING)
        assert [frame["text"] for frame in await until(listener, "in the lobby")] == []
        await garden.say("in the garden")
        # Neither that Ada came, nor that Bob did, nor what they said.
        assert await until(garden, "in the garden") == []


async def test_one_person_can_be_in_two_rooms_and_leave_one_of_them(serve: Serve) -> None:
    server = serve(STEP10)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, bob) as lobby, entered(server, bob, "garden") as garden:
        async with entered(server, ada), entered(server, ada, "garden", ["ada", "bob"]) as second:
            assert await lobby.receive() == {"type": "joined", "name": "ada"}
            assert await garden.receive() == {"type": "joined", "name": "ada"}
            await second.connection.close()
            assert await garden.receive() == {"type": "left", "name": "ada"}
            await lobby.say("she is still in the lobby")
            assert await until(lobby, "she is still in the lobby") == []
            async with entered(server, bob, here=["ada", "bob"]):
                pass
        assert await lobby.receive() == {"type": "left", "name": "ada"}


async def test_an_announcement_reaches_every_window_in_every_room(serve: Serve) -> None:
    server = serve(STEP10)
    ada, bob = await people(server, "ada", "bob")
    async with (
        entered(server, ada) as first,
        entered(server, ada) as second,
        entered(server, bob, "garden") as third,
        browse(server) as http,
    ):
        answer = await http.post("/announce", json={"text": "lunch"}, headers=ada)
        assert answer.json() == {"delivered": 3}
        for client in (first, second, third):
            assert await client.receive() == {"type": "notice", "text": "lunch"}


async def test_a_room_that_cannot_be_is_a_404_that_says_why(serve: Serve) -> None:
    server = serve(STEP10)
    [ada] = await people(server, "ada")
    async with browse(server) as http:
        ticket = (await http.post("/ticket", headers=ada)).json()["ticket"]
    for room in ["%20", "x" * 21, "a%0Ab", "a%E2%80%AEb", "%00", "a%E2%80%8Bb"]:
        status, said = await refusal(server, f"/ws/{room}?ticket={ticket}", {})
        assert (status, said) == (404, f'{{"detail":"{NO_ROOM}"}}'), room
    # It has not been used up.
    assert (await refusal(server, f"/ws/lobby?ticket={ticket}", {}))[0] == 101


async def test_any_other_name_of_a_room_is_taken_as_it_is_and_trimmed(serve: Serve) -> None:
    server = serve(STEP10)
    [ada] = await people(server, "ada")
    for room in ["lobby", "Lobby", "Ada's room", "客厅", "🦊", "<b>", "a&b=c", "50%", "x" * 20]:
        async with entered(server, ada, f" {room} "):
            assert [*manager.rooms] == [room]


async def test_the_limit_a_character_that_is_newer_than_python_makes_no_room(serve: Serve) -> None:
    server = serve(STEP10)
    [ada] = await people(server, "ada")
    # Among those for emoji are some that no version of Unicode has given away yet.
    unknown = next(c for c in map(chr, range(0x1FA70, 0x20000)) if category(c) == "Cn")
    assert await refusal(server, f"/ws/{quote(unknown)}", ada) == (404, f'{{"detail":"{NO_ROOM}"}}')


async def test_a_path_that_is_no_room_is_a_404_that_says_where_one_is(serve: Serve) -> None:
    server = serve(STEP10)
    [ada] = await people(server, "ada")
    for path in ["/ws", "/ws/", "/ws/a/b", "/ws/a%2Fb", "/ws/lobby/"]:
        status, said = await refusal(server, path, ada)
        assert (status, "The chat is at /ws/lobby." in said) == (404, True), path


async def test_no_room_is_open_to_strangers(serve: Serve) -> None:
    server = serve(STEP10)
    assert (await refusal(server, "/ws/lobby", {}))[0] == 401
    assert (await refusal(server, "/ws/garden?name=ada", {}))[0] == 401


# Windows


@pytest.mark.parametrize("step", [faulty(STEP9, AssertionError), STEP10])
async def test_a_second_window_is_let_in_and_both_hear_everything(serve: Serve, step: str) -> None:
    server = serve(step)
    ada, bob = await people(server, "ada", "bob")
    async with AsyncExitStack() as stack:
        clients = []
        for who in (ada, ada, bob):
            client = await stack.enter_async_context(server.connect(additional_headers=who))
            try:
                assert (await client.receive())["type"] == "welcome"
            except ConnectionClosed:
                raise AssertionError(await client.closed()) from None
            clients.append(client)
        await clients[2].say("hello ada")
        for client in clients:
            await until(client, "hello ada")


def leave(client: Client) -> None:
    """Close a window as browsers do: with a close frame, and without waiting for an answer."""
    client.connection.protocol.send_close(1001)
    client.connection.transport.write(b"".join(client.connection.protocol.data_to_send()))


def hang_up(client: Client) -> None:
    """End the process that has a window: its kernel closes the line, and no frame is sent."""
    client.connection.transport.abort()


ENDS: dict[str, Callable[[Client], None]] = {"closed": leave, "cut": reset, "killed": hang_up}


@pytest.mark.parametrize("how", [*ENDS, "each in its own way"])
async def test_who_has_three_windows_comes_once_and_goes_once(
    serve: Serve, caplog: Log, how: str
) -> None:
    server = serve(STEP10)
    ada, bob = await people(server, "ada", "bob")
    ways = [ENDS[how]] * 3 if how in ENDS else [*ENDS.values()]
    async with entered(server, bob) as witness:
        for order in permutations(range(3)):
            async with AsyncExitStack() as stack:
                opened = [await stack.enter_async_context(entered(server, ada)) for _ in order]
                assert await witness.receive() == {"type": "joined", "name": "ada"}
                for left in (2, 1):
                    ways[left](opened[order[left]])
                    await counted(1 + left)
                await witness.say("marker")
                # She hears of nobody's coming and going: neither of her own, nor of Bob's.
                assert await until(opened[order[0]], "marker") == []
                assert await until(witness, "marker") == []
                ways[0](opened[order[0]])
                assert await witness.receive() == {"type": "left", "name": "ada"}
        await witness.say("marker")
        assert await until(witness, "marker") == []
    server.stop()
    assert caplog.text == ""


async def test_of_twenty_windows_that_open_at_once_the_first_one_joins(serve: Serve) -> None:
    server = serve(STEP10)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, bob) as witness:
        async with AsyncExitStack() as stack:
            windows = [stack.enter_async_context(entered(server, ada)) for _ in range(20)]
            await asyncio.gather(*windows)
            await witness.say("marker")
            assert await until(witness, "marker") == [{"type": "joined", "name": "ada"}]
        assert await witness.receive() == {"type": "left", "name": "ada"}
        await witness.say("marker")
        assert await until(witness, "marker") == []


async def test_who_signs_out_is_signed_out_in_all_windows_and_all_rooms(serve: Serve) -> None:
    server = serve(STEP10)
    ada, bob = await people(server, "ada", "bob")
    async with (
        entered(server, bob) as lobby,
        entered(server, bob, "garden") as garden,
        entered(server, ada) as first,
        entered(server, ada) as second,
        entered(server, ada, "garden") as third,
        browse(server) as http,
    ):
        await http.delete("/session", headers=ada)
        for client in (first, second, third):
            assert await client.closed() == (4401, "You have signed out.")
        for client in (lobby, garden):
            assert await client.receive() == {"type": "joined", "name": "ada"}
            assert await client.receive() == {"type": "left", "name": "ada"}
            await client.say("marker")
            assert await until(client, "marker") == []


async def test_a_fault_in_one_window_leaves_the_others_alone(
    serve: Serve, monkeypatch: Patch, caplog: Log
) -> None:
    read = conversation.read

    def fail(text: str | None) -> Any:
        if text == "fail":
            raise ZeroDivisionError
        return read(text)

    monkeypatch.setattr(conversation, "read", fail)
    server = serve(STEP10)
    ada, bob = await people(server, "ada", "bob")
    async with (
        entered(server, bob) as witness,
        entered(server, ada) as first,
        entered(server, ada) as second,
    ):
        await first.send("fail")
        assert (await first.closed())[0] == 1011
        await second.say("marker")
        assert await until(second, "marker") == []
        assert await until(witness, "marker") == [{"type": "joined", "name": "ada"}]
    assert caplog.text.count("Traceback") == 1


async def test_a_line_that_has_died_silently_is_here_until_a_ping_gives_it_up(
    serve: Serve,
) -> None:
    server = serve(STEP10, ws_ping_interval=0.2, ws_ping_timeout=1)
    ada, bob, eve = await people(server, "ada", "bob", "eve")
    async with (
        entered(server, ada) as only_one,
        entered(server, eve) as first,
        entered(server, eve) as second,
        entered(server, bob, here=["ada", "bob", "eve"]) as witness,
    ):
        for client in (only_one, first):
            client.connection.transport.pause_reading()  # it takes in nothing, and answers no ping
        async with entered(server, bob, here=["ada", "bob", "eve"]):
            pass
        await counted(2)
        # Eve has another window, and has not left.
        await second.say("marker")
        assert await until(witness, "marker") == [{"type": "left", "name": "ada"}]
        for client in (only_one, first):
            client.connection.transport.abort()


async def test_the_limit_who_reloads_their_only_window_has_left_and_joined(serve: Serve) -> None:
    server = serve(STEP10)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, bob) as witness:
        for _ in range(2):
            async with entered(server, ada):
                pass
        heard = [await witness.receive() for _ in range(4)]
        assert [frame["type"] for frame in heard] == ["joined", "left"] * 2


# Typing


async def test_a_sign_of_typing_goes_to_the_others_in_the_room(serve: Serve) -> None:
    server = serve(STEP10)
    ada, bob, eve = await people(server, "ada", "bob", "eve")
    async with (
        entered(server, eve, "garden") as garden,
        entered(server, bob) as first,
        entered(server, bob) as second,
        entered(server, ada) as ada_types,
        entered(server, ada) as ada_too,
        entered(server, ada, "garden") as ada_elsewhere,
    ):
        await ada_types.send(TYPING)
        await ada_types.say("done")
        came = {"type": "joined", "name": "ada"}
        typing = {"type": "typing", "name": "ada"}
        for client, before in [
            (first, [came, typing]),
            (second, [came, typing]),
            (ada_types, []),
            (ada_too, []),
        ]:
            assert await until(client, "done") == before
        await garden.say("marker")
        assert await until(garden, "marker") == [came]
        assert await until(ada_elsewhere, "marker") == []


# Whispers


async def test_a_whisper_is_heard_in_all_windows_of_two_people_and_by_nobody_else(
    serve: Serve,
) -> None:
    server = serve(STEP10)
    ada, bob, eve = await people(server, "ada", "bob", "eve")
    rooms = ("lobby", "lobby", "garden")
    async with AsyncExitStack() as stack:
        theirs = {
            name: [await stack.enter_async_context(entered(server, who, room)) for room in rooms]
            for name, who in {"eve": eve, "ada": ada, "bob": bob}.items()
        }
        await whisper(theirs["ada"][0], "bob", "psst")
        for client in theirs["ada"] + theirs["bob"]:
            while (frame := await client.receive())["type"] == "joined":
                pass
            assert frame.pop("at")
            assert frame == {"type": "whisper", "name": "ada", "to": "bob", "text": "psst"}
        for room in ("lobby", "garden"):
            await theirs["ada"][rooms.index(room)].say(f"marker in the {room}")
        for room, client in zip(rooms, theirs["eve"], strict=True):
            frames = await until(client, f"marker in the {room}")
            assert {frame["type"] for frame in frames} == {"joined"}
        # Nor was it twice anywhere.
        for room, client in zip(rooms, theirs["bob"], strict=True):
            assert await until(client, f"marker in the {room}") == []


async def test_a_whisper_to_somebody_who_is_not_here_is_answered_to_who_whispered(
    serve: Serve,
) -> None:
    server = serve(STEP10)
    ada, bob, _ = await people(server, "ada", "bob", "eve")  # Eve is signed in, and has no window
    async with (
        entered(server, bob) as witness,
        entered(server, ada) as first,
        entered(server, ada) as second,
    ):
        for name in ("eve", "nobody", "Bob", " bob", "x" * 20):
            await whisper(first, name, "psst")
            assert await first.receive() == {
                "type": "error",
                "code": "not_here",
                "detail": f"{name} is not here, and has not heard it.",
            }
        await first.say("marker")
        assert await until(second, "marker") == []
        assert await until(witness, "marker") == [{"type": "joined", "name": "ada"}]


async def test_who_whispers_to_themselves_hears_it_once_in_each_window(serve: Serve) -> None:
    server = serve(STEP10)
    [ada] = await people(server, "ada")
    async with entered(server, ada) as first, entered(server, ada, "garden") as second:
        await whisper(first, "ada", "milk")
        await whisper(first, "ada", "marker")
        for client in (first, second):
            assert [frame["text"] for frame in await until(client, "marker")] == ["milk"]


async def test_a_whisper_to_somebody_who_is_gone_does_not_wait_for_them(serve: Serve) -> None:
    server = serve(STEP10)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, ada) as client:
        async with entered(server, bob):
            assert await client.receive() == {"type": "joined", "name": "bob"}
        assert await client.receive() == {"type": "left", "name": "bob"}
        await whisper(client, "bob", "psst")
        assert (await client.receive())["code"] == "not_here"
        async with entered(server, bob) as back:
            await client.say("marker")
            assert await until(back, "marker") == []


# Mistakes


NEW_MISTAKES = {
    '{"text":"hi"}': "Unable to extract tag using discriminator 'type'",
    '{"type":"shout"}': "does not match any of the expected tags: 'say', 'typing', 'whisper'",
    '{"type":["say"]}': "does not match any of the expected tags",
    '{"type":"say"}': "say.text: Field required",
    '{"type":"whisper","text":"psst"}': "whisper.to: Field required",
    '{"type":"whisper","to":"","text":"psst"}': "whisper.to: String should have at least 1",
    f'{{"type":"whisper","to":"{"x" * 21}","text":"psst"}}': "whisper.to: String should have",
    '{"type":"whisper","to":"bob"}': "whisper.text: Field required",
    '{"type":"whisper","to":"bob","text":""}': "whisper.text: String should have at least 1",
    f'{{"type":"whisper","to":"bob","text":"{"x" * 2001}"}}': "whisper.text: String should",
}


async def test_a_mistake_is_named_with_its_type_and_field_to_its_maker_alone(serve: Serve) -> None:
    server = serve(STEP10)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, bob) as witness, entered(server, ada) as client:
        for frame, detail in NEW_MISTAKES.items():
            await client.send(frame)
            error = await client.receive()
            assert (error["type"], error["code"]) == ("error", "bad_message"), frame
            assert detail in error["detail"], frame
        await client.say("sorry")
        assert await until(witness, "sorry") == [{"type": "joined", "name": "ada"}]


async def test_the_mistakes_of_before_have_the_codes_of_before(serve: Serve) -> None:
    server = serve(STEP10)
    [ada] = await people(server, "ada")
    async with entered(server, ada) as client:
        for mistake, (frame, code, _) in MISTAKES.items():
            await client.send(frame)
            expected = "too_big" if len(frame) > settings.max_bytes else code
            assert (await client.receive())["code"] == expected, mistake


@pytest.mark.parametrize("frame", [TYPING, {"type": "whisper", "to": "bob", "text": "psst"}])
async def test_typing_and_whispers_are_counted_like_everything_else(
    serve: Serve, monkeypatch: Patch, frame: Frame
) -> None:
    monkeypatch.setattr(settings, "rate", 1)
    server = serve(STEP10)
    ada, bob = await people(server, "ada", "bob")
    async with entered(server, ada) as client, entered(server, bob) as witness:
        for _ in range(20):
            await client.send(frame)
        assert await client.closed() == (4429, "Too fast for too long.")
        types = Counter([(await witness.receive())["type"] for _ in range(3)])
        assert types == {frame["type"]: 2, "left": 1}


async def test_the_limit_each_window_has_a_rate_of_its_own(
    serve: Serve, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(settings, "rate", 1)
    server = serve(STEP10)
    [ada] = await people(server, "ada")
    async with entered(server, ada) as first, entered(server, ada) as second:
        for client in (first, second):
            for _ in range(3):
                await whisper(client, "nobody", "psst")
            answers = [(await client.receive())["code"] for _ in range(3)]
            assert answers == ["not_here", "not_here", "too_fast"]


# What is empty


@pytest.mark.parametrize("app", [faulty("rooms_that_stay", AssertionError), STEP10])
async def test_a_room_that_everyone_has_left_takes_no_memory(serve: Serve, app: str) -> None:
    broken = app == "rooms_that_stay"
    server = serve(rooms_that_stay.app if broken else app)
    ada = {} if broken else await sign_in(server, "ada")
    books = rooms_that_stay.manager.rooms if broken else manager.rooms

    async def visit(numbers: range) -> None:
        for number in numbers:
            async with server.connect(f"/ws/{number}", additional_headers=ada) as client:
                await client.send(TYPING)
                await client.say("anybody?")
                while "anybody?" not in str(await client.connection.recv()):
                    pass

    await asyncio.gather(*(visit(range(start, 200, 10)) for start in range(10)))
    await asyncio.to_thread(server.stop)
    assert not books
    assert not manager.people


async def test_a_thousand_whispers_to_nobody_leave_nothing_in_the_books(
    serve: Serve, unhurried: None
) -> None:
    del unhurried
    server = serve(STEP10)
    [ada] = await people(server, "ada")
    async with entered(server, ada) as client:
        for number in range(1000):
            await whisper(client, f"nobody {number}", "psst")
        for _ in range(1000):
            assert (await client.receive())["code"] == "not_here"
        assert ([*manager.people], [*manager.rooms]) == (["ada"], ["lobby"])


# What is passed around


async def texts(client: Client) -> list[str]:
    """Return the texts of all that was said to somebody whose server has stopped."""
    said = []
    try:
        while True:
            frame = await client.receive()
            said += [frame["text"]] if frame["type"] == "message" else []
    except ConnectionClosed:
        return said


@asynccontextmanager
async def windows(server: Server, app: str, *names: str) -> AsyncIterator[list[Client]]:
    """Open some windows, one after the other. What is broken finds the name in the address."""
    who = {name: await sign_in(server, name) if app == STEP10 else {} for name in set(names)}
    async with AsyncExitStack() as stack:
        opened = []
        for name in names:
            socket = server.connect(f"?name={name}", additional_headers=who[name])
            opened.append(await stack.enter_async_context(socket))
            assert (await opened[-1].receive())["type"] == "welcome"
        yield opened


@pytest.mark.parametrize("app", [faulty(ONE_SOCKET, AssertionError), STEP10])
async def test_the_first_window_still_hears_when_a_second_is_open(serve: Serve, app: str) -> None:
    server = serve(app)
    async with windows(server, app, "ada", "ada", "bob") as (first, second, bob):
        await bob.say("hello ada")
        for client in (bob, second):
            await until(client, "hello ada")
        await asyncio.to_thread(server.stop)
        assert await texts(first) == ["hello ada"]


@pytest.mark.parametrize("app", [faulty(ONE_SOCKET, AssertionError), STEP10])
@pytest.mark.parametrize("closed", [0, 1])
async def test_who_closes_one_of_two_windows_has_not_left(
    serve: Serve, app: str, closed: int
) -> None:
    server = serve(app)
    async with windows(server, app, "ada", "ada", "bob") as clients:
        await clients.pop(closed).connection.close()
        other, bob = clients
        await other.say("I am here")
        heard = await until(bob, "I am here")
        assert {"type": "left", "name": "ada"} not in heard
        await bob.say("hello ada")
        await until(bob, "hello ada")
        await asyncio.to_thread(server.stop)
        assert "hello ada" in await texts(other)


# The promise


class Member:
    """A window, what it has heard, and what it should have."""

    def __init__(self, client: Client, name: str, room: str) -> None:
        self.client = client
        self.name = name
        self.room = room
        self.heard: list[Frame] = []
        self.expected: list[Frame] = []

    async def hears(self, frame: Frame) -> None:
        """Read on until this frame."""
        while frame not in self.heard[-1:]:
            self.heard.append(await self.client.receive())
            self.heard[-1].pop("at", None)


class House:
    """All windows that are open, and what each must hear of what is done in any of them."""

    def __init__(self, server: Server, who: dict[str, Headers], stack: AsyncExitStack) -> None:
        self.server = server
        self.who = who
        self.stack = stack
        self.members: list[Member] = []
        self.numbers = count()

    def inside(self, room: str) -> list[Member]:
        """Return the windows in a room."""
        return [member for member in self.members if member.room == room]

    def tell(self, members: list[Member], frame: Frame) -> None:
        """Note what these windows must hear next."""
        for member in members:
            member.expected.append(frame)

    async def enter(self, name: str, room: str) -> None:
        """Open a window."""
        inside = self.inside(room)
        here = sorted({name, *(member.name for member in inside)})
        client = await self.stack.enter_async_context(
            entered(self.server, self.who[name], room, here)
        )
        if name not in [member.name for member in inside]:
            self.tell(inside, {"type": "joined", "name": name})
        self.members.append(Member(client, name, room))

    async def say(self, member: Member) -> None:
        """Type something, and say it: after that, all that was before it has been heard."""
        inside, said = self.inside(member.room), f"number {next(self.numbers)}"
        others = [other for other in inside if other.name != member.name]
        await member.client.send(TYPING)
        self.tell(others, {"type": "typing", "name": member.name})
        await member.client.say(said)
        frame = {"type": "message", "name": member.name, "text": said}
        self.tell(inside, frame)
        await member.hears(frame)

    async def whisper(self, member: Member, to: str) -> None:
        """Say something to one person."""
        said = f"number {next(self.numbers)}"
        await whisper(member.client, to, said)
        frame = {"type": "whisper", "name": member.name, "to": to, "text": said}
        concerned = [other for other in self.members if other.name in (member.name, to)]
        if to not in [other.name for other in concerned]:
            detail = f"{to} is not here, and has not heard it."
            frame, concerned = {"type": "error", "code": "not_here", "detail": detail}, [member]
        self.tell(concerned, frame)
        await member.hears(frame)

    async def leave(self, member: Member, end: Callable[[Client], None]) -> None:
        """Look at what a window has heard, and close it."""
        await self.say(member)
        assert member.heard == member.expected
        self.members.remove(member)
        end(member.client)
        await counted(len(self.members))
        inside = self.inside(member.room)
        if member.name not in [other.name for other in inside]:
            self.tell(inside, {"type": "left", "name": member.name})


@pytest.mark.parametrize("seed", range(3))
async def test_what_is_said_is_heard_in_all_windows_that_it_is_for_and_nowhere_else(
    serve: Serve, unhurried: None, seed: int
) -> None:
    del unhurried
    chance, server = random.Random(seed), serve(STEP10)  # noqa: S311 - no secret is made of it
    names, rooms = ["ada", "bob", "eve", "joe"], ["lobby", "garden", "kitchen"]
    who = dict(zip(names, await people(server, *names), strict=True))
    async with AsyncExitStack() as stack:
        house = House(server, who, stack)
        await house.enter("ada", "lobby")
        for _ in range(200):
            member = chance.choice(house.members)
            match chance.choice(["enter", "say", "whisper", "leave"]):
                case "enter" if len(house.members) < 12:
                    await house.enter(chance.choice(names), chance.choice(rooms))
                case "whisper":
                    await house.whisper(member, chance.choice(names))
                case "leave" if len(house.members) > 1:
                    await house.leave(member, chance.choice([*ENDS.values()]))
                case _:
                    await house.say(member)
        for member in [*house.members]:
            await house.leave(member, leave)
