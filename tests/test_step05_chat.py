"""Step 5: everyone has a name, sees who is here, and hears what all say."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from tests.conftest import Client, Serve, Server, faulty, reset
from tests.test_step02_json import MISTAKES

# Steps 6 to 8 mend faults, and change nothing of this. In 9 a name is no longer what one says.
LATER = ["step06_faults", "step07_backpressure", "step08_security"]
each_chat = pytest.mark.parametrize("step", ["step05_chat", *LATER])


@each_chat
async def test_the_first_frame_says_who_you_are_and_who_is_here(serve: Serve, step: str) -> None:
    server = serve(step)
    async with server.connect("/ws?name=bob") as bob:
        assert await bob.receive() == {"type": "welcome", "name": "bob", "here": ["bob"]}
        async with server.connect("/ws?name=ada") as ada:
            assert await ada.receive() == {"type": "welcome", "name": "ada", "here": ["ada", "bob"]}
            assert await bob.receive() == {"type": "joined", "name": "ada"}
        assert await bob.receive() == {"type": "left", "name": "ada"}


@pytest.mark.parametrize("step", [faulty("step04_manager", AssertionError), "step05_chat", *LATER])
async def test_what_one_says_reaches_everyone_with_a_name_and_a_time(
    serve: Serve, step: str
) -> None:
    server = serve(step)
    async with server.connect("/ws?name=ada") as ada, server.connect("/ws?name=bob") as bob:
        await bob.say("hello")
        frame = await ada.receive()
        # Step 4 knows no names: what ada hears first is the text, from nobody.
        assert frame["type"] == "welcome"
        assert await ada.receive() == {"type": "joined", "name": "bob"}
        before = datetime.now(UTC)
        await ada.say("hello bob")
        await ada.receive()
        frame = await ada.receive()
        assert (frame["type"], frame["name"], frame["text"]) == ("message", "ada", "hello bob")
        assert before <= datetime.fromisoformat(frame["at"]) <= datetime.now(UTC)
        assert (await bob.receive())["type"] == "welcome"
        assert [await bob.hears(), await bob.receive()] == ["hello", frame]


@pytest.mark.parametrize("step", ["step05_chat", *LATER[:2]])  # too fast for step 8
async def test_the_welcome_is_first_even_in_the_middle_of_a_conversation(
    serve: Serve, step: str
) -> None:
    server = serve(step)
    async with server.connect("/ws?name=ada") as ada, asyncio.TaskGroup() as tasks:

        async def speak() -> None:
            for number in range(500):
                await ada.say(f"number {number}")

        async def come(name: str) -> None:
            async with server.connect(f"/ws?name={name}") as client:
                assert (await client.receive())["type"] == "welcome"

        tasks.create_task(speak())
        for number in range(20):
            tasks.create_task(come(f"visitor-{number}"))


@each_chat
async def test_who_brings_no_name_gets_the_first_free_one(serve: Serve, step: str) -> None:
    server = serve(step)

    async def name(client: Client) -> str:
        welcome = await client.receive()
        given: str = welcome["name"]
        return given

    async with server.connect() as first, server.connect("/ws?name=%20") as second:
        assert await name(first) == "guest-1"
        assert await name(second) == "guest-2"
        await first.connection.close()
        # The second hears of it, so the name is free again.
        assert await second.receive() == {"type": "left", "name": "guest-1"}
        async with server.connect() as third:
            assert await name(third) == "guest-1"


@each_chat
async def test_a_taken_name_closes_with_4409_and_disturbs_nobody(serve: Serve, step: str) -> None:
    server = serve(step)
    async with server.connect("/ws?name=ada") as ada, server.connect("/ws?name=ada") as impostor:
        assert await impostor.closed() == (4409, "Somebody here has that name. Try another.")
        await ada.say("marker")
        assert (await ada.receive())["here"] == ["ada"]
        assert await ada.hears() == "marker"


@each_chat
async def test_of_many_who_want_one_name_exactly_one_gets_it(serve: Serve, step: str) -> None:
    server = serve(step)
    async with AsyncExitStack() as stack:
        enter = [stack.enter_async_context(server.connect("/ws?name=ada")) for _ in range(20)]
        clients = await asyncio.gather(*enter)

        outcomes = await asyncio.gather(
            *(client.receive() for client in clients), return_exceptions=True
        )
        welcomed = [outcome for outcome in outcomes if isinstance(outcome, dict)]
        assert welcomed == [{"type": "welcome", "name": "ada", "here": ["ada"]}]
        assert [client.connection.close_code for client in clients].count(4409) == 19


@each_chat
async def test_a_name_that_is_no_good_closes_with_1008_and_says_why(
    serve: Serve, step: str
) -> None:
    server = serve(step)
    for name in ("x" * 21, "a%0Ab", "ada%E2%80%AE", "%00"):
        async with server.connect(f"/ws?name={name}") as client:
            assert await client.closed() == (1008, "A name is at most 20 printable characters.")


@each_chat
@pytest.mark.parametrize("name", ["ada", "Ada Lovelace", "李小龙", "🦊", "<b>", "a&b=c", "x" * 20])
def test_any_other_name_is_taken_as_it_is(step: str, name: str) -> None:
    with (
        TestClient(import_module(f"steps.{step}.main").app) as client,
        client.websocket_connect("/ws", params={"name": f" {name} "}) as socket,
    ):
        assert socket.receive_json()["name"] == name


@pytest.mark.parametrize("step", ["step05_chat", *LATER[:2]])  # one of them is too big for step 8
async def test_a_mistake_is_answered_to_its_maker_alone(serve: Serve, step: str) -> None:
    server = serve(step)
    async with server.connect("/ws?name=ada") as ada, server.connect("/ws?name=bob") as bob:
        assert (await bob.receive())["type"] == "welcome"
        assert [(await ada.receive())["type"] for _ in range(2)] == ["welcome", "joined"]
        for mistake, (frame, code, _) in MISTAKES.items():
            await ada.send(frame)
            assert (await ada.receive())["code"] == code, mistake
        await ada.say("sorry")
        assert await bob.hears() == "sorry"


@each_chat
async def test_everyone_who_leaves_is_announced_once_however_they_leave(
    serve: Serve, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(step)
    async with server.connect("/ws?name=ada") as ada:
        assert (await ada.receive())["type"] == "welcome"
        for number in range(30):
            name = f"eve {number}"
            async with server.connect(f"/ws?name=eve%20{number}") as eve:
                assert await ada.receive() == {"type": "joined", "name": name}
                if number % 3 == 0:
                    reset(eve)
                elif number % 3 == 1:
                    # Said and gone in one packet: the server speaks to somebody who has left.
                    protocol = eve.connection.protocol
                    protocol.send_text(b'{"type":"say","text":"bye"}')
                    protocol.send_close(1001)
                    eve.connection.transport.write(b"".join(protocol.data_to_send()))
                    assert await ada.hears() == "bye"
            assert await ada.receive() == {"type": "left", "name": name}
    server.stop()
    assert caplog.text == ""


@each_chat
async def test_a_client_that_is_refused_and_gone_leaves_no_traceback(
    serve: Serve, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(step)
    async with server.connect("/ws?name=ada"):
        for _ in range(20):
            async with server.connect("/ws?name=ada") as impostor:
                reset(impostor)
    server.stop()
    assert caplog.text == ""


async def test_two_hundred_people_hear_every_message_once_and_in_order(serve: Serve) -> None:
    server = serve("step05_chat")

    async def heard(client: Client) -> list[str]:
        texts: list[str] = []
        while len(texts) < 5:
            frame = await client.receive()
            texts += [frame["text"]] if frame["type"] == "message" else []
        return texts

    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(server.connect()) for _ in range(200)]
        for number in range(5):
            await crowd[0].say(f"number {number}")
        for texts in await asyncio.gather(*map(heard, crowd)):
            assert texts == [f"number {number}" for number in range(5)]


@each_chat
async def test_a_stopping_server_says_so_with_1012(serve: Serve, step: str) -> None:
    server: Server = serve(step)
    async with server.connect("/ws?name=ada") as ada:
        assert (await ada.receive())["type"] == "welcome"
        await asyncio.to_thread(server.stop)
        assert (await ada.closed())[0] == 1012


@each_chat
async def test_the_health_check_answers_while_people_talk(serve: Serve, step: str) -> None:
    server = serve(step)
    async with server.connect() as ada, httpx2.AsyncClient(base_url=server.url) as http:
        await ada.say("hello")
        response = await http.get("/healthz")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})


@each_chat
async def test_an_announcement_reaches_everyone(serve: Serve, step: str) -> None:
    server = serve(step)
    async with server.connect() as ada, httpx2.AsyncClient(base_url=server.url) as http:
        assert (await ada.receive())["type"] == "welcome"
        response = await http.post("/announce", json={"text": "lunch"})
        assert response.json() == {"delivered": 1}
        notice: dict[str, Any] = await ada.receive()
        assert notice == {"type": "notice", "text": "lunch"}
