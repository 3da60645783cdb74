"""Measures what a connection that says nothing costs the server in memory.

    uv run python -m tests.memory_of_connections

runs step 1 and step 8, each on uvicorn in a process of its own, with compression and without. It
opens connections to each, over each of which one message goes, and looks at how much the process
has grown (Linux). The table of the page is what it measured.
"""

import asyncio
import os
import platform
import tempfile
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.conftest import ROOT, Process

TABLE = ROOT / "docs/assets/connections.txt"
COMMAND = "uv run python -m tests.memory_of_connections"

STEPS = {"step01_echo": "step 1", "step08_security": "step 8"}
CONNECTIONS = 300
WITHOUT = ("--ws-per-message-deflate", "false")
LIMITS = {"CHAT_CONNECTIONS": "9999", "CHAT_CONNECTIONS_PER_ADDRESS": "9999"}


async def kib(step: str, connections: int, *options: str) -> float:
    """Return by how many KiB the server of a step, with options of uvicorn, grows with each."""
    with tempfile.TemporaryDirectory() as folder:
        server = Process(step, *options, folder=Path(folder), env=LIMITS)
        await server.start()
        try:
            async with AsyncExitStack() as stack:

                async def come(times: int) -> int:
                    for _ in range(times):
                        client = await stack.enter_async_context(server.connect())
                        await client.say("hello")
                        while '"hello"' not in str(await client.connection.recv()):
                            pass
                    return resident(server.pid)

                # The first ones also fetch what the server keeps for all.
                before, after = await come(20), await come(connections)
                return (after - before) / connections / 1024
        finally:
            server.kill()


def resident(pid: int) -> int:
    """Return how many bytes of memory a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def table(measured: dict[str, tuple[float, float]], load: float) -> str:
    """Return what was measured, for the page: KiB with and without compression, by step."""
    rows = [
        f"| {name} | {with_it:.0f} KiB | {without:.0f} KiB |"
        for name, (with_it, without) in measured.items()
    ]
    versions = ", ".join(f"{name} {version(name)}" for name in ("uvicorn", "websockets"))
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release().split('-')[0]}"
    return "\n".join(
        [
            "| A connection over which nothing goes | as it is | without compression |",
            "|---|--:|--:|",
            *rows,
            "",
            f"{CONNECTIONS} connections, and one message over each of them; by how much the memory"
            f" of the process has grown, divided by {CONNECTIONS}. `{COMMAND}` on {machine}, Python"
            f" {platform.python_version()}, {versions}, {datetime.now(UTC):%Y-%m-%d}. The machine"
            f" is shared; its load average was {load:.1f} before.\n",
        ]
    )


async def main() -> None:
    """Measure, and write the table."""
    load, measured = os.getloadavg()[0], {}
    for step, name in STEPS.items():
        with_it = await kib(step, CONNECTIONS)
        measured[name] = with_it, await kib(step, CONNECTIONS, *WITHOUT)
    TABLE.write_text(table(measured, load), "utf-8")


if __name__ == "__main__":
    asyncio.run(main())
