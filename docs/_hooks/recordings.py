"""The `record` fence: a script played by real clients on a real server."""

import asyncio
import json
import re
import shlex
import socket
import struct
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import closing
from http.client import HTTPConnection
from importlib.metadata import version
from typing import cast

from commands import alone, anywhere
from project import ROOT, PageError, cached, fenced, tabs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

LIMIT = 30
"""Seconds that a script may take, its server's start and end included."""


def record(script: str, app: str) -> str:
    """Play a script against an app on uvicorn; show the frames and the server's terminal.

    `app` is a step or a dotted module with an `app`, and after it any options of uvicorn.
    """
    name, *options = shlex.split(app) or [""]
    module = name if "." in name else f"steps.{name}.main"
    source = ROOT / f"{module.replace('.', '/')}.py"
    if not source.exists():
        raise PageError(f"record {name}: there is no {source.relative_to(ROOT)}")
    versions = (version(package) for package in ("fastapi", "uvicorn", "websockets"))
    inputs = (path for path in sorted(source.parent.rglob("*.*")) if path.suffix != ".pyc")
    play = Play(script, "/ws/lobby" if re.match(r"step1\d_", name) else "/ws")
    command = [sys.executable, "-m", "uvicorn", f"{module}:app", "--no-use-colors", *options]

    def performed() -> str:
        with alone() as env:
            return asyncio.run(play.on(command, env))

    return cached(performed, script, app, *versions, *inputs)


class Play:
    """One performance of a script: its clients, and what they saw."""

    def __init__(self, script: str, path: str) -> None:
        self.script = script
        self.path = path
        self.line = 0
        self.port = 0
        self.clients: dict[str, ClientConnection] = {}
        self.proofs: dict[str, dict[str, str]] = {}
        self.seen: list[tuple[str, str]] = []

    async def on(self, command: list[str], env: dict[str, str]) -> str:
        """Start the server, play the script, stop the server; return two tabs."""
        # Port 0 lets the system choose; uvicorn prints which, once it listens.
        server = await asyncio.create_subprocess_exec(
            *command, "--port=0", cwd=ROOT, env=env, stdout=PIPE, stderr=STDOUT
        )
        stdout = cast("asyncio.StreamReader", server.stdout)
        terminal = ""
        try:
            async with asyncio.timeout(LIMIT):
                while not (listens := re.search(r"running on http://127.0.0.1:(\d+)", terminal)):
                    printed = (await stdout.readline()).decode()
                    terminal += printed
                    if not printed:
                        raise PageError(f"the server did not start:\n{terminal}")
                self.port = int(listens[1])
                # Read on from here: a server whose pipe is full stands still.
                rest = asyncio.create_task(stdout.read())
                await self.play()
                server.terminate()
                terminal += (await rest).decode()
                await server.wait()
        except TimeoutError:
            raise PageError(f"the script was not done after {LIMIT} s", self.line) from None
        except KeyError as who:
            raise PageError(f"{who} is not connected", self.line) from None
        except Exception as error:
            raise PageError(f"{type(error).__name__}: {error}", self.line) from error
        finally:
            if server.returncode is None:
                server.kill()
                await server.wait()
        # Readers start theirs on uvicorn's usual port.
        terminal = anywhere(terminal).replace(f":{self.port}", ":8000")
        width = max((len(who) for who, _ in self.seen), default=0)
        frames = "\n".join(f"{who:{width}}  {what}" if who else what for who, what in self.seen)
        return tabs(
            ("Frames", fenced(frames, "text")), ("Server's terminal", fenced(terminal, "text"))
        )

    async def play(self) -> None:
        """Do what the script says; afterwards whoever is still there leaves unseen."""
        for line, order in enumerate(self.script.splitlines(), 1):
            self.line = line
            if order.strip():
                await self.perform(order)
        for client in self.clients.values():
            await client.close()

    async def perform(self, order: str) -> None:
        """Do what one line says, and note what was seen. Raises `KeyError` for a stranger."""
        match order.split(maxsplit=2):
            case ["GET" | "POST" | "PUT" | "DELETE" as method, path, *body]:
                status, answer = await asyncio.to_thread(self.request, method, path, "".join(body))
                self.seen += [("", order), ("", f"{status} {answer}")]
            case [who, "connects", *path]:
                await self.connect(who, "".join(path))
            case [who, "signs", "in"]:
                await self.sign_in(who)
            case [who, "sends", frame]:
                data = bytes.fromhex(frame[6:]) if frame.startswith("bytes ") else frame
                await self.clients[who].send(data)
                self.seen.append((who, f"→ {shown(data)}"))
            case [who, "receives"]:
                try:
                    self.seen.append((who, f"← {shown(await self.clients[who].recv())}"))
                except ConnectionClosed:
                    self.ended(who, "closed")
            case [who, "leaves"]:
                await self.clients[who].close()
                self.ended(who, "leaves")
            case [who, "is", "closed"]:
                await self.clients[who].wait_closed()
                self.ended(who, "closed")
            case [who, "is", "cut off"]:
                self.cut(who)
            case _:
                raise PageError(f"{order!r} is no line of a script")

    def request(self, method: str, path: str, body: str) -> tuple[int, str]:
        """Make an HTTP request; return the status and the body of the answer."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=LIMIT)) as http:
            http.request(method, path, body, {"Content-Type": "application/json"})
            answer = http.getresponse()
            return answer.status, answer.read().decode()

    async def sign_in(self, who: str) -> None:
        """Sign somebody in, from step 9 on. `ada` is then proved to be Ada, and so is `ada-2`."""
        body = json.dumps({"name": who})
        status, answer = await asyncio.to_thread(self.request, "POST", "/session", body)
        if status != 200:
            raise PageError(answer, self.line)
        self.proofs[who] = {"authorization": f"Bearer {json.loads(answer)['token']}"}
        self.seen.append((who, "signs in"))

    async def connect(self, who: str, path: str) -> None:
        """Connect a client, or note with what status it was refused.

        A path that does not begin with a slash comes after the chat's own.
        """
        path = path if path.startswith("/") else self.path + path
        url, proof = f"ws://127.0.0.1:{self.port}{path}", self.proofs.get(who.partition("-")[0])
        try:
            self.clients[who] = await connect(url, proxy=None, additional_headers=proof)
            self.seen.append((who, f"connects to {path}"))
        except InvalidStatus as refusal:
            self.seen.append((who, f"refused: HTTP {refusal.response.status_code}"))

    def ended(self, who: str, word: str) -> None:
        """Note with what code a connection ended, as its client sees it."""
        client = self.clients.pop(who)
        code = f"({client.close_code})" if word == "leaves" else client.close_code
        self.seen.append((who, f"{word} {code} {client.close_reason}".rstrip()))

    def cut(self, who: str) -> None:
        """Cut a client's line with a TCP RST: no close frame, no goodbye."""
        transport = self.clients.pop(who).transport
        linger_for_no_time = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_no_time)
        transport.abort()
        self.seen.append((who, "is cut off"))


def shown(frame: str | bytes) -> str:
    """Return a frame as a reader sees it."""
    return frame if isinstance(frame, str) else f"binary {frame.hex()}"
