"""Caddy for the tests, as compose.yaml sets it up, and names that lead it to replicas."""

import asyncio
import os
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from typing_extensions import override
from websockets.asyncio.client import connect

from tests.conftest import Client, Host, free_address

CADDY = str(Path(sys.executable).with_name("caddy"))


class Names(asyncio.DatagramProtocol):
    """A name server: whatever is asked, the answer is `addresses` (RFC 1035, section 4.1)."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    @override
    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        # After a header of 12 bytes the question: a name that ends with a zero, type and class.
        end = data.index(b"\0", 12) + 5
        ipv4 = data[end - 4 : end] == struct.pack("!2H", 1, 1)
        # "The name of byte 12", type, class, seconds to live, length.
        answers = [
            struct.pack("!3HIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(address)
            for address in self.addresses
            if ipv4
        ]
        header = data[:2] + struct.pack("!5H", 0x8180, 1, len(answers), 0, 0)
        self.transport.sendto(b"".join([header, data[12:end], *answers]), addr)


class Caddy(Host):
    """Caddy on the loopback interface, with the Caddyfile of compose.yaml.

    What is different: its ports and its own address, that it asks `names` for the addresses of
    replicas, which listen on `port`, and that no machine shall trust its certificates.
    """

    path = "/ws/lobby"

    def __init__(self, caddyfile: str, folder: Path, port: str, names: str) -> None:
        self.plain, safe = (f"localhost:{free_address().split(':')[1]}" for _ in range(2))
        """Where its http is: it leads to its https, if it has that."""
        self.address = self.plain if "\n:80 {" in caddyfile else safe
        http, https = (address.split(":")[1] for address in (self.plain, safe))
        changes = {
            "admin off": f"admin off\n\tskip_install_trust\n\tdefault_bind 127.0.0.1\n"
            f"\thttp_port {http}\n\thttps_port {https}",
            "\n:80 {": f"\n:{http} {{",
            "dynamic a chat 8000 {": f"dynamic a chat {port} {{\n\t\t\tresolvers {names}",
            # uvicorn believes what comes from 127.0.0.1, unless it is told whom to believe.
            "transport http {": "transport http {\n\t\t\tlocal_address 127.0.0.64",
        }
        for before, after in changes.items():
            caddyfile = caddyfile.replace(before, after)
        self._file, self._folder = folder / "Caddyfile", folder
        self._file.write_text(caddyfile, "utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _certificate(self) -> Path:
        return self._folder / "caddy/pki/authorities/local/root.crt"

    @property
    def trust(self) -> ssl.SSLContext:
        """What believes its certificates."""
        return ssl.create_default_context(cafile=self._certificate)

    async def start(self) -> None:
        """Start it, and wait until it takes connections."""
        log = self._folder / "caddy.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
                [CADDY, "run", "--config", str(self._file)],
                env=os.environ | {"XDG_DATA_HOME": str(self._folder), "HOME": str(self._folder)},
                stdout=output,
                stderr=output,
            )
        while b"serving initial configuration" not in log.read_bytes():
            assert self._process.poll() is None, log.read_text("utf-8")
            await asyncio.sleep(0.01)

    def stop(self) -> int:
        """Have it stop, if it runs, and return its status."""
        if self._process is None:
            return 0
        self._process.terminate()
        return self._process.wait()

    @asynccontextmanager
    async def connect_safely(self, **options: object) -> AsyncIterator[Client]:
        """Connect a client over TLS."""
        address = f"wss://{self.address}{self.path}"
        async with connect(address, ssl=self.trust, proxy=None, **options) as connection:  # type: ignore[arg-type]
            yield Client(connection)
