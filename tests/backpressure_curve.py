"""Measures what one client that does not read does to two hundred.

    uv run python -m tests.backpressure_curve

runs step 6 and step 7, each on uvicorn in a process of its own, with the buffers that the kernel
gives, and all clients in this process. One of them speaks, and one stops reading. What it measures
goes to `docs/assets/backpressure.json`; the figure and the table of the page are made from that.
With `draw` as its argument it only makes these two.
"""

import asyncio
import json
import os
import platform
import socket
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from math import log10
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any

from typing_extensions import override
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

ROOT = Path(__file__).parents[1]
DATA = ROOT / "docs/assets/backpressure.json"
FIGURE = ROOT / "docs/assets/backpressure.svg"
TABLE = ROOT / "docs/assets/backpressure.txt"
COMMAND = "uv run python -m tests.backpressure_curve"

STEPS = ("step06_faults", "step07_backpressure")
CLIENTS = 200
RATE = 25  # messages a second
TEXT = "👋" * 1950  # 8 KB on the wire
STOPS, ENDS = 5, 45  # seconds
Second = dict[str, float | None]


class Listener(asyncio.Protocol):
    """A client, lighter than one that people would use: two hundred share half a machine."""

    def __init__(self, name: str, url: str, heard: list[tuple[float, float]]) -> None:
        self.protocol = ClientProtocol(parse_uri(f"{url}/ws?name={name}"))
        self.heard = heard
        self.welcome = asyncio.Event()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.protocol.send_request(self.protocol.connect())
        self.write()

    @override
    def data_received(self, data: bytes) -> None:
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self.welcome.set()
                _, _, text = bytes(event.data[:120]).partition(b'"text":"')
                if text:
                    now = perf_counter()
                    self.heard.append((now, now - float(text.partition(b" ")[0])))
        self.write()

    def say(self, text: str) -> None:
        """Send a `say` frame, and wait for nobody."""
        self.protocol.send_text(json.dumps({"type": "say", "text": text}).encode())
        self.write()

    def write(self) -> None:
        """Send what the protocol has to send: the handshake, pongs, what was said."""
        for data in self.protocol.data_to_send():
            if data:
                self.transport.write(data)


async def measure(step: str) -> list[Second]:
    """Return for each second of the run how much was delivered, and how late."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", f"steps.{step}.main:app", f"--port={port}"]
    # Compressed, texts that repeat are so short that no buffer ever fills.
    command += ["--log-level=critical", "--ws-per-message-deflate=false"]
    server = subprocess.Popen(command, cwd=ROOT)  # noqa: ASYNC220 - it returns at once
    try:
        heard: list[tuple[float, float]] = []
        clients = [await connect(port, f"client-{n}", heard) for n in range(CLIENTS)]
        speaker, silent = clients[0], clients[-1]
        begin = perf_counter()
        for number in range(ENDS * RATE):
            await asyncio.sleep(begin + number / RATE - perf_counter())
            if number == STOPS * RATE:
                silent.transport.pause_reading()
            speaker.say(f"{perf_counter():.6f} {TEXT}")
        for client in clients:
            client.transport.abort()
    finally:
        server.kill()
        server.wait()
    return [summary(heard, begin + second) for second in range(ENDS)]


async def connect(port: int, name: str, heard: list[tuple[float, float]]) -> Listener:
    """Connect a client, as soon as the server listens, and wait for its welcome."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            _, client = await loop.create_connection(
                lambda: Listener(name, f"ws://127.0.0.1:{port}", heard), "127.0.0.1", port
            )
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
        else:
            await client.welcome.wait()
            return client


def summary(heard: list[tuple[float, float]], begin: float) -> Second:
    """Return what was heard in one second: how many texts, and how old they were, in ms."""
    ages = [age * 1000 for when, age in heard if begin <= when < begin + 1]
    if len(ages) < 2:
        return {"delivered": len(ages), "p50": None, "p99": None}
    p99 = quantiles(ages, n=100)[98]
    return {"delivered": len(ages), "p50": round(median(ages), 2), "p99": round(p99, 2)}


def table(data: dict[str, Any]) -> str:
    """Return the numbers as Markdown, and where they come from."""
    lines = ["| | delivered in a second | p50 | p99 |", "|---|--:|--:|--:|"]
    # The seconds in which the clients come, and in which one stops reading, are on neither side.
    spans = {"before one stops": slice(1, data["stops"]), "the last ten seconds": slice(-10, None)}
    for step, rows in data["steps"].items():
        for span, where in spans.items():
            cells = [f"{median(row['delivered'] for row in rows[where]):,.0f}"]
            for name in ("p50", "p99"):
                ages = [row[name] for row in rows[where] if row[name] is not None]
                cells.append(f"{median(ages):.0f} ms" if ages else "none")
            lines.append(f"| step {int(step[4:6])}, {span} | {' | '.join(cells)} |")
    lines += [
        "",
        f"{data['clients']} clients, {data['rate']} messages a second, each of {data['bytes']:,} "
        f"bytes; one client stops reading after {data['stops']} seconds. Each number is the median "
        f"of those of its seconds. `{data['command']}` on {data['machine']}, {data['date']}. "
        f"The machine is shared; its load average was {data['load']} before.",
        "",
    ]
    return "\n".join(lines)


# The figure: two panels, one above the other, the seconds to the right.

WIDTH, LEFT, RIGHT, HEIGHT = 540, 62, 50, 120
TOPS = {"delivered": 30, "p99": 200}
TITLES = {"delivered": "delivered in each second", "p99": "p99 of the delay"}
TICKS = {"delivered": [0, 2500, 5000], "p99": [1, 10, 100, 1000]}
COLOURS = ("#d9480f", "#0d9488")


def x(second: float) -> float:
    """Return where a second is."""
    return LEFT + second / ENDS * (WIDTH - LEFT - RIGHT)


def y(panel: str, value: float) -> float:
    """Return how high a value is in its panel: the delay on a logarithmic scale."""
    part = log10(max(value, 1)) / 3 if panel == "p99" else value / 6500
    return TOPS[panel] + HEIGHT * (1 - part)


def figure(data: dict[str, Any]) -> str:
    """Return the figure as SVG, with text in the colour of the page around it."""
    lines, words = [], []

    def write(left: float, top: float, text: str, anchor: str = "start") -> None:
        words.append(f'<text x="{left:.0f}" y="{top:.0f}" text-anchor="{anchor}">{text}</text>')

    for panel, ceiling in TOPS.items():
        write(LEFT, ceiling - 8, TITLES[panel])
        for tick in TICKS[panel]:
            lines.append(f'<path d="M{LEFT} {y(panel, tick):.0f}H{WIDTH - RIGHT}" opacity=".25"/>')
            unit = " ms" if panel == "p99" else ""
            write(LEFT - 6, y(panel, tick) + 4, f"{tick:,}{unit}", "end")
        stops = f"M{x(data['stops']):.0f} {ceiling}V{ceiling + HEIGHT}"
        lines.append(f'<path d="{stops}" stroke-dasharray="4 4"/>')
        for (step, rows), colour in zip(data["steps"].items(), COLOURS, strict=True):
            known = [(n + 0.5, row[panel]) for n, row in enumerate(rows) if row[panel] is not None]
            points = " ".join(f"{x(when):.1f},{y(panel, value):.1f}" for when, value in known)
            line = f'<polyline points="{points}" stroke="{colour}" stroke-width="2"/>'
            lines.append(line)
            when, value = known[-1]
            # At the end of the line; above it, if another line goes on there.
            beside = len(known) == len(rows)
            left, top = (
                (x(when) + 5, y(panel, value) + 4) if beside else (x(when), TOPS[panel] + 14)
            )
            write(left, top, f"step {int(step[4:6])}{'' if beside else ': nothing more'}")
    write(x(data["stops"]) + 5, TOPS["delivered"] + HEIGHT - 8, "one stops reading")
    bottom = TOPS["p99"] + HEIGHT
    for second in range(0, ENDS + 1, 10):
        write(x(second), bottom + 18, f"{second} s", "middle")
    said = (
        "Two curves over time. When one client has stopped reading, step 6 goes on until the "
        "buffers are full and then delivers nothing more; step 7 goes on as before."
    )
    return "\n".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {bottom + 26}" role="img" aria-label="{said}" '
            'style="max-width: 34rem">',
            '<g fill="none" stroke="currentColor">',
            *lines,
            "</g>",
            '<g fill="currentColor" font-size="12">',
            *words,
            "</g>",
            "</svg>\n",
        ]
    )


async def main() -> None:
    """Measure, unless it has been done; then draw."""
    if sys.argv[1:] != ["draw"]:
        versions = ", ".join(f"{name} {version(name)}" for name in ("uvicorn", "uvloop"))
        system = f"{platform.system()} {platform.release().partition('-')[0]}"
        data = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": f"{os.cpu_count()} cores, {system}, "
            f"Python {platform.python_version()}, {versions}",
            "load": round(os.getloadavg()[0], 1),
            "command": COMMAND,
            "clients": CLIENTS,
            "rate": RATE,
            "bytes": len(TEXT.encode()),
            "stops": STOPS,
            "steps": {step: await measure(step) for step in STEPS},
        }
        DATA.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    data = json.loads(DATA.read_text("utf-8"))
    FIGURE.write_text(figure(data), "utf-8")
    TABLE.write_text(table(data), "utf-8")
    sys.stdout.write(table(data))


if __name__ == "__main__":
    asyncio.run(main())
