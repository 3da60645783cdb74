"""Shows who hears what in a step with two workers: `python -m tests.two_workers step13_scale`."""

import asyncio
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time

import jwt

from tests.conftest import Client, Process, browse

CLIENTS = 40
SECRET = "for the tests, and known to everyone"  # noqa: S105


def token(name: str, secret: str = SECRET) -> dict[str, str]:
    """Return the headers by which somebody proves a sign-in that no server has seen yet."""
    claims = {"sub": name, "jti": f"{name}'s", "exp": int(time()) + 3600}
    return {"authorization": f"Bearer {jwt.encode(claims, secret, 'HS256')}"}


async def hears(client: Client, text: str) -> bool:
    """Return whether somebody hears a text, within a second."""
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            while (await client.receive()).get("text") != text:
                pass
            return True
    return False


async def count(server: Process) -> tuple[int, int]:
    """Return how many of the clients heard a message, and how many a notice."""
    async with AsyncExitStack() as stack:
        people = [token(f"guest {number}") for number in range(CLIENTS)]
        entering = [server.connect(additional_headers=one) for one in people]
        clients = await asyncio.gather(*map(stack.enter_async_context, entering))
        await clients[0].say("hello")
        heard = sum(await asyncio.gather(*(hears(client, "hello") for client in clients)))
        async with browse(server) as http:
            answer = await http.post("/announce", json={"text": "lunch"}, headers=people[0])
        noticed = sum(await asyncio.gather(*(hears(client, "lunch") for client in clients)))
        assert answer.json() == {"delivered": noticed}
        return heard, noticed


async def main(step: str) -> None:
    """Start a step with two workers, and print who hears what."""
    with TemporaryDirectory() as folder:
        env = {"CHAT_LOG": f"sqlite:///{folder}/chat.db", "CHAT_SECRET": SECRET}
        server = Process(step, folder=Path(folder), env=env, workers=2)
        try:
            await server.start()
            for what, heard in zip(("message", "notice"), await count(server), strict=True):
                print(f"{heard} of {CLIENTS} heard the {what}")  # noqa: T201
        finally:
            server.kill()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
