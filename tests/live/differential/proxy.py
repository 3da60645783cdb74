"""A line between page and server that can be cut and slowed down."""

import asyncio
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

LINGER_FOR_NO_TIME = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
BUFFER = 64 * 1024
"""Bytes that a slow line holds. The system's own measure is some megabytes, and it grows."""


class Proxy:
    """Passes bytes between a page and a server, and hurts the lines of WebSockets on demand.

    The bystander's lines stay whole: they have its name in their address.
    """

    def __init__(self) -> None:
        self.server: tuple[str, int] = ("", 0)
        self.lines: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self.fast = asyncio.Event()
        self.fast.set()

    @asynccontextmanager
    async def listening(self, server: str) -> AsyncIterator[str]:
        """Take connections for a server; yield the address that is in its place."""
        host, _, port = server.partition(":")
        self.server = (host, int(port))
        self.loop = asyncio.get_running_loop()
        async with await asyncio.start_server(self.connected, "127.0.0.1", 0) as listener:
            yield f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"

    async def hurt(self, how: str) -> None:
        """Do as the page asks: `cut`, `slow` or `fast`."""
        if how == "slow":
            self.fast.clear()
        elif how == "fast":
            self.fast.set()
        else:
            for line in self.lines:
                for end in line:
                    sock = end.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_FOR_NO_TIME)
                    end.transport.abort()

    async def connected(self, page: asyncio.StreamReader, to_page: asyncio.StreamWriter) -> None:
        """Serve one connection until both sides have ended it."""
        try:
            head = await page.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:  # a connection in reserve, as browsers keep them
            to_page.close()
            return
        sock = socket.socket()
        # Before it connects: the window that it offers the server depends on it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, self.server)
        server, to_server = await asyncio.open_connection(sock=sock, limit=BUFFER)
        to_server.write(head)
        line = (to_page, to_server)
        of_websocket = b"upgrade: websocket" in head.lower()
        hurtable = of_websocket and b"bystander" not in head.partition(b"\r\n")[0]
        if hurtable:
            self.lines.add(line)
        try:
            await asyncio.gather(
                passed_on(page, to_server, None),
                passed_on(server, to_page, self.fast if hurtable else None),
            )
        finally:
            self.lines.discard(line)


async def passed_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event | None
) -> None:
    """Pass on what one side says, while the gate is open, until it has nothing more to say."""
    with suppress(ConnectionError):
        while True:
            if gate:
                await gate.wait()
            if not (data := await reader.read(BUFFER)):
                break
            if gate:
                await gate.wait()
            writer.write(data)
            await writer.drain()
    writer.close()


class Switches:
    """Middleware of the real server: `POST /__line__/cut` and its like work the proxy."""

    def __init__(self, app: ASGIApp, proxy: Proxy) -> None:
        self.app = app
        self.proxy = proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hurt the lines before the request is answered; pass on all others."""
        _, _, how = scope.get("path", "").partition("/__line__/")
        if not how:
            await self.app(scope, receive, send)
            return
        # The server runs in a thread of its own.
        hurting = asyncio.run_coroutine_threadsafe(self.proxy.hurt(how), self.proxy.loop)
        await asyncio.wrap_future(hurting)
        await Response(status_code=204)(scope, receive, send)
