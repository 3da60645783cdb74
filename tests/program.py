"""A program that has signed in to step 9's chat, says something in it, and signs out."""

# ruff: noqa: T201 - it prints what it hears

import asyncio
import json
import sys
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

from websockets.asyncio.client import connect


def ask(server: str, method: str, path: str, body: object = None, token: str = "") -> Any:
    """Make a request; return the answer. Raises RuntimeError if it is a refusal."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    with closing(HTTPConnection(server)) as http:
        http.request(method, path, json.dumps(body) if body else None, headers)
        answer = http.getresponse()
        text = answer.read().decode()
    if answer.status >= 400:
        raise RuntimeError(text)
    return json.loads(text or "null")


async def main(server: str) -> None:
    """Talk to the server on `127.0.0.1:8000`, or wherever it is."""
    token = ask(server, "POST", "/session", {"name": "robot"})["token"]
    headers = {"authorization": f"Bearer {token}"}
    async with connect(f"ws://{server}/ws", additional_headers=headers) as socket:
        print(await socket.recv())
        await socket.send(json.dumps({"type": "say", "text": "Lunch is ready"}))
        print(await socket.recv())
        ask(server, "DELETE", "/session", token=token)
        await socket.wait_closed()
        print(socket.close_code, socket.close_reason)


asyncio.run(main(*sys.argv[1:]))
