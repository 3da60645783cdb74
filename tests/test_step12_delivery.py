"""Step 12: what is said has a key, is acknowledged when it is safe, and is said once."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from _pytest.mark import ParameterSet
from websockets.exceptions import ConnectionClosed

from steps.step12_delivery.history import History, history
from tests import delivery_machine as machine
from tests import delivery_server as changed
from tests.broken import numbered_messages
from tests.conftest import Client, Host, Serve, faulty, reset, sign_in
from tests.delivery_server import Append, Killable, proof

STEP11, STEP12 = "step11_history", "step12_delivery"
NUMBERED = "tests.broken.numbered_messages"
Frame = dict[str, Any]
Headers = dict[str, str]
Patch = pytest.MonkeyPatch


def new_key() -> str:
    """Make up a key, as the page does."""
    return str(uuid4())


def found(change: object, seen_as: type[Exception] = AssertionError) -> ParameterSet:
    """Name something broken, on which a test must fail with this exception."""
    return pytest.param(change, marks=pytest.mark.xfail(raises=seen_as, reason="broken on purpose"))


@asynccontextmanager
async def entered(server: Host, who: Headers, path: str = "") -> AsyncIterator[Client]:
    """Open a window of somebody's, and read its welcome."""
    async with server.connect(path, additional_headers=who, compression=None) as client:
        assert (await client.receive())["type"] == "welcome"
        yield client


async def say(client: Client, text: str, key: object) -> None:
    """Say something with a key."""
    await client.send({"type": "say", "text": text, "key": key})


async def answer(client: Client) -> Frame:
    """Return the next answer to this client alone: an ack or an error."""
    while (frame := await client.receive())["type"] not in ("ack", "error"):
        pass
    return frame


async def texts_until(client: Client, marker: str) -> list[str]:
    """Return the texts of the messages that come before this one."""
    texts: list[str] = []
    while (frame := await client.receive()).get("text") != marker:
        texts += [frame["text"]] if frame["type"] == "message" else []
    return texts


def kept(log: str, room: str = "lobby") -> list[tuple[int, str, str]]:
    """Return what is in a room's log: ids, names and texts."""
    with closing(sqlite3.connect(log.removeprefix("sqlite:///"))) as database:
        query = "SELECT id, name, text FROM messages WHERE room = ? ORDER BY id"
        return database.execute(query, (room,)).fetchall()


# The ack


async def test_what_is_said_with_a_key_is_acknowledged_to_who_said_it(serve: Serve) -> None:
    server = serve(STEP12)
    ada, bob = [await sign_in(server, name) for name in ("ada", "bob")]
    async with entered(server, ada) as client, entered(server, bob) as other:
        key = new_key()
        await say(client, "hello", key)
        assert await client.receive() == {"type": "joined", "name": "bob"}
        message = await client.receive()
        assert (message["type"], message["id"], message["text"]) == ("message", 1, "hello")
        assert "key" not in message
        assert await client.receive() == {"type": "ack", "key": key, "id": 1}
        await client.say("marker")
        # The others hear the two messages, and no ack.
        assert [await other.hears(), await other.hears()] == ["hello", "marker"]


@pytest.mark.parametrize("more", [{}, {"key": None}])
async def test_without_a_key_it_is_said_and_not_acknowledged(
    serve: Serve, log: str, more: Frame
) -> None:
    server = serve(STEP12)
    async with entered(server, await sign_in(server, "ada")) as client:
        for _ in range(2):
            await client.send({"type": "say", "text": "hello", **more})
        await say(client, "marker", new_key())
        assert [await client.hears() for _ in range(3)] == ["hello", "hello", "marker"]
        assert (await client.receive())["id"] == 3
    # What comes twice without a key is said twice.
    assert [text for _, _, text in kept(log)] == ["hello", "hello", "marker"]


@pytest.mark.parametrize("key", ["", "1", "undefined-0", 1, True, [], {}, "g" * 32, "0" * 33])
async def test_what_is_no_uuid_is_refused_as_a_bad_message(
    serve: Serve, log: str, key: object
) -> None:
    server = serve(STEP12)
    async with entered(server, await sign_in(server, "ada")) as client:
        await say(client, "hello", key)
        refusal = await client.receive()
        assert (refusal["type"], refusal["code"]) == ("error", "bad_message")
        assert refusal["detail"].startswith("say.key: ")
        await say(client, "marker", new_key())
        assert await client.hears() == "marker"
    assert kept(log) == [(1, "ada", "marker")]


async def test_a_key_is_the_same_in_each_way_of_writing_it(serve: Serve, log: str) -> None:
    server = serve(STEP12)
    key = UUID("0d9f1c2e-8a53-4c11-9f1b-5a0d3c7e9b42")
    async with entered(server, await sign_in(server, "ada")) as client:
        for written in (str(key), str(key).upper(), key.hex, f"{{{key}}}", key.urn):
            await say(client, "hello", written)
            # The ack has it in its usual form.
            assert await answer(client) == {"type": "ack", "key": str(key), "id": 1}
    assert kept(log) == [(1, "ada", "hello")]


@pytest.mark.parametrize("change", [None, found(changed.acknowledges_first)])
async def test_nothing_is_acknowledged_before_it_is_safe(log: str, change: Append | None) -> None:
    with Killable(log, change) as server:
        ada, bob = proof("ada"), proof("bob")
        async with entered(server, ada) as client, entered(server, bob) as other:
            assert (await client.receive())["type"] == "joined"
            with closing(sqlite3.connect(log.removeprefix("sqlite:///"))) as elsewhere:
                elsewhere.execute("BEGIN IMMEDIATE")  # nobody else can write
                await say(client, "hello", new_key())
                # An ack that does not wait for the file would come before some of these.
                for number in range(50):
                    whisper = {"type": "whisper", "to": "ada", "text": str(number)}
                    await other.send(whisper)
                    assert (await other.receive())["text"] == str(number)
                    assert (await client.receive())["type"] == "whisper"
                elsewhere.execute("ROLLBACK")
            assert await client.hears() == "hello"
            assert (await client.receive())["type"] == "ack"


# The key


async def test_what_comes_again_is_answered_with_the_first_id_and_not_said_again(
    serve: Serve, log: str
) -> None:
    server = serve(STEP12)
    ada, bob = [await sign_in(server, name) for name in ("ada", "bob")]
    key, first = new_key(), {"type": "ack"}
    async with entered(server, bob) as listener:
        async with entered(server, ada) as client:
            for text in ("hello", "hello", "something else"):
                await say(client, text, key)
                first = await answer(client)
                assert first == {"type": "ack", "key": key, "id": 1}
        async with entered(server, ada) as window, entered(server, ada, "?last=1") as another:
            for client in (window, another):
                await say(client, "hello", key)
                assert await answer(client) == first
        await listener.say("marker")
        assert await texts_until(listener, "marker") == ["hello"]
    assert kept(log) == [(1, "ada", "hello"), (2, "bob", "marker")]


async def test_of_many_windows_that_send_one_message_at_once_one_is_heard(
    serve: Serve, log: str
) -> None:
    server = serve(STEP12)
    ada = await sign_in(server, "ada")
    key = new_key()
    async with AsyncExitStack() as stack:
        windows = [await stack.enter_async_context(entered(server, ada)) for _ in range(20)]
        await asyncio.gather(*(say(window, "hello", key) for window in windows))
        answers = [await answer(window) for window in windows]
        assert answers == [{"type": "ack", "key": key, "id": 1}] * 20
    assert kept(log) == [(1, "ada", "hello")]


async def test_nobody_can_use_up_the_key_of_somebody_else(serve: Serve, log: str) -> None:
    server = serve(STEP12)
    key = new_key()
    for name in ("eve", "ada"):
        async with entered(server, await sign_in(server, name)) as client:
            await say(client, f"I am {name}", key)
            assert (await answer(client))["key"] == key
    assert kept(log) == [(1, "eve", "I am eve"), (2, "ada", "I am ada")]


async def test_a_key_is_of_one_room(serve: Serve, log: str) -> None:
    server = serve(STEP12)
    ada = await sign_in(server, "ada")
    key = new_key()
    for room in ("lobby", "garden"):
        async with entered(server, ada, f"/ws/{room}") as client:
            await say(client, room, key)
            assert await answer(client) == {"type": "ack", "key": key, "id": 1}
    assert [kept(log, room) for room in ("lobby", "garden")] == [
        [(1, "ada", "lobby")],
        [(1, "ada", "garden")],
    ]


@pytest.mark.parametrize("change", [None, found(changed.remembers_keys_until_it_ends)])
async def test_a_key_outlives_the_server(log: str, change: Append | None) -> None:
    key = new_key()
    with Killable(log, change) as server:
        for _ in range(2):
            async with entered(server, proof("ada")) as client:
                await say(client, "hello", key)
                assert await answer(client) == {"type": "ack", "key": key, "id": 1}
            server.restart()
    assert kept(log) == [(1, "ada", "hello")]


async def test_a_file_of_the_step_before_is_good_for_this_one(serve: Serve, log: str) -> None:
    server = serve(STEP11)
    async with entered(server, await sign_in(server, "ada")) as client:
        await client.say("from before")
        assert await client.hears() == "from before"
    await asyncio.to_thread(server.stop)
    server = serve(STEP12)
    async with entered(server, await sign_in(server, "ada")) as client:
        await say(client, "hello", new_key())
        assert (await answer(client))["id"] == 2
    assert [text for _, _, text in kept(log)] == ["from before", "hello"]


# A line that breaks, a server that dies


@pytest.mark.parametrize("step", [faulty(STEP11, AssertionError), STEP12])
async def test_what_is_sent_again_because_no_answer_came_is_said_once(
    serve: Serve, step: str
) -> None:
    server = serve(step)
    ada, bob = [await sign_in(server, name) for name in ("ada", "bob")]
    key = new_key()
    async with entered(server, bob) as listener:
        async with entered(server, ada) as client:
            await say(client, "hello", key)
            while (await listener.receive()).get("text") != "hello":
                pass
            # It is kept, and Ada's line is cut before she knows.
            reset(client)
        async with entered(server, ada) as client:
            await say(client, "hello", key)
            await client.say("marker")
            assert await texts_until(listener, "marker") == []


@pytest.mark.parametrize(
    ("dies", "kept_then"),
    [(changed.dies_before_it_is_kept, 0), (changed.dies_before_it_is_acknowledged, 1)],
)
async def test_a_kill_of_the_server_before_or_after_the_commit_loses_and_doubles_nothing(
    log: str, dies: Append, kept_then: int
) -> None:
    key = new_key()
    with Killable(log, dies) as server:
        async with entered(server, proof("ada")) as client:
            await say(client, "hello", key)
            server.ended()
            with pytest.raises(ConnectionClosed):
                await answer(client)
        assert kept(log) == [(1, "ada", "hello")][:kept_then]
        server.change = None
        server.start()
        async with entered(server, proof("ada")) as client:
            await say(client, "hello", key)
            assert await answer(client) == {"type": "ack", "key": key, "id": 1}
    assert kept(log) == [(1, "ada", "hello")]


@pytest.mark.parametrize("change", [None, found(changed.keeps_the_key_afterwards)])
async def test_a_message_and_its_key_are_kept_both_or_neither(
    log: str, change: Append | None
) -> None:
    key = new_key()
    with Killable(log, change) as server, closing(sqlite3.connect(log[10:])) as database:
        async with entered(server, proof("ada")) as client:
            database.execute(
                "CREATE TRIGGER full BEFORE INSERT ON keys BEGIN SELECT RAISE(ABORT, 'full'); END"
            )
            await say(client, "hello", key)
            assert (await client.closed())[0] == 1011
        database.execute("DROP TRIGGER full")
        async with entered(server, proof("ada")) as client:
            await say(client, "hello", key)
            assert (await answer(client))["type"] == "ack"
    assert kept(log) == [(1, "ada", "hello")]


@pytest.fixture
def held(monkeypatch: Patch) -> Iterator[tuple[threading.Event, list[str]]]:
    """Let the log take nothing until an event is set. Return it, and the texts that wait."""
    let_go, texts = threading.Event(), list[str]()
    append = History.append

    async def wait(self: History, room: str, name: str, text: str, key: UUID | None) -> int:
        texts.append(text)
        if len(texts) == 1:
            history.thread.submit(let_go.wait, 10)
        return await append(self, room, name, text, key)

    monkeypatch.setattr(History, "append", wait)
    yield let_go, texts
    let_go.set()


async def test_what_a_dead_connection_has_left_to_do_and_its_repetition_are_said_once_in_order(
    serve: Serve, log: str, held: tuple[threading.Event, list[str]]
) -> None:
    let_go, waiting = held
    server = serve(STEP12)
    ada = await sign_in(server, "ada")
    said = [(str(number), new_key()) for number in range(1, 4)]
    async with entered(server, ada) as first, entered(server, ada) as second:
        for text, key in said:
            await say(first, text, key)
        while waiting != ["1"]:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.001)
        # Its handler is in the middle of the first message, and has two more in its inbox.
        reset(first)
        for text, key in said:
            await say(second, text, key)
        while waiting != ["1", "1"]:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.001)
        let_go.set()
        assert [(await answer(second))["id"] for _ in said] == [1, 2, 3]
    assert kept(log) == [(1, "ada", "1"), (2, "ada", "2"), (3, "ada", "3")]


# Two offline clients


@pytest.mark.parametrize("app", [found(NUMBERED), STEP12])
async def test_what_two_clients_typed_before_they_ever_connected_is_kept_of_both(
    serve: Serve, log: str, app: str
) -> None:
    server = serve(app)
    texts = ["Bob's first words", "Eve's first words"]
    if app == NUMBERED:
        clients = [numbered_messages.Client() for _ in texts]
        typed = [client.message(text) for client, text in zip(clients, texts, strict=True)]
        for client, frame in zip(clients, typed, strict=True):
            async with server.connect("/ws") as connection:
                client.receive(await connection.receive())
                await connection.send(frame)
                # Both are told that all is well.
                assert await connection.receive() == {"type": "ack", "id": "None-0"}
        said = list(numbered_messages.said.values())
        numbered_messages.said.clear()
    else:
        people = [machine.Person(name) for name in ("bob", "eve")]
        for person, text in zip(people, texts, strict=True):
            await person.say(text)
        for person in people:
            key = person.unsent[0][1]
            async with entered(server, await sign_in(server, person.name)) as connection:
                await say(connection, *person.unsent[0])
                assert (await answer(connection))["key"] == key
        said = [text for _, _, text in kept(log)]
    assert said == texts


# The promise


@pytest.mark.parametrize(
    "change",
    [
        None,
        found(changed.forgets_keys),
        found(changed.keeps_the_key_afterwards),
    ],
)
def test_whatever_happens_to_lines_and_server_all_hear_everything_once_in_one_order(
    change: Append | None,
) -> None:
    machine.play(change)


@pytest.mark.parametrize(
    "person",
    [found(machine.NeverResends), found(machine.NewKeys), found(machine.NumbersItsMessages)],
)
def test_a_client_that_does_not_do_its_part_loses_messages_or_says_them_twice(
    person: type[machine.Person],
) -> None:
    machine.play(person=person)


# The limits


async def test_the_limit_whispers_and_signs_of_typing_are_not_acknowledged(
    serve: Serve, log: str
) -> None:
    server = serve(STEP12)
    ada, bob = [await sign_in(server, name) for name in ("ada", "bob")]
    async with entered(server, bob), entered(server, ada) as client:
        for frame in ({"type": "whisper", "to": "bob", "text": "psst"}, {"type": "typing"}):
            await client.send({**frame, "key": new_key()})
        await say(client, "marker", new_key())
        assert (await client.receive())["type"] == "whisper"
        assert await client.hears() == "marker"
    assert kept(log) == [(1, "ada", "marker")]


async def test_the_limit_another_file_knows_nothing_of_the_keys_in_this_one(log: str) -> None:
    key = new_key()
    with Killable(log) as server:
        for other in ("", "-restored"):
            server.log = log + other
            server.restart()
            async with entered(server, proof("ada")) as client:
                await say(client, "hello", key)
                assert await answer(client) == {"type": "ack", "key": key, "id": 1}
    assert [kept(log + other) for other in ("", "-restored")] == [[(1, "ada", "hello")]] * 2


# Questions


async def test_what_send_has_taken_may_never_arrive(log: str) -> None:
    with Killable(log) as server:
        line = machine.Line()
        ada = machine.Person("ada")
        await ada.come(server.address, line)
        while not ada.online:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.001)
        line.left["up"] = 10  # bytes: it breaks in the middle of the next frame
        await ada.connection.send('{"type": "say", "text": "hello"}')  # and no exception
        await ada.visit
    assert kept(log) == []


def test_a_key_that_is_kept_a_second_time_is_an_error_of_the_database(log: str) -> None:
    with history.opened(log):
        row = ("lobby", "ada", new_key(), 1)
        insert = "INSERT INTO keys VALUES (?, ?, ?, ?)"
        history.database.execute(insert, row)
        with pytest.raises(sqlite3.IntegrityError) as error:
            history.database.execute(insert, row)
    assert str(error.value) == "UNIQUE constraint failed: keys.room, keys.name, keys.key"
