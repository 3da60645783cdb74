"""Two clients of the container that `.ci/image` runs: they chat, then stay until it stops.

Its first argument is the folder of a step. With `remembers` after it, one client comes into a
server that was started on what they left behind. It ends with 0 if all went well.
"""

import asyncio
import json
import sys
from http.client import HTTPConnection
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


def sign_in(name: str) -> dict[str, str]:
    """Sign somebody in; return the header that proves it."""
    server = HTTPConnection(ADDRESS, timeout=5)
    body = json.dumps({"name": name})
    server.request("POST", "/session", body, {"content-type": "application/json"})
    token = json.load(server.getresponse())["token"]
    server.close()
    return {"authorization": f"Bearer {token}"}


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


def come(step: str, name: str, query: str = "") -> connect:
    """Connect somebody to the chat of a step, with what proves the name from step 9 on."""
    proof = sign_in(name) if step >= "step09" else {}
    path = "/ws/lobby" if step >= "step10" else "/ws"
    return connect(f"ws://{ADDRESS}{path}?name={name}{query}", additional_headers=proof)


async def remembers(step: str) -> None:
    """Come back to what was said before the server was stopped."""
    async with come(step, "eve", "&last=0") as eve:
        await check_welcome(eve, "eve")
        await hears(eve, type="message", id=1, name="bob", text="hello")
        await hears(eve, type="message", id=2, name="ada", text="hello, bob")


async def meet_and_stay(step: str) -> None:
    """Hold a conversation, say so on standard output, and wait for the server to stop."""
    named = step >= "step05"
    from_ada, from_bob = ({"name": "ada"}, {"name": "bob"}) if named else ({}, {})
    async with come(step, "ada") as ada, come(step, "bob") as bob:
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
    folder, *rest = sys.argv[1:]
    assert b"client.js" in fetch("/")
    # The health check of the image takes a 404 for an answer as well.
    if folder >= "step05":
        assert json.loads(fetch("/healthz")) == {"status": "ok"}
    scene = remembers if rest else meet_and_stay
    asyncio.run(asyncio.wait_for(scene(folder), timeout=60))
