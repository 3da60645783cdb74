"""Two clients of the container that `.ci/image` runs: they chat, then stay until it stops.

Its argument is the folder of a step. It ends with 0 if all went well.
"""

import asyncio
import json
import sys
from typing import Any
from urllib.request import urlopen

from websockets.asyncio.client import ClientConnection, connect

# On the loopback interface too, but a server that listens on 127.0.0.1 alone is not found here.
ADDRESS = "127.0.0.2:8000"


def fetch(path: str) -> bytes:
    """Return what the server has at a path. Raises `HTTPError` if it has nothing."""
    with urlopen(f"http://{ADDRESS}{path}", timeout=5) as answer:
        body: bytes = answer.read()
    return body


async def check_welcome(client: ClientConnection, name: str) -> None:
    """Receive the first frame of a client that has a name."""
    frame = json.loads(await client.recv())
    assert frame["type"] == "welcome", frame
    assert frame["name"] == name, frame
    assert name in frame["here"], frame


async def say(client: ClientConnection, text: str) -> None:
    """Send a `say` frame."""
    await client.send(json.dumps({"type": "say", "text": text}))


async def hears(client: ClientConnection, **expected: Any) -> None:
    """Wait for a frame that has all the expected members."""
    while True:
        frame: dict[str, Any] = json.loads(await client.recv())
        # It has been received by now, if this step has one at all.
        assert frame["type"] != "welcome", frame
        if expected.items() <= frame.items():
            return


async def meet_and_stay(named: bool) -> None:
    """Hold a conversation, say so on standard output, and wait for the server to stop."""
    socket = f"ws://{ADDRESS}/ws"
    from_ada, from_bob = ({"name": "ada"}, {"name": "bob"}) if named else ({}, {})
    async with connect(f"{socket}?name=ada") as ada, connect(f"{socket}?name=bob") as bob:
        if named:
            await check_welcome(ada, "ada")
            await check_welcome(bob, "bob")
        # Bob came last: once he is heard, the server has let both of them in.
        await say(bob, "hello")
        await hears(ada, type="message", text="hello", **from_bob)
        await say(ada, "hello, bob")
        await hears(bob, type="message", text="hello, bob", **from_ada)
        sys.stdout.write("they have met\n")
        sys.stdout.flush()
        for client in ada, bob:
            await client.wait_closed()
            assert client.close_code == 1012, client.close_code


if __name__ == "__main__":
    has_names = sys.argv[1] >= "step05"
    assert b"client.js" in fetch("/")
    # The health check of the image takes a 404 for an answer as well.
    if has_names:
        assert json.loads(fetch("/healthz")) == {"status": "ok"}
    asyncio.run(asyncio.wait_for(meet_and_stay(has_names), timeout=60))
