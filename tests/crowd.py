"""A crowd for measurements: as many clients as you like, in one process, and light.

What they are measured against is a server in a process of its own.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import cast

import jwt
from typing_extensions import override

ROOT = Path(__file__).parents[1]
SECRET = "a secret of 32 characters or more"  # noqa: S105 - of no one's
TICK = os.sysconf("SC_CLK_TCK") if sys.platform != "win32" else 100


def cpu(pid: int) -> float:
    """Return for how many seconds a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def memory(pid: int) -> int:
    """Return how many bytes a process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


class Chat:
    """Step 13 on uvicorn, without the limits that keep a crowd away."""

    def __init__(self, log: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        limits = ("CONNECTIONS", "CONNECTIONS_PER_ADDRESS", "RATE")
        env = {f"CHAT_{name}": "1000000" for name in limits}
        env |= {"CHAT_LOG": log, "CHAT_SECRET": SECRET}
        command = [sys.executable, "-m", "uvicorn", "steps.step13_scale.main:app"]
        # Compressed, a message costs nearly twice as much.
        command += [f"--port={self.port}", "--log-level=critical", "--ws-per-message-deflate=false"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | env)

    async def up(self) -> None:
        """Wait until it takes connections."""
        while socket.socket().connect_ex(("127.0.0.1", self.port)):  # noqa: ASYNC110 - polls
            await asyncio.sleep(0.05)

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self.process.pid

    def kill(self) -> None:
        """Have it end at once."""
        self.process.kill()
        self.process.wait()


class Client(asyncio.Protocol):
    """A client that counts what it hears. It sends no frame of its own accord but pongs."""

    def __init__(self, name: str, room: str, heard: Callable[[bytes], None] | None = None) -> None:
        self.name, self.room, self.heard = name, room, heard
        self.welcome = asyncio.get_running_loop().create_future()
        self.data = b""
        self.open = False
        self.messages = self.frames = 0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        session = {"sub": self.name, "jti": self.name, "exp": 2**31}
        lines = [
            f"GET /ws/{self.room}?last=0 HTTP/1.1",
            "Host: localhost",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {b64encode(os.urandom(16)).decode()}",
            f"Authorization: Bearer {jwt.encode(session, SECRET, 'HS256')}",
        ]
        self.transport.write("\r\n".join([*lines, "", ""]).encode())

    @override
    def data_received(self, data: bytes) -> None:
        self.data = data = self.data + data
        if not self.open:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head:
                raise ConnectionError(head)
            self.open = True
        # Frames of a server are not masked: two bytes, or four, or ten, and the text.
        begin, end = 0, len(data)
        while end - begin >= 2:
            length, start = data[begin + 1], begin + 2
            if length >= 126:
                start += 2 if length == 126 else 8
                length = int.from_bytes(data[begin + 2 : start], "big")
            if start + length > end:
                break
            self.frame(data[begin], data[start : start + length])
            begin = start + length
        self.data = data[begin:]

    def frame(self, opcode: int, data: bytes) -> None:
        """Count a frame, and answer a ping."""
        self.frames += 1
        if data.startswith(b'{"type":"message"'):
            self.messages += 1
            if self.heard:
                self.heard(data)
        elif opcode == 0x89:
            self.write(0x8A, data)
        elif not self.welcome.done():
            self.welcome.set_result(None)

    def say(self, text: str) -> None:
        """Send a `say` frame, and wait for nobody."""
        self.write(0x81, json.dumps({"type": "say", "text": text}).encode())

    def write(self, opcode: int, data: bytes) -> None:
        """Send a frame. Masked with zeros a text stays as it is (RFC 6455, section 5.3)."""
        size = (
            bytes([128 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        )
        self.transport.write(bytes([opcode]) + size + bytes(4) + data)


async def enter(chat: Chat, client: Client) -> Client:
    """Connect a client and wait for its welcome."""
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: client, "127.0.0.1", chat.port)
    await client.welcome
    return client


async def settled(clients: list[Client]) -> None:
    """Wait until nobody has heard anything for a while."""
    before, now = -1, 0
    while before != now:
        await asyncio.sleep(0.5)
        before, now = now, sum(client.frames for client in clients)
