"""Steps 3 and 4: what one says reaches all the others, whatever becomes of any of them."""

import asyncio
import json
import queue
import socket
from contextlib import AsyncExitStack
from importlib import import_module
from typing import Any

import pytest
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from tests.broken import broadcast as broken
from tests.conftest import Client, Serve, faulty, reset

# Step 4 refactors: it has to pass every one of these.
every_step = pytest.mark.parametrize("step", ["step03_broadcast", "step04_manager"])


@pytest.mark.parametrize(
    "step", [faulty("step02_json", AssertionError), "step03_broadcast", "step04_manager"]
)
async def test_what_one_says_reaches_the_others(serve: Serve, step: str) -> None:
    server = serve(step)
    async with server.connect() as ada, server.connect() as bob, server.connect() as eve:
        await bob.say("I am bob")
        await ada.say("hello bob")
        # In step 2 the first thing that bob hears is himself.
        assert await bob.hears() == "hello bob"
        assert await ada.hears() == "I am bob"
        assert {await eve.hears(), await eve.hears()} == {"I am bob", "hello bob"}


@every_step
async def test_the_sender_does_not_hear_itself(serve: Serve, step: str) -> None:
    server = serve(step)
    async with server.connect() as ada, server.connect() as bob:
        await ada.say("from ada")
        assert await bob.hears() == "from ada"
        await bob.say("from bob")
        assert await ada.hears() == "from bob"


@every_step
async def test_an_error_reaches_only_the_one_who_made_it(serve: Serve, step: str) -> None:
    server = serve(step)
    async with server.connect() as ada, server.connect() as bob:
        await ada.send("junk")
        assert (await ada.receive())["code"] == "bad_json"
        await ada.send(b"junk")
        assert (await ada.receive())["code"] == "not_text"
        await ada.say("sorry")
        assert await bob.hears() == "sorry"


@every_step
async def test_a_reset_peer_does_not_stop_the_others(
    serve: Serve, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(step)
    async with server.connect() as ada, server.connect() as bob:
        for _ in range(20):
            async with server.connect() as eve:
                reset(eve)  # RST: no close frame, no goodbye
            await ada.say("still here?")
            assert await bob.hears() == "still here?"
        # Nor did any of it end the sender.
        await bob.say("still here!")
        assert await ada.hears() == "still here!"
    server.stop()
    assert caplog.text == ""


@every_step
async def test_clients_that_come_and_go_during_a_broadcast_disturb_nobody(
    serve: Serve, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(step)

    async def come_and_go(cut: bool) -> None:
        for _ in range(20):
            async with server.connect() as guest:
                await guest.say("hello")
                if cut:
                    reset(guest)

    async def speak(speaker: Client) -> None:
        for number in range(200):
            await speaker.say(f"number {number}")

    async def listen(listener: Client) -> list[str]:
        heard: list[str] = []
        while not heard or heard[-1] != "number 199":
            text = await listener.hears()
            heard += [text] if text.startswith("number") else []
        return heard

    async with server.connect() as ada, server.connect() as bob, asyncio.TaskGroup() as tasks:
        heard = tasks.create_task(listen(bob))
        tasks.create_task(speak(ada))
        for cut in (True, False, True, False):
            tasks.create_task(come_and_go(cut))
    assert heard.result() == [f"number {number}" for number in range(200)]
    server.stop()
    assert caplog.text == ""


def narrow(full: "queue.Queue[WebSocketsSansIOProtocol]") -> type[asyncio.Protocol]:
    """Return uvicorn's own protocol, in which eve's line holds little; `full` gets it when it is.

    Eve is who connects to `/ws?name=eve`.
    """

    class Narrow(WebSocketsSansIOProtocol):
        def handle_connect(self, event: Request) -> None:
            super().handle_connect(event)
            if event.path.endswith("?name=eve"):
                sock = self.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

        def pause_writing(self) -> None:
            super().pause_writing()
            if self.request.path.endswith("?name=eve"):
                full.put(self)

    return Narrow


@pytest.mark.parametrize(
    "step", ["step03_broadcast", "step04_manager", "step05_chat", "step06_faults"]
)
async def test_a_client_that_uvicorn_has_given_up_does_not_end_who_waited_for_it(
    serve: Serve, step: str, caplog: pytest.LogCaptureFixture
) -> None:
    full: queue.Queue[WebSocketsSansIOProtocol] = queue.Queue()
    server = serve(step, ws=narrow(full), ws_ping_interval=None)
    async with (
        server.connect("/ws?name=eve", compression=None) as eve,
        server.connect("/ws?name=ada", compression=None) as ada,
        asyncio.TaskGroup() as tasks,
    ):
        eve.connection.transport.pause_reading()

        async def speak() -> None:
            for _ in range(100):
                await ada.say("👋" * 2000)
            await ada.send("junk")

        tasks.create_task(speak())
        waited_for = await asyncio.to_thread(full.get, timeout=30)

        async def give_up() -> None:
            # What uvicorn does when a ping gets no answer: from here on every send to eve raises
            # a plain RuntimeError, as soon as there is room in her buffer.
            waited_for.keepalive_timeout()

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(give_up(), waited_for.loop))
        eve.connection.transport.resume_reading()
        assert await eve.closed() == (1011, "keepalive ping timeout")
        while (frame := await ada.receive())["type"] != "error":
            pass
        assert frame["code"] == "bad_json"
    server.stop()
    assert caplog.text == ""


class Peer:
    """What a broadcast sees of a client. While it is spoken to, everybody leaves."""

    def __init__(self, connections: set[Any]) -> None:
        self.connections = connections
        self.heard: list[Any] = []

    async def send_text(self, text: str) -> None:
        self.connections.clear()
        self.heard.append(json.loads(text)["text"])


@every_step
async def test_a_broadcast_reaches_all_who_were_there_when_it_began(step: str) -> None:
    main = import_module(f"steps.{step}.main")
    connections = main.connections if hasattr(main, "connections") else main.manager.connections
    ada, bob, eve = peers = [Peer(connections) for _ in range(3)]
    connections.update(peers)
    broadcast = main.broadcast if hasattr(main, "broadcast") else main.manager.broadcast
    await broadcast(main.Message(text="hello"), ada)
    assert [ada.heard, bob.heard, eve.heard] == [[], ["hello"], ["hello"]]


@every_step
async def test_two_hundred_clients_hear_every_message_in_order(serve: Serve, step: str) -> None:
    server = serve(step)
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(server.connect()) for _ in range(200)]
        ada, *others = crowd
        for number in range(5):
            await ada.say(f"number {number}")
        for client in others:
            assert [await client.hears() for _ in range(5)] == [f"number {n}" for n in range(5)]


@every_step
async def test_nobody_is_left_in_the_books_after_all_have_gone(serve: Serve, step: str) -> None:
    # The fixture looks into the books at the end of every test; here they leave in every way.
    server = serve(step)
    async with server.connect() as polite, server.connect() as rude, server.connect() as broken:
        await polite.connection.close(1000)
        reset(rude)
        # Half a frame, then nothing: the rest is never going to come.
        broken.connection.transport.write(b"\x81\xff\x00")
        reset(broken)


async def test_the_version_in_most_tutorials_throws_out_the_innocent_sender(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve("tests.broken.broadcast")
    async with server.connect() as eve, server.connect() as ada, server.connect() as bob:
        # Eve's endpoint dies of this, and leaves her in the list.
        await eve.send(b"\x00\xff")
        assert await eve.closed() == (1006, "")
        # Ada has done nothing wrong.
        await ada.send("hello")
        assert await ada.closed() == (1006, "")
        # Nor has bob: he hears nothing of it, and he is the next to go.
        await bob.send("hello?")
        assert await bob.closed() == (1006, "")
    server.stop()
    # All three are gone, and two of them are in the list for good.
    assert len(broken.connections) == 2
    assert "KeyError: 'text'" in caplog.text
    assert 'Cannot call "send" once a close message has been sent.' in caplog.text


@every_step
async def test_the_same_frame_disturbs_nobody_here(serve: Serve, step: str) -> None:
    server = serve(step)
    async with server.connect() as eve, server.connect() as ada, server.connect() as bob:
        await eve.send(b"\x00\xff")
        assert (await eve.receive())["code"] == "not_text"
        await ada.say("hello")
        assert await bob.hears() == "hello"
        assert await eve.hears() == "hello"
