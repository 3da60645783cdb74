"""What every MessageLog of step 13 promises, asked of both: the file and the Redis Streams."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, closing
from time import sleep
from typing import Any, cast
from uuid import uuid4

import pytest
import redis
from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MaxConnectionsError

from steps.step13_scale import database, redis_log, sqlite_log
from steps.step13_scale.history import log_at
from steps.step13_scale.log import PAGE, MessageLog, Unavailable
from steps.step13_scale.messages import Message
from tests.redis_server import Redis

OpenLog = Callable[[], Awaitable[MessageLog]]
Patch = pytest.MonkeyPatch
ODD = ["a}b", "{", "}{", "0", "'; --", '"', "\\", "*", "Zoë ☃", "👩‍🚀 * 0-1", "x" * 20]


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a log with nothing in it."""
    found: str = request.getfixturevalue("log" if request.param == "sqlite" else "redis_url")
    return found


@pytest.fixture
async def open_log(url: str) -> AsyncIterator[OpenLog]:
    """Open the log once more, as another process does."""
    async with AsyncExitStack() as stack:

        async def open_one() -> MessageLog:
            log = log_at(url)
            await stack.enter_async_context(log.opened())
            return log

        yield open_one


def following(log: MessageLog, positions: dict[str, int]) -> AsyncGenerator[Any]:
    """Follow a log."""
    return cast("AsyncGenerator[Any]", log.follow(positions))


async def followed(log: MessageLog, positions: dict[str, int], count: int) -> list[Any]:
    """Return the next so many entries."""
    async with aclosing(following(log, positions)) as entries:
        return [await anext(entries) for _ in range(count)]


async def said(log: MessageLog, room: str) -> list[Message]:
    """Return all that has been said in a room, page by page."""
    found: list[Message] = []
    while page := await log.since(room, found[-1].id if found else 0):
        found += page
    return found


# Messages


async def test_in_each_room_ids_grow_by_one_from_one(open_log: OpenLog) -> None:
    log = await open_log()
    rooms = ["lobby", "garden", "lobby", "lobby", "garden"]
    ids = [await log.append(room, "ada", "hello", None) for room in rooms]
    assert ids == [1, 1, 2, 3, 2]
    assert [await log.newest(room) for room in ("lobby", "garden", "attic")] == [3, 2, 0]


async def test_nothing_is_there_before_anybody_speaks(open_log: OpenLog) -> None:
    log = await open_log()
    assert (await log.newest("lobby"), await log.since("lobby", 0)) == (0, [])


async def test_many_processes_at_once_leave_no_gap_and_no_double(open_log: OpenLog) -> None:
    logs = [await open_log() for _ in range(3)]
    spoken = [
        log.append(f"room {number % 2}", f"process {process}", f"{number}", uuid4())
        for number in range(60)
        for process, log in enumerate(logs)
    ]
    await asyncio.gather(*spoken)
    for room in range(2):
        messages = await said(logs[0], f"room {room}")
        assert [message.id for message in messages] == list(range(1, 91))
        heard = {(message.name, int(message.text)) for message in messages}
        assert heard == {(f"process {p}", n) for p in range(3) for n in range(room, 60, 2)}


async def test_with_the_same_key_it_is_said_once_and_has_the_id_of_then(open_log: OpenLog) -> None:
    log, key = await open_log(), uuid4()
    first = await log.append("lobby", "ada", "hello", key)
    await log.append("lobby", "ada", "in between", uuid4())
    assert await log.append("lobby", "ada", "hello", key) == first
    assert [message.text for message in await said(log, "lobby")] == ["hello", "in between"]


async def test_however_many_speak_at_once_all_are_heard(open_log: OpenLog) -> None:
    log = await open_log()
    ids = await asyncio.gather(*(log.append("lobby", "ada", "hi", uuid4()) for _ in range(300)))
    assert sorted(ids) == list(range(1, 301))


async def test_the_same_key_at_three_processes_at_once_is_said_once(open_log: OpenLog) -> None:
    logs, key = [await open_log() for _ in range(3)], uuid4()
    ids = await asyncio.gather(*(log.append("lobby", "ada", "hello", key) for log in logs * 10))
    assert ids == [1] * 30
    assert len(await said(logs[0], "lobby")) == 1


async def test_nothing_comes_between_the_question_for_a_key_and_its_answer(
    log: str, monkeypatch: Patch
) -> None:
    rows = database.Database.rows

    def rows_and_a_pause(file: database.Database, statement: str, *values: object) -> list[Any]:
        found = rows(file, statement, *values)
        if statement.startswith("SELECT id FROM keys"):
            sleep(0.05)
        return found

    monkeypatch.setattr(database.Database, "rows", rows_and_a_pause)
    first, second, key = log_at(log), log_at(log), uuid4()
    async with first.opened(), second.opened():
        both = [one.append("lobby", "ada", "hello", key) for one in (first, second)]
        assert await asyncio.gather(*both) == [1, 1]


async def test_a_key_is_its_senders_own_and_its_rooms(open_log: OpenLog) -> None:
    log, key = await open_log(), uuid4()
    spoken = [("lobby", "ada"), ("lobby", "bob"), ("lobby", f"{key} ada"[:20]), ("garden", "ada")]
    assert [await log.append(*place, "hello", key) for place in spoken] == [1, 2, 3, 1]


async def test_without_a_key_everything_is_said(open_log: OpenLog) -> None:
    log = await open_log()
    assert [await log.append("lobby", "ada", "again", None) for _ in range(3)] == [1, 2, 3]


async def test_what_was_missed_is_read_in_pages_the_oldest_first(open_log: OpenLog) -> None:
    log, count = await open_log(), PAGE + 5
    await asyncio.gather(*(log.append("lobby", "ada", "hello", None) for _ in range(count)))
    ids = [
        [m.id for m in await log.since("lobby", last)] for last in (0, 3, PAGE, count, count + 9)
    ]
    assert ids == [
        list(range(1, PAGE + 1)),
        list(range(4, PAGE + 4)),
        list(range(PAGE + 1, count + 1)),
        [],
        [],
    ]


async def test_it_outlives_who_has_opened_it(open_log: OpenLog, url: str) -> None:
    first = log_at(url)
    async with first.opened():
        await first.append("lobby", "ada", "hello", key := uuid4())
        await first.claim("name:ada", "hers", 3600)
    second = await open_log()
    assert [message.text for message in await said(second, "lobby")] == ["hello"]
    assert await second.append("lobby", "ada", "hello", key) == 1
    assert await second.look("name:ada") == "hers"


@pytest.mark.parametrize("odd", ODD)
async def test_rooms_and_people_may_be_called_what_they_like(open_log: OpenLog, odd: str) -> None:
    log, key = await open_log(), uuid4()
    reading = asyncio.create_task(followed(await open_log(), {odd: 0}, 1))
    await log.append("lobby", "ada", "elsewhere", key)
    assert await log.append(odd, odd, odd, key) == 1
    assert await log.append(odd, odd, odd, key) == 1
    [message] = await log.since(odd, 0)
    assert (message.id, message.name, message.text) == (1, odd, odd)
    assert await reading == [(odd, message)]
    assert await log.claim(f"name:{odd}", odd, 3600) == odd
    assert await log.drop(f"name:{odd}", odd)


@pytest.mark.parametrize(
    "text", ["\0", "a\0b", "\r\n\t\x1b[2J", "👩‍🚀☃", "\u202e", "\ufeff", "{}", "x" * 2000]
)
async def test_a_text_is_kept_as_it_was_said(open_log: OpenLog, text: str) -> None:
    log = await open_log()
    await log.append("lobby", "ada", text, None)
    [message] = await log.since("lobby", 0)
    assert message.text == text
    assert await followed(log, {"lobby": 0}, 1) == [("lobby", message)]


# Following


async def test_who_follows_hears_everything_once_and_in_order(open_log: OpenLog) -> None:
    writers, reader = [await open_log(), await open_log()], await open_log()
    positions = {"lobby": 0, "garden": 0}
    reading = asyncio.create_task(followed(reader, positions, 300))

    async def speak(log: MessageLog, process: int) -> None:
        for number in range(50):
            await log.append("lobby", "ada", f"{process} {number}", uuid4())
            await log.append("garden", "ada", f"{process} {number}", uuid4())
            await log.append("attic", "ada", "nobody is there", uuid4())
            await log.tell(f"{process} {number}")

    await asyncio.gather(*(speak(log, process) for process, log in enumerate(writers)))
    entries = await reading
    for room in positions:
        heard = [entry[1] for entry in entries if entry[0] == room]
        assert [message.id for message in heard] == list(range(1, 101))
        assert heard == await said(reader, room)
    for process in range(2):
        told = [entry for entry in entries if isinstance(entry, str)]
        own = [event for event in told if event.startswith(f"{process} ")]
        assert own == [f"{process} {number}" for number in range(50)]
    assert positions == {"lobby": 100, "garden": 100}


async def test_who_begins_to_follow_a_room_hears_what_comes_after(open_log: OpenLog) -> None:
    log, other = await open_log(), await open_log()
    await other.append("lobby", "ada", "before", None)
    positions: dict[str, int] = {}
    async with aclosing(following(log, positions)) as entries:
        first = asyncio.ensure_future(anext(entries))
        positions["lobby"] = await log.newest("lobby")
        await other.tell("somebody has entered the lobby")
        assert await first == "somebody has entered the lobby"
        await other.append("lobby", "ada", "after", None)
        entry = await anext(entries)
        assert (entry[0], entry[1].text) == ("lobby", "after")
        del positions["lobby"]
        await other.append("lobby", "ada", "nobody is there", None)
        await other.tell("marker")
        assert await anext(entries) == "marker"
        assert positions == {}


async def test_what_is_told_reaches_all_who_follow_and_the_teller(open_log: OpenLog) -> None:
    logs = [await open_log() for _ in range(3)]
    reading = [asyncio.create_task(followed(log, {}, 2)) for log in logs]
    await logs[0].tell("first")
    await logs[1].tell("second")
    assert await asyncio.gather(*reading) == [["first", "second"]] * 3


async def test_what_was_told_before_a_log_is_opened_is_not_heard_in_it(open_log: OpenLog) -> None:
    before = await open_log()
    await before.tell("old")
    after = await open_log()
    await before.tell("new")
    assert await followed(after, {}, 1) == ["new"]


async def test_who_stops_to_follow_goes_on_where_it_was(open_log: OpenLog) -> None:
    log, other = await open_log(), await open_log()
    positions = {"lobby": 0}
    for number in range(5):
        await other.append("lobby", "ada", f"{number}", None)
        await other.tell(f"{number}")
    entries: list[Any] = []
    for _ in range(10):
        entries += await followed(log, positions, 1)
    told = [entry for entry in entries if isinstance(entry, str)]
    heard = [entry[1].text for entry in entries if isinstance(entry, tuple)]
    assert told == heard == ["0", "1", "2", "3", "4"]


async def test_what_cannot_be_read_is_in_nobodys_way(open_log: OpenLog, url: str) -> None:
    log, positions = await open_log(), {"lobby": 0}
    await log.append("lobby", "ada", "before", None)
    spoil(url)
    await log.append("lobby", "ada", "after", None)
    assert [entry[1].id for entry in await followed(log, positions, 1)] == [1]
    with pytest.raises(ValueError, match="validation error"):
        await followed(log, positions, 1)
    assert [entry[1].text for entry in await followed(log, positions, 1)] == ["after"]


def spoil(url: str) -> None:
    """Append a message to the lobby that no version of ours has written."""
    if url.startswith("redis"):
        with closing(redis.Redis.from_url(url)) as client:
            client.xadd("chat:{lobby}:messages", {"colour": "green"}, "0-*")
    else:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
            file.execute("INSERT INTO messages VALUES ('lobby', 2, 'ada', 'hello', 'yesterday')")


async def test_an_event_is_kept_for_a_while_and_not_for_ever(
    open_log: OpenLog, url: str, monkeypatch: Patch
) -> None:
    log = await open_log()
    await log.tell("between us")
    assert kept_events(url) == 1
    for module in (redis_log, sqlite_log):
        monkeypatch.setattr(module, "RECENT", -2)
    await log.tell("now")
    assert kept_events(url) == 0


async def test_only_so_many_events_are_kept(
    open_log: OpenLog, url: str, monkeypatch: Patch
) -> None:
    for module in (redis_log, sqlite_log):
        monkeypatch.setattr(module, "EVENTS", 3)
    log = await open_log()
    for number in range(10):
        await log.tell(f"{number}")
    assert kept_events(url) == 3
    assert await followed(log, {}, 3) == ["7", "8", "9"]


def kept_events(url: str) -> int:
    """Return how many events a log has."""
    if url.startswith("redis"):
        with closing(redis.Redis.from_url(url)) as client:
            return int(client.xlen("chat:events"))
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
        return int(file.execute("SELECT count(*) FROM events").fetchone()[0])


# Facts


async def test_of_many_who_claim_a_fact_the_first_has_it(open_log: OpenLog) -> None:
    logs = [await open_log() for _ in range(3)]
    claims = [log.claim("name:ada", f"{number}", 3600) for number, log in enumerate(logs * 10)]
    [winner] = set(await asyncio.gather(*claims))
    assert [await log.look("name:ada") for log in logs] == [winner] * 3
    assert await logs[0].look("name:bob") is None


async def test_of_many_who_drop_a_fact_one_does(open_log: OpenLog) -> None:
    logs = [await open_log() for _ in range(3)]
    await logs[0].claim("ticket:1", "ada", 3600)
    assert not await logs[1].drop("ticket:1", "bob")
    assert await logs[1].look("ticket:1") == "ada"
    assert sum(await asyncio.gather(*(log.drop("ticket:1", "ada") for log in logs * 10))) == 1
    assert await logs[2].look("ticket:1") is None
    assert await logs[2].claim("ticket:1", "eve", 3600) == "eve"


async def test_who_has_a_fact_can_have_it_for_longer_and_not_for_less(open_log: OpenLog) -> None:
    log, other = await open_log(), await open_log()
    for fact, seconds in (("longer", (0.1, 3600)), ("not for less", (3600, 0.1)), ("gone", (0.1,))):
        for claim in seconds:
            assert await log.claim(fact, "mine", claim) == "mine"
    while await other.look("gone"):  # noqa: ASYNC110 - nobody is told
        await asyncio.sleep(0.01)
    assert await other.look("longer") == await other.look("not for less") == "mine"


async def test_a_fact_ends_by_itself_and_who_claims_it_in_vain_does_not_prolong_it(
    open_log: OpenLog,
) -> None:
    log, other = await open_log(), await open_log()
    await log.claim("name:ada", "first", 1)
    assert await other.claim("name:ada", "second", 3600) == "first"
    while await log.look("name:ada"):  # noqa: ASYNC110 - nobody is told
        await asyncio.sleep(0.01)
    assert not await log.drop("name:ada", "first")
    assert await other.claim("name:ada", "second", 3600) == "second"


# While it is away


async def each_method(log: MessageLog) -> list[bool]:
    """Return of each method whether it raises Unavailable."""

    async def raises(call: Awaitable[Any]) -> bool:
        try:
            await call
        except Unavailable:
            return True
        return False

    calls = [
        log.append("lobby", "ada", "hello", uuid4()),
        log.since("lobby", 0),
        log.newest("lobby"),
        log.tell("hello"),
        log.claim("name:ada", "ada", 3600),
        log.look("name:ada"),
        log.drop("name:ada", "ada"),
        followed(log, {"lobby": 0}, 1),
    ]
    return list(await asyncio.gather(*map(raises, calls)))


async def test_while_redis_is_away_all_is_unavailable_and_then_nothing_was_missed(
    start_redis: Callable[[], Redis], monkeypatch: Patch
) -> None:
    server = start_redis()
    log, positions = log_at(server.url), {"lobby": 0}
    # It would be asked again for three seconds.
    monkeypatch.setattr(redis_log, "Retry", lambda *_: Retry(NoBackoff(), 1))
    async with log.opened():
        await log.append("lobby", "ada", "before", None)
        await followed(log, positions, 1)
        server.kill()
        assert await each_method(log) == [True] * 8
        server.start()
        other = log_at(server.url)
        async with other.opened():
            await other.tell("heard")
            await other.append("lobby", "ada", "after", None)
        entries = await followed(log, positions, 2)
        assert [entry[1].text for entry in entries if isinstance(entry, tuple)] == ["after"]
        assert "heard" in entries
        assert await log.append("lobby", "ada", "on we go", None) == 3


async def test_the_usual_pool_refuses_who_asks_for_one_more(redis_url: str) -> None:
    async with Client.from_url(redis_url) as client:
        asking = [client.blpop(["nothing"], timeout=0.5) for _ in range(101)]
        answers = await asyncio.gather(*asking, return_exceptions=True)
    [refusal] = [answer for answer in answers if answer is not None]
    assert isinstance(refusal, MaxConnectionsError)
    assert str(refusal) == "Too many connections"


async def test_what_redis_is_asked_twice_it_does_once(redis_url: str, monkeypatch: Patch) -> None:
    log = log_at(redis_url)
    async with log.opened():
        ask_once = log.redis.execute_command  # type: ignore[attr-defined]

        async def ask_twice(*command: str | int) -> Any:
            await ask_once(*command)  # the answer was lost on its way
            return await ask_once(*command)

        monkeypatch.setattr(log.redis, "execute_command", ask_twice)  # type: ignore[attr-defined]
        for key in (uuid4(), None):
            await log.append("lobby", "ada", "hello", key)
        assert await log.newest("lobby") == 2
        await log.tell("hello")
        await log.tell("marker")
        assert await followed(log, {}, 2) == ["hello", "marker"]
        assert await log.claim("name:ada", "first", 3600) == "first"


async def test_while_a_file_is_locked_writing_is_unavailable_and_reading_is_not(log: str) -> None:
    file = log_at(log)
    async with file.opened():
        # It would wait for five seconds.
        await file.file.ask("PRAGMA busy_timeout = 1")  # type: ignore[attr-defined]
        with closing(sqlite3.connect(log.removeprefix("sqlite:///"))) as other:
            other.execute("BEGIN IMMEDIATE")
            for write in (
                file.append("lobby", "ada", "hello", uuid4()),
                file.tell("hello"),
                file.claim("name:ada", "ada", 3600),
            ):
                with pytest.raises(Unavailable):
                    await write
            assert await file.since("lobby", 0) == []
            other.rollback()
        assert await file.append("lobby", "ada", "hello", uuid4()) == 1
