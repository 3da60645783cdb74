"""Step 13: one chat in any number of processes, of which each may be killed at any time."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx2
import pytest
import redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from steps.step13_scale import history, log, main, manager, processes, redis_log, sessions
from steps.step13_scale.settings import from_environment
from tests.conftest import Client, Host, Process, Serve, StartProcess, browse, faulty, sign_in
from tests.redis_server import Redis
from tests.two_workers import SECRET, token

ROOT = Path(__file__).parents[1]
STEP12, STEP13 = "step12_delivery", "step13_scale"
LATER = "The log does not answer. Try again later."
TAKEN = "Somebody has that name. Try another."
SIGNED_OUT = (4401, "You have signed out.")
TYPING = {"type": "typing"}
# Three hundred clients of one test have one address.
CROWD = {"CHAT_SECRET": SECRET, "CHAT_RATE": "1000", "CHAT_CONNECTIONS_PER_ADDRESS": "1000"}
Frame = dict[str, Any]
Headers = dict[str, str]
Log = pytest.LogCaptureFixture
Patch = pytest.MonkeyPatch
StartRedis = Callable[[], Redis]


class Pair:
    """Two processes on one log, and who has signed in at the first."""

    def __init__(self, folder: Path, url: str) -> None:
        # Nobody tells them the secret.
        self.first, self.second = [
            Process(STEP13, folder=folder, env={"CHAT_LOG": url, "CHAT_RATE": "1000"})
            for _ in range(2)
        ]
        self.headers: dict[str, Headers] = {}

    async def people(self, *names: str) -> list[Headers]:
        """Sign some people in, each once."""
        for name in set(names) - self.headers.keys():
            self.headers[name] = await sign_in(self.first, name)
        return [self.headers[name] for name in names]


@pytest.fixture(scope="module", params=["sqlite", "redis"])
async def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    """Have two processes for many tests: each has rooms and people of its own."""
    folder = tmp_path_factory.mktemp("pair")
    server = Redis(folder)
    if request.param == "redis":
        server.start()
    pair = Pair(folder, server.url if request.param == "redis" else f"sqlite:///{folder}/chat.db")
    try:
        await asyncio.gather(pair.first.start(), pair.second.start())
        yield pair
    finally:
        for each in (pair.first, pair.second, server):
            each.kill()


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the URL of a log with nothing in it."""
    found: str = request.getfixturevalue("log" if request.param == "sqlite" else "redis_url")
    return found


@asynccontextmanager
async def entered(
    host: Host, who: Headers, room: str, *here: str, query: str = ""
) -> AsyncIterator[Client]:
    """Open a window of somebody's in a room; wait until those are known to be `here`, too."""
    path = f"/ws/{quote(room, safe='')}{query}"
    async with host.connect(path, additional_headers=who) as client:
        welcome = await client.receive()
        assert welcome["type"] == "welcome", welcome
        missing = {*here} - {*welcome["here"]}
        while missing:
            frame = await client.receive()
            assert frame["type"] == "joined", frame
            missing.discard(frame["name"])
        yield client


async def until(client: Client, **wanted: object) -> list[Frame]:
    """Return the frames up to the first that says all this, and that one."""
    frames = [await client.receive()]
    while not wanted.items() <= frames[-1].items():
        frames.append(await client.receive())
    return frames


async def ask(host: Host, method: str, path: str, **options: Any) -> httpx2.Response:
    """Make a request, from somebody who has no cookies but those of `options`."""
    async with browse(host) as http:
        return await http.request(method, path, timeout=30, **options)


async def ticket(host: Host, who: Headers) -> str:
    """Return a ticket of somebody's."""
    answer = await ask(host, "POST", "/ticket", headers=who)
    given: str = answer.raise_for_status().json()["ticket"]
    return given


async def knock(host: Host, path: str = "", **options: Any) -> tuple[int, str]:
    """Return with what status a handshake is answered, and with what words."""
    try:
        async with host.connect(path, **options):
            return 101, ""
    except InvalidStatus as refused:
        body = json.loads(refused.response.body or b"{}")
        return refused.response.status_code, body.get("detail", "")


def say(text: str) -> Frame:
    """Return a frame that says something, with a key."""
    return {"type": "say", "text": text, "key": str(uuid4())}


# Two workers, before and now


@pytest.mark.parametrize("step", [faulty(STEP12, TimeoutError), STEP13])
async def test_with_two_workers_everybody_is_reached(
    start_process: StartProcess, step: str
) -> None:
    server = await start_process(step, env=CROWD, workers=2)
    people = [token(f"guest {number}") for number in range(40)]
    async with AsyncExitStack() as stack:
        clients: list[Client] = []
        known = 0
        # In step 12 until both workers have some: then somebody does not know of all.
        while len(clients) < 10 or (step == STEP12 and known == len(clients)):
            entering = server.connect(additional_headers=people[len(clients)])
            clients.append(await stack.enter_async_context(entering))
            known = len((await clients[-1].receive())["here"])
        # Where it never comes, we need not wait for long.
        async with asyncio.timeout(0.5 if step == STEP12 else None):
            await clients[0].send(say("hello"))
            for client in clients:
                await until(client, type="message", text="hello")
            await ask(server, "POST", "/announce", headers=people[0], json={"text": "lunch"})
            for client in clients:
                await until(client, type="notice", text="lunch")


async def test_in_step_12_the_other_worker_hears_of_a_message_when_its_own_speak(
    start_process: StartProcess,
) -> None:
    first, second = [await start_process(STEP12, env=CROWD) for _ in range(2)]
    async with (
        entered(first, token("ada"), "lobby") as ada,
        entered(second, token("bob"), "lobby") as bob,
    ):
        await ada.send(say("hello"))
        await until(ada, text="hello")
        # A whisper to oneself: the next frame, if there was no other.
        await bob.send({"type": "whisper", "to": "bob", "text": "marker"})
        assert [frame["text"] for frame in await until(bob, text="marker")] == ["marker"]
        await bob.send(say("is anybody here?"))
        frames = await until(bob, text="is anybody here?")
        assert [frame["text"] for frame in frames if "text" in frame] == [
            "hello",
            "is anybody here?",
        ]


# Across processes


async def test_what_is_said_at_one_process_is_heard_at_the_other_in_one_order(pair: Pair) -> None:
    ada, bob = await pair.people("ada", "bob")
    async with (
        entered(pair.first, ada, "said") as here,
        entered(pair.second, bob, "said") as there,
    ):
        for number in range(20):
            await asyncio.gather(here.send(say(f"a{number}")), there.send(say(f"b{number}")))
        heard = []
        for client in (here, there):
            frames: list[Frame] = []
            while len(frames) < 40:
                frame = await client.receive()
                frames += [frame] if frame["type"] == "message" else []
            heard.append(frames)
        assert heard[0] == heard[1]
        assert [frame["id"] for frame in heard[0]] == list(range(1, 41))
        assert [frame["text"] for frame in heard[0] if frame["name"] == "ada"] == [
            f"a{number}" for number in range(20)
        ]


async def test_a_sign_of_typing_reaches_the_others_at_every_process(pair: Pair) -> None:
    ada, bob = await pair.people("ada", "bob")
    async with (
        entered(pair.first, bob, "typing") as near,
        entered(pair.second, bob, "typing") as far,
        entered(pair.second, ada, "typing", "bob") as mine,
        entered(pair.first, ada, "typing", "bob") as other_window,
    ):
        await mine.send(TYPING)
        for client in (near, far):
            assert (await until(client, type="typing"))[-1]["name"] == "ada"
        await near.send(TYPING)
        # The next sign that Ada's windows see is not her own.
        for client in (mine, other_window):
            assert (await until(client, type="typing"))[-1]["name"] == "bob"


async def test_a_whisper_reaches_every_window_of_two_people_and_of_nobody_else(pair: Pair) -> None:
    ada, bob, eve = await pair.people("ada", "bob", "eve")
    whisper = {"type": "whisper", "to": "bob", "text": "between us"}
    async with (
        entered(pair.second, bob, "whisper 1") as far,
        entered(pair.first, bob, "whisper 2") as near,
        entered(pair.second, ada, "whisper 3") as second,
        entered(pair.first, eve, "whisper 1", "bob") as listener,
        entered(pair.first, ada, "whisper 1", "bob") as first,
    ):
        await first.send(whisper)
        for client in (first, second, far, near):
            heard = (await until(client, type="whisper"))[-1]
            assert (heard["name"], heard["to"], heard["text"]) == ("ada", "bob", "between us")
        await first.send({**whisper, "to": "eve", "text": "marker"})
        frames = await until(listener, text="marker")
        assert [frame for frame in frames if frame.get("text") == "between us"] == []
        await first.send({**whisper, "to": "zoe"})
        detail = "zoe is not here, and has not heard it."
        assert (await until(first, type="error"))[-1] == {
            "type": "error",
            "code": "not_here",
            "detail": detail,
        }


async def test_an_announcement_reaches_all_and_says_how_many(pair: Pair) -> None:
    ada, bob = await pair.people("ada", "bob")
    async with (
        entered(pair.first, ada, "announce") as first,
        entered(pair.first, ada, "announce 2") as second,
        entered(pair.second, bob, "announce", "ada") as third,
    ):
        await until(first, type="joined", name="bob")
        for host in (pair.first, pair.second):
            answer = await ask(host, "POST", "/announce", headers=ada, json={"text": "lunch"})
            assert answer.json() == {"delivered": 3}
            for client in (first, second, third):
                await until(client, type="notice", text="lunch")


async def test_who_is_at_two_processes_comes_once_and_goes_once(pair: Pair) -> None:
    ada, bob, eve, zoe = await pair.people("ada", "bob", "eve", "zoe")
    seen: list[Frame] = []
    async with entered(pair.first, bob, "presence") as watcher:
        async with AsyncExitStack() as away:
            async with entered(pair.first, ada, "presence"):
                far = entered(pair.second, ada, "presence", "bob")
                await away.enter_async_context(far)
                # With word of Eve comes word of Ada's second window.
                async with entered(pair.second, eve, "presence"):
                    seen += await until(watcher, type="joined", name="eve")
                seen += await until(watcher, type="left", name="eve")
            async with entered(pair.first, zoe, "presence", "ada"):
                seen += await until(watcher, type="joined", name="zoe")
            seen += await until(watcher, type="left", name="zoe")
        seen += await until(watcher, type="left", name="ada")
    came_and_went = [(frame["type"], frame["name"]) for frame in seen]
    assert came_and_went == [
        *(("joined", "ada"), ("joined", "eve"), ("left", "eve")),
        *(("joined", "zoe"), ("left", "zoe"), ("left", "ada")),
    ]


async def test_of_many_who_sign_in_under_one_name_at_two_processes_one_gets_it(pair: Pair) -> None:
    wanted = [
        ask(host, "POST", "/session", json={"name": "popular"})
        for host in [pair.first, pair.second] * 10
    ]
    answers = await asyncio.gather(*wanted)
    assert Counter(answer.status_code for answer in answers) == {200: 1, 409: 19}
    assert {answer.json()["detail"] for answer in answers if answer.status_code == 409} == {TAKEN}


async def test_who_signs_out_at_one_process_is_signed_out_at_the_other(pair: Pair) -> None:
    zed = await sign_in(pair.first, "zed")
    [bob] = await pair.people("bob")
    cookie = {"cookie": f"chat_session={zed['authorization'].removeprefix('Bearer ')}"}
    unused = await ticket(pair.second, zed)
    async with (
        entered(pair.first, bob, "sign-out") as bystander,
        entered(pair.first, zed, "sign-out") as near,
        entered(pair.second, cookie, "sign-out") as far,
    ):
        answer = await ask(pair.second, "DELETE", "/session", headers=zed)
        assert answer.status_code == 204
        assert await near.closed() == await far.closed() == SIGNED_OUT
        for host in (pair.first, pair.second):
            for proof in (zed, cookie):
                assert (await ask(host, "GET", "/session", headers=proof)).status_code == 401
                assert (await knock(host, additional_headers=proof))[0] == 401
            assert (await knock(host, f"?ticket={unused}"))[0] == 401
        await until(bystander, type="left", name="zed")
        await sign_in(pair.first, "zed")  # the name is free


async def test_a_ticket_of_one_process_opens_one_socket_at_another(pair: Pair) -> None:
    [ada] = await pair.people("ada")
    given = await ticket(pair.first, ada)
    knocks = [knock(host, f"?ticket={given}") for host in [pair.second, pair.first] * 5]
    assert Counter(status for status, _ in await asyncio.gather(*knocks)) == {101: 1, 401: 9}


async def test_the_same_key_at_two_processes_is_said_once(pair: Pair) -> None:
    [ada] = await pair.people("ada")
    frame = say("once")
    async with (
        entered(pair.first, ada, "keys") as first,
        entered(pair.second, ada, "keys") as second,
    ):
        await asyncio.gather(first.send(frame), second.send(frame))
        acks = [(await until(client, type="ack"))[-1] for client in (first, second)]
        assert acks == [{"type": "ack", "key": frame["key"], "id": 1}] * 2
        await first.send(say("marker"))
    async with entered(pair.second, ada, "keys") as third:
        frames = await until(third, text="marker")
        assert [frame["text"] for frame in frames if frame["type"] == "message"] == [
            "once",
            "marker",
        ]


async def test_who_comes_back_to_another_process_misses_nothing(pair: Pair) -> None:
    ada, bob = await pair.people("ada", "bob")
    async with entered(pair.first, ada, "sticky") as first:
        await first.send(say("before"))
        last = (await until(first, type="message"))[-1]["id"]
    async with entered(pair.second, bob, "sticky") as other:
        for number in range(120):
            await other.send({"type": "say", "text": f"{number}"})
            await until(other, text=f"{number}")
    async with entered(pair.second, ada, "sticky", query=f"?last={last}") as back:
        frames = [frame for frame in await until(back, text="119") if "id" in frame]
        assert [frame["text"] for frame in frames] == [f"{number}" for number in range(120)]


# Processes that come and go


async def test_a_new_process_learns_who_is_there_and_a_stop_is_told_at_once(
    start_process: StartProcess, url: str
) -> None:
    # Nobody is told anything in an hour, if it is not for a change.
    env = {**CROWD, "CHAT_LOG": url, "BEAT": "3600"}
    first = await start_process("tests.beat:app", env=env)
    async with entered(first, token("ada"), "lobby") as ada:
        second = await start_process("tests.beat:app", "--timeout-graceful-shutdown=5", env=env)
        async with entered(second, token("bob"), "lobby", "ada") as bob:
            await until(ada, type="joined", name="bob")
            await second.terminate()
            assert (await bob.closed())[0] == 1012
        await until(ada, type="left", name="bob")


async def test_a_process_that_was_killed_is_forgotten(
    start_process: StartProcess, url: str
) -> None:
    env = {**CROWD, "CHAT_LOG": url, "BEAT": "0.3"}
    first, second = await asyncio.gather(
        *(start_process("tests.beat:app", env=env) for _ in range(2))
    )
    async with entered(first, token("ada"), "lobby") as ada:
        async with entered(second, token("bob"), "lobby", "ada") as bob:
            await until(ada, type="joined", name="bob")
            second.kill()
            assert (await bob.closed())[0] == 1006
        await until(ada, type="left", name="bob")


async def test_a_worker_that_dies_is_replaced_and_its_clients_come_back(
    start_process: StartProcess,
) -> None:
    chat = await start_process(STEP13, env=CROWD, workers=2)
    async with entered(chat, token("ada"), "lobby") as ada:
        await ada.send(say("hello"))
        await until(ada, type="ack")
        for worker in re.findall(r"Started server process \[(\d+)\]", chat.printed()):
            os.kill(int(worker), signal.SIGKILL)
        assert (await ada.closed())[0] == 1006
    await chat.prints("(Started server process.*){3}Application startup complete")
    async with entered(chat, token("ada"), "lobby") as ada:
        await until(ada, text="hello")


def test_nobody_is_taken_for_gone_because_the_log_was_away() -> None:
    books = manager.ConnectionManager()
    books.forget_silent(1000, beat=5)
    books.heard_from("another", {"lobby": ["ada"]}, 1015)
    # Nobody has heard anything for an hour, not even themselves; then the others go first.
    books.forget_silent(4600, beat=5)
    assert books.here("lobby") == ["ada"]
    books.heard_from("another", {"lobby": ["ada"]}, 4615)
    for now in (4605, 4610, 4615):
        books.forget_silent(now, beat=5)
        assert books.here("lobby") == ["ada"]
    # Now we hear ourselves, and them no more.
    books.forget_silent(4620, beat=5)
    assert books.here("lobby") == []


async def test_a_restart_keeps_names_sign_outs_and_the_secret(
    start_process: StartProcess, url: str
) -> None:
    server = await start_process(STEP13, env={"CHAT_LOG": url})
    ada, eve = await sign_in(server, "ada"), await sign_in(server, "eve")
    assert (await ask(server, "DELETE", "/session", headers=eve)).status_code == 204
    await server.restart()
    assert (await ask(server, "POST", "/session", json={"name": "ada"})).status_code == 409
    assert (await ask(server, "GET", "/session", headers=eve)).status_code == 401
    async with entered(server, ada, "lobby"):
        pass


async def test_a_sign_in_ends_at_every_process_when_its_time_has_come(
    start_process: StartProcess, log: str
) -> None:
    del log
    first, second = [
        await start_process(STEP13, env={"CHAT_SESSION_SECONDS": "2"}) for _ in range(2)
    ]
    ada = await sign_in(first, "ada")
    async with entered(second, ada, "lobby") as client:
        assert await client.closed() == (4401, "Your sign-in has ended.")
    # The clocks of who asks and who answers may differ by a moment.
    while (await ask(first, "GET", "/session", headers=ada)).status_code != 401:
        pass
    while (await ask(second, "POST", "/session", json={"name": "ada"})).status_code != 200:
        pass


# Halfway


async def test_a_name_is_free_after_a_sign_out_in_the_middle_of_a_handshake(
    serve: Serve, monkeypatch: Patch
) -> None:
    server = serve(STEP13)
    ada = await sign_in(server, "ada")
    session = sessions.session_of(ada["authorization"].removeprefix("Bearer "))
    assert session
    claim = history.history.claim

    async def claim_after_the_end(fact: str, value: str, seconds: float) -> str:
        monkeypatch.undo()
        assert (await ask(server, "DELETE", "/session", headers=ada)).status_code == 204
        return await claim(fact, value, seconds)

    monkeypatch.setattr(history.history, "claim", claim_after_the_end)
    assert (await knock(server, additional_headers=ada))[0] == 401
    await sign_in(server, "ada")


async def test_a_sign_out_that_was_cut_short_can_be_finished(
    serve: Serve, monkeypatch: Patch
) -> None:
    server = serve(STEP13)
    ada = await sign_in(server, "ada")

    async def fail(_: str) -> None:
        raise log.Unavailable

    async with entered(server, ada, "lobby") as client:
        with monkeypatch.context() as away:
            away.setattr(history.history, "tell", fail)
            answer = await ask(server, "DELETE", "/session", headers=ada)
            assert (answer.status_code, answer.json()) == (503, {"detail": LATER})
        for _ in range(2):
            answer = await ask(server, "DELETE", "/session", headers=ada)
            assert answer.status_code == 204
        assert await client.closed() == SIGNED_OUT
    await sign_in(server, "ada")
    # Whose sign-in that was is somebody else's by now.
    assert (await ask(server, "DELETE", "/session", headers=ada)).status_code == 204
    assert (await ask(server, "POST", "/session", json={"name": "ada"})).status_code == 409


async def test_a_sign_in_whose_answer_is_lost_takes_the_name_for_a_minute(
    serve: Serve, monkeypatch: Patch
) -> None:
    server = serve(STEP13)
    claimed: list[float] = []
    claim = history.history.claim

    async def note(fact: str, value: str, seconds: float) -> str:
        if fact == "name:ada":
            claimed.append(seconds)
        return await claim(fact, value, seconds)

    monkeypatch.setattr(history.history, "claim", note)
    ada = await sign_in(server, "ada")
    assert claimed == [60]
    # Who shows the proof has it to the end.
    assert (await ask(server, "GET", "/session", headers=ada)).status_code == 200
    assert claimed[1] > 7 * 3600


async def test_nobody_can_sign_out_who_was_not_signed_in(serve: Serve) -> None:
    server = serve(STEP13)
    assert (await ask(server, "DELETE", "/session")).status_code == 401


async def test_a_stop_does_not_wait_for_a_log_that_does_not_answer(
    serve: Serve, monkeypatch: Patch
) -> None:
    server = serve(STEP13)
    await sign_in(server, "ada")
    monkeypatch.setattr(history.history, "tell", lambda _: asyncio.Event().wait())
    await asyncio.to_thread(server.stop)


async def test_a_process_that_stops_says_goodbye(
    serve: Serve, monkeypatch: Patch, log: str
) -> None:
    # It has no time for a report.
    monkeypatch.setattr(processes, "report", lambda: asyncio.Event().wait())
    server = serve(STEP13)
    await sign_in(server, "ada")
    other = history.log_at(log)
    async with other.opened():
        await asyncio.to_thread(server.stop)
        goodbye = json.loads(str(await anext(aiter(other.follow({})))))
    assert goodbye == {
        "type": "present",
        "process": processes.PROCESS,
        "rooms": {},
        "asks": False,
    }


async def test_an_event_of_another_version_is_skipped_with_a_traceback(
    serve: Serve, caplog: Log
) -> None:
    server = serve(STEP13)
    ada = await sign_in(server, "ada")
    async with entered(server, ada, "lobby") as client:
        other = history.log_at(f"sqlite:///{history.history.file.path}")  # type: ignore[attr-defined]
        async with other.opened():
            for event in ('{"type": "weather"}', "no JSON", '{"type": "pass", "frame": {}}'):
                await other.tell(event)
        await client.send(say("on we go"))
        await until(client, text="on we go")
        answer = await ask(server, "POST", "/announce", headers=ada, json={"text": "lunch"})
        assert answer.status_code == 200
        await until(client, text="lunch")
    skipped = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in skipped] == [
        "An event is skipped: it is of another version"
    ] * 3


async def test_a_reader_that_fails_goes_on_where_it_was(
    serve: Serve, monkeypatch: Patch, caplog: Log
) -> None:
    publish = manager.ConnectionManager.publish
    failures = iter([RuntimeError("once")])

    def fail_once(*arguments: Any) -> None:
        for failure in failures:
            raise failure
        publish(*arguments)

    monkeypatch.setattr(manager.ConnectionManager, "publish", fail_once)
    server = serve(STEP13)
    ada = await sign_in(server, "ada")
    async with entered(server, ada, "lobby") as client:
        for text in ("first", "second"):
            await client.send(say(text))
        frames = [frame for frame in await until(client, text="second") if "text" in frame]
        assert [frame["text"] for frame in frames] == ["first", "second"]
    assert "The reader of the log has failed, and goes on" in caplog.text


# Redis away, and back


async def test_while_redis_is_away_sockets_stay_and_everything_is_answered(
    start_process: StartProcess, start_redis: StartRedis
) -> None:
    server = start_redis()
    chat = await start_process(STEP13, env={**CROWD, "CHAT_LOG": server.url})
    ada, bob = token("ada"), token("bob")
    frame = say("not lost")
    async with entered(chat, bob, "lobby") as listener:
        async with entered(chat, ada, "lobby", "bob") as speaker:
            server.kill()
            await speaker.send(frame)
            # They are asked at once, and each is answered when Redis has been asked often enough.
            requests: list[Coroutine[Any, Any, httpx2.Response]] = [
                ask(chat, "POST", "/session", json={"name": "eve"}),
                ask(chat, "GET", "/session", headers=bob),
                ask(chat, "DELETE", "/session", headers=bob),
                ask(chat, "POST", "/ticket", headers=bob),
                ask(chat, "POST", "/announce", headers=bob, json={"text": "lunch"}),
            ]
            knocking = knock(chat, additional_headers=ada)
            refused, answers = await asyncio.gather(knocking, asyncio.gather(*requests))
            assert [(answer.status_code, answer.json()) for answer in answers] == [
                (503, {"detail": LATER})
            ] * 5
            assert refused == (503, LATER)
            assert await speaker.closed() == (1013, LATER)
            for path in ("/healthz", "/", "/client.js"):
                assert (await ask(chat, "GET", path)).status_code == 200
        server.start()
        async with entered(chat, ada, "lobby", query="?last=0") as back:
            for _ in range(2):
                await back.send(frame)
            acks = [(await until(back, type="ack"))[-1] for _ in range(2)]
            assert acks == [{"type": "ack", "key": frame["key"], "id": 1}] * 2
            await back.send(say("marker"))
            frames = [frame for frame in await until(listener, text="marker") if "text" in frame]
            assert [frame["text"] for frame in frames] == ["not lost", "marker"]


def published(client: redis.Redis, app: str, text: str) -> None:
    """Cut the lines of all who listen, and publish something in the same moment."""
    with client.pipeline(transaction=True) as together:
        if app == STEP13:
            together.client_kill_filter(_type="normal", skipme=True)
            fields: dict[Any, Any] = {
                "name": "ada",
                "text": text,
                "at": datetime.now(UTC).isoformat(),
            }
            together.xadd("chat:{lobby}:messages", fields, "0-*")
        else:
            together.client_kill_filter(_type="pubsub")
            together.publish("chat", json.dumps({"type": "message", "text": text}))
        together.execute()


@pytest.mark.parametrize("app", [faulty("tests.broken.pubsub_fanout:app", AssertionError), STEP13])
async def test_a_line_to_redis_that_breaks_loses_nothing(
    start_process: StartProcess, redis_url: str, app: str
) -> None:
    chat = await start_process(app, env={**CROWD, "CHAT_LOG": redis_url})
    with closing(redis.Redis.from_url(redis_url, decode_responses=True)) as client:
        async with chat.connect(additional_headers=token("ada")) as listener:
            published(client, app, "while nobody listened")
            # Until it listens again.
            if app != STEP13:
                await grown(lambda: dict(client.pubsub_numsub("chat"))["chat"], 1)
            await listener.say("marker")
            frames = [frame for frame in await until(listener, text="marker") if "text" in frame]
            assert [frame["text"] for frame in frames] == ["while nobody listened", "marker"]


# How it starts


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        ("sqlite:////nowhere/chat.db", "unable to open database file"),
        ("redis://127.0.0.1:1", "Error 111 connecting to 127.0.0.1:1."),  # and in which words
        ("redis://127.0.0.1:lots", "Port could not be cast to integer value as 'lots'"),
    ],
)
async def test_a_log_that_cannot_be_opened_stops_the_start_with_a_sentence(
    monkeypatch: Patch, log: str, sentence: str
) -> None:
    # It would be asked again for three seconds.
    monkeypatch.setattr(redis_log, "Retry", lambda *_: Retry(NoBackoff(), 0))
    monkeypatch.setattr(processes, "history", history.log_at(log))
    with pytest.raises(RuntimeError) as stopped:
        await processes.lifespan(main.app).__aenter__()
    assert str(stopped.value).startswith(f"CHAT_LOG cannot be opened: {sentence}")


@pytest.mark.parametrize("log", ["", "chat.db", "sqlite:///", "redis://", "postgres://host/chat"])
def test_what_is_no_log_stops_the_start_with_a_sentence(monkeypatch: Patch, log: str) -> None:
    monkeypatch.setenv("CHAT_LOG", log)
    with pytest.raises(SystemExit) as ended:
        from_environment()
    assert str(ended.value).startswith(
        "CHAT_LOG (where messages are kept: sqlite:///chat.db, or redis://host:6379): "
    )


def test_redis_py_is_needed_for_redis_alone() -> None:
    program = """
import sys

class NotInstalled:
    def find_spec(name, *_):
        if name == "redis":
            raise ModuleNotFoundError(f"No module named '{name}'")

sys.meta_path.insert(0, NotInstalled)
from steps.step13_scale.history import log_at
from steps.step13_scale.main import app
log_at("redis://:secret@host")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    cure = "Install it: uv sync --group scale"
    assert done.stderr == f"CHAT_LOG: No module named 'redis'. {cure}\n"


def test_the_worker_class_of_uvicorn_is_deprecated() -> None:
    program = """
import sys
from unittest.mock import MagicMock

for name in ("gunicorn", "gunicorn.arbiter", "gunicorn.workers", "gunicorn.workers.base"):
    sys.modules[name] = MagicMock(Worker=object)
import uvicorn.workers
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert "DeprecationWarning: The `uvicorn.workers` module is deprecated." in done.stderr


# A deployment in which old and new run at once


async def test_steps_12_and_13_on_one_file_keep_one_log(start_process: StartProcess) -> None:
    old = await start_process(STEP12, env=CROWD)
    async with entered(old, token("ada"), "lobby") as ada:
        await ada.send(said := say("before"))
        await until(ada, type="ack")
        new = await start_process(STEP13, env=CROWD)
        async with entered(new, token("bob"), "lobby") as bob:
            await until(bob, text="before")
            # The new one hears at once what is said at the old one.
            await ada.send(say("from the old one"))
            await until(bob, text="from the old one")
            # The old one hears what is said at the new one when somebody speaks there.
            await bob.send(say("from the new one"))
            await until(bob, text="from the new one")
            await ada.send(say("marker"))
            frames = await until(ada, text="marker")
            texts = [frame["text"] for frame in frames if frame["type"] == "message"]
            assert texts[-3:] == ["from the old one", "from the new one", "marker"]
        # A key of then holds now.
        async with entered(new, token("ada"), "lobby") as back:
            await back.send(said)
            assert (await until(back, type="ack"))[-1]["id"] == 1


# The promise


class Member:
    """A client that says a thing until it is acknowledged, at whatever process it finds."""

    def __init__(self, number: int, hosts: list[Process]) -> None:
        # Each person has a window in each room, each window begins at another process.
        self.headers = token(f"guest {number // 3}")
        self.room = f"room {number % 3}"
        self.hosts = cycle(hosts[number % 3 :] + hosts[: number % 3])
        self.line: ClientConnection | None = None
        self.lines = 0
        self.heard: list[tuple[int, str]] = []
        self.unsaid: dict[str, Frame] = {}
        self.acknowledged: dict[str, int] = {}

    async def live(self) -> None:
        """Listen, and come back whenever the line is lost, for what was missed meanwhile."""
        options: dict[str, Any] = {"proxy": None, "compression": None, "max_queue": None}
        while True:
            last = self.heard[-1][0] if self.heard else 0
            address = f"ws://{next(self.hosts).address}/ws/{quote(self.room)}?last={last}"
            with suppress(OSError, InvalidHandshake, ConnectionClosed):
                async with connect(
                    address, additional_headers=self.headers, **options
                ) as self.line:
                    self.lines += 1
                    for frame in [*self.unsaid.values()]:
                        await self.line.send(json.dumps(frame))
                    async for text in self.line:
                        self.receive(json.loads(text))
            self.line = None
            await asyncio.sleep(0.05)

    def receive(self, frame: Frame) -> None:
        """Note a message, or that our own is kept."""
        if frame["type"] == "message":
            self.heard.append((frame["id"], frame["text"]))
        # Said again before the first answer came, it is answered twice.
        elif frame["type"] == "ack" and (said := self.unsaid.pop(frame["key"], None)):
            self.acknowledged[said["text"]] = frame["id"]

    async def say(self, text: str) -> None:
        """Say something: now, or as soon as there is a line."""
        frame = say(text)
        self.unsaid[frame["key"]] = frame
        with suppress(ConnectionClosed):
            if self.line:
                await self.line.send(json.dumps(frame))


async def grown(count: Callable[[], int], wanted: int) -> None:
    """Wait until there are as many as wanted."""
    while count() < wanted:  # noqa: ASYNC110 - nobody is told
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("kind", "clients"), [("sqlite", 60), ("redis", 300)])
async def test_whatever_is_killed_everybody_hears_everything_once_and_in_one_order(
    start_process: StartProcess, start_redis: StartRedis, log: str, kind: str, clients: int
) -> None:
    server = start_redis() if kind == "redis" else None
    env = {**CROWD, "CHAT_LOG": server.url if server else log}
    hosts = await asyncio.gather(*(start_process(STEP13, env=env) for _ in range(3)))
    members = [Member(number, hosts) for number in range(clients)]

    def kept() -> int:
        return sum(len(member.acknowledged) for member in members)

    async with asyncio.TaskGroup() as tasks:
        living = [tasks.create_task(member.live()) for member in members]
        await grown(lambda: sum(member.line is not None for member in members), clients)
        for turn, host in enumerate(hosts):
            speakers = [member for n, member in enumerate(members) if n // 3 % 3 == turn]
            talk = [tasks.create_task(one.say(f"{turn} {n}")) for n, one in enumerate(speakers)]
            # While they talk, one process is killed, and once Redis.
            await grown(kept, turn * clients // 3 + clients // 10)
            host.kill()
            if server and turn == 1:
                server.restart()
            await host.start()
            await asyncio.gather(*talk)
            await grown(kept, (turn + 1) * clients // 3)
        await grown(lambda: min(len(member.heard) for member in members), clients // 3)
        for task in living:
            task.cancel()
    for room in range(3):
        one_order = members[room].heard
        assert [number for number, _ in one_order] == list(range(1, clients // 3 + 1))
        for member in members[room::3]:
            assert member.heard == one_order
            for text, number in member.acknowledged.items():
                assert one_order[number - 1] == (number, text)
    said = [text for room in range(3) for _, text in members[room].heard]
    assert Counter(said) == Counter(text for member in members for text in member.acknowledged)
    assert len(said) == len(set(said)) == clients
    assert sum(member.lines for member in members) >= 2 * clients  # every line was lost
