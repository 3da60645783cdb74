"""Measures what one process of step 13 holds and delivers, and what its logs carry.

    uv run python -m tests.capacity

takes about three minutes, on a machine that has nothing else to do. It runs the step on uvicorn
and Valkey in processes of their own, with all clients in this one. What it measures goes to
`docs/assets/capacity.json`; the figure and the tables of the page are made from that. With `draw`
as its argument it only makes these.
"""

import asyncio
import json
import os
import platform
import random
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from importlib.metadata import version
from math import log10
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any
from uuid import uuid4

import redis
import uvloop

from steps.step13_scale.history import log_at
from steps.step13_scale.log import MessageLog
from steps.step13_scale.redis_log import stream
from steps.step13_scale.scripts import APPEND
from tests.crowd import ROOT, Chat, Client, cpu, enter, memory, settled
from tests.redis_server import Redis, command

if sys.platform != "win32":
    import resource

    resource.setrlimit(
        resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )

DATA = ROOT / "docs/assets/capacity.json"
FIGURE = ROOT / "docs/assets/capacity.svg"
COMMAND = "uv run python -m tests.capacity"

HOLD, ROOM = 1000, 50  # connections, and as many of them in a room
ROOMS = (100, 500)  # people in a room in which all talk at once
IN_FLIGHT = 10  # messages that are on their way at any time
SECONDS = 5
DELAYS, RATE = 200, 20  # messages, and how many a second
KEPT = 20_000  # messages whose size is measured
TEXT = "x" * 100
# Redis answers when the disk has what was written, as compose.yaml says, or a second before that.
FSYNC = {"Redis": "always", "Redis, everysec": "everysec"}
LOGS = ("SQLite", *FSYNC)
Numbers = dict[str, float]


@asynccontextmanager
async def opened(log: str) -> AsyncIterator[tuple[str, int | None]]:
    """Yield the URL of a log with nothing in it, and the process of its server if it has one."""
    # Not in /tmp, which may be in memory: what is measured is a disk.
    (ROOT / ".cache").mkdir(exist_ok=True)
    with TemporaryDirectory(dir=ROOT / ".cache") as folder:
        if log not in FSYNC:
            yield f"sqlite:///{folder}/chat.db", None
            return
        options = "--save", "", "--appendonly", "yes", "--appendfsync", FSYNC[log]
        server = Redis(Path(folder), *options)
        server.start()
        try:
            yield server.url, server.pid
        finally:
            server.kill()


@asynccontextmanager
async def running(url: str) -> AsyncIterator[Chat]:
    """Run a process of the chat."""
    chat = Chat(url)
    try:
        await chat.up()
        yield chat
    finally:
        chat.kill()


async def crowd(chat: Chat, count: int, room: int) -> list[Client]:
    """Have so many people in rooms of that size."""
    clients = [Client(f"person-{number}", f"room-{number // room}") for number in range(count)]
    for number in range(0, count, 20):
        await asyncio.gather(*(enter(chat, client) for client in clients[number : number + 20]))
    await settled(clients)
    return clients


def command_version() -> str:
    """Return the name and the version of the server of the log."""
    done = subprocess.run([command(), "--version"], capture_output=True, text=True, check=True)
    name, _, number = done.stdout.split()[:3]
    return f"{name} {number.removeprefix('v=')}"


# What one process does


async def holds() -> Numbers:
    """Return what connections cost on which nothing is said."""
    async with opened("Redis") as (url, _), running(url) as chat:
        await asyncio.sleep(1)
        empty, before = memory(chat.pid), cpu(chat.pid)
        clients = await crowd(chat, HOLD, ROOM)
        entered = cpu(chat.pid) - before
        return {
            "empty MB": empty / 1e6,
            "connection KB": (memory(chat.pid) - empty) / len(clients) / 1e3,
            "entering ms": entered / len(clients) * 1e3,
        }


async def delivers(log: str, people: int) -> Numbers:
    """Return what one process delivers in a room where the next is said when one was heard."""
    async with opened(log) as (url, server), running(url) as chat:
        clients = await crowd(chat, people, people)
        for client in clients[:IN_FLIGHT]:
            own = f'"name":"{client.name}"'.encode()

            def heard(data: bytes, client: Client = client, own: bytes = own) -> None:
                if own in data:
                    client.say(TEXT)

            client.heard = heard
            client.say(TEXT)
        await asyncio.sleep(1)

        def counted() -> tuple[float, ...]:
            delivered = sum(client.messages for client in clients)
            of_log = cpu(server) if server else 0
            return perf_counter(), delivered, cpu(chat.pid), cpu(os.getpid()), of_log

        before = counted()
        await asyncio.sleep(SECONDS)
        spent, delivered, ours, clients_, of_log = (
            now - then for now, then in zip(counted(), before, strict=True)
        )
        return {
            "delivered": delivered / spent,
            "us": ours / delivered * 1e6,
            "busy": ours / spent,
            "clients busy": clients_ / spent,
            "log us": of_log / (delivered / people) * 1e6,
        }


async def delays(log: str) -> dict[str, Numbers]:
    """Return the time from say to hear, in the speaker's process and in another."""
    async with opened(log) as (url, _), running(url) as chat, running(url) as other:
        speaker = await enter(chat, Client("speaker", "room-0"))
        near, far = Client("near", "room-0"), Client("far", "room-0")
        await enter(chat, near)
        await enter(other, far)
        ages = await talk(speaker, near, far)
        return {"the same process": summary(ages[0]), "another process": summary(ages[1])}


async def among(rooms: int) -> Numbers:
    """Return the time from say to hear, and what Redis does for it, where other rooms are quiet."""
    async with opened("Redis") as (url, server), running(url) as chat:
        assert server
        clients = await crowd(chat, rooms, 1)
        before = cpu(server)
        [ages] = await talk(clients[0], clients[0])
        return {"us": (cpu(server) - before) / DELAYS * 1e6, **summary(ages)}


async def talk(speaker: Client, *listeners: Client) -> list[list[float]]:
    """Say something now and then; return after how many milliseconds each has heard it."""

    def listen(listener: Client) -> list[float]:
        ages: list[float] = []

        def heard(data: bytes) -> None:
            said = data.partition(b'"text":"')[2].partition(b'"')[0]
            ages.append((perf_counter() - float(said)) * 1000)

        listener.heard = heard
        return ages

    found = [listen(listener) for listener in listeners]
    for _ in range(DELAYS):
        # Not in step with a poll.
        await asyncio.sleep(2 * random.random() / RATE)  # noqa: S311
        speaker.say(f"{perf_counter():.6f}")
    await settled(list(listeners))
    return found


def summary(ages: list[float]) -> Numbers:
    """Return the median and the 99th percentile."""
    return {"p50": median(ages), "p99": quantiles(ages, n=100)[98]}


# What a log carries


async def appends(log: str, processes: int, tasks: int, followers: int = 0) -> Numbers:
    """Return how many messages are kept in a second, each task waiting for its own."""
    async with opened(log) as (url, server):
        async with log_at(url).opened():
            pass  # the tables are there, before two processes want to make them
        following = await start("follow", url, str(followers)) if followers else None
        before = cpu(server) if server else 0
        workers = [await start("append", url, str(tasks)) for _ in range(processes)]
        printed = [(await worker.communicate())[0] for worker in workers]
        used = cpu(server) - before if server else 0
        if following:
            following.kill()
            await following.wait()
        ages = [age for output in printed for age in json.loads(output)]
        return {
            "processes": processes,
            "tasks": tasks,
            "followers": followers,
            "kept": len(ages) / SECONDS,
            "us": used / len(ages) * 1e6,
            **summary(ages),
        }


async def start(*arguments: str) -> asyncio.subprocess.Process:
    """Start this program again, for one part of the work."""
    command = [sys.executable, "-m", "tests.capacity", *arguments]
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)


async def append(url: str, tasks: str) -> None:
    """Keep messages in as many rooms as there are tasks; print how long each took."""
    log = log_at(url)
    ages: list[float] = []

    async def speak(room: str) -> None:
        while (begin := perf_counter()) < end:
            await log.append(room, "ada", TEXT, uuid4())
            ages.append((perf_counter() - begin) * 1000)

    async with log.opened():
        end = perf_counter() + SECONDS
        await asyncio.gather(*(speak(f"room-{number}") for number in range(int(tasks))))
    sys.stdout.write(json.dumps(ages))


async def follow(url: str, count: str) -> None:
    """Read all that is said, as so many processes do."""

    async def listen(log: MessageLog) -> None:
        async with log.opened():
            async for _ in log.follow({f"room-{number}": 0 for number in range(20)}):
                pass

    await asyncio.gather(*(listen(log_at(url)) for _ in range(int(count))))


async def piped(log: str) -> Numbers:
    """Return how many messages Redis keeps if nobody waits for it, and what they take."""
    async with opened(log) as (url, server):
        assert server
        with closing(redis.Redis.from_url(url)) as connection:
            empty = connection.info("memory")["used_memory"]
            begin, before = perf_counter(), cpu(server)
            for _ in range(KEPT // 100):
                with connection.pipeline(transaction=False) as batch:
                    for _ in range(100):
                        keys = stream("room"), "chat:{room}:keys"
                        when = datetime.now(UTC).isoformat()
                        batch.eval(APPEND, 2, *keys, f"{uuid4()} ada", "ada", TEXT, when)
                    batch.execute()
            spent = perf_counter() - begin
            used, files = connection.info("memory")["used_memory"], connection.info("persistence")
            of_keys = connection.memory_usage("chat:{room}:keys", samples=0) or 0
            return {
                "kept": KEPT / spent,
                "us": (cpu(server) - before) / KEPT * 1e6,
                "bytes": (used - empty) / KEPT,
                "bytes of keys": of_keys / KEPT,
                "bytes of file": files["aof_current_size"] / KEPT,
            }


async def size_in_sqlite() -> float:
    """Return how many bytes a message takes in the file, with its key."""
    async with opened("SQLite") as (url, _):
        path = url.removeprefix("sqlite:///")
        async with log_at(url).opened():
            pass  # the tables are there
        with closing(sqlite3.connect(path)) as connection, connection:
            now = datetime.now(UTC).isoformat()
            for number in range(KEPT):
                row = "room", number, "ada", TEXT, now
                connection.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?)", row)
                key = "room", "ada", str(uuid4()), number
                connection.execute("INSERT INTO keys VALUES (?, ?, ?, ?)", key)
        return os.stat(path).st_size / KEPT


async def measure() -> dict[str, Any]:
    """Measure it all."""
    processes = [("SQLite", 1, 1), ("SQLite", 1, 20), ("SQLite", 2, 20)]
    processes += [(log, *rest) for log in FSYNC for rest in ((1, 1), (1, 20), (2, 20))]
    return {
        "holds": await holds(),
        "delivers": {
            log: {str(people): await delivers(log, people) for people in ROOMS}
            for log in ("SQLite", "Redis")
        },
        "among": {str(rooms): await among(rooms) for rooms in (1, HOLD)},
        "delays": {log: await delays(log) for log in LOGS},
        "appends": [{"log": log, **await appends(log, *rest)} for log, *rest in processes],
        "followed": [await appends("Redis", 1, 20, count) for count in (1, 10)],
        "piped": {log: await piped(log) for log in FSYNC},
        "bytes in SQLite": await size_in_sqlite(),
    }


# The tables, and the figure: a line from the median to the 99th percentile, the time to the right.


def sizes(data: dict[str, Any]) -> list[str]:
    """Return what things take."""
    holds, piped = data["holds"], data["piped"]["Redis"]
    rows = {
        "a process without connections": f"{holds['empty MB']:.0f} MB of memory",
        "each connection": f"{holds['connection KB']:.0f} KB of memory",
        "to let one in": f"{holds['entering ms']:.1f} ms of CPU",
        "a message in Redis, with its key": f"{piped['bytes']:.0f} bytes of memory",
        "of these, the key": f"{piped['bytes of keys']:.0f} bytes",
        "a message in the append-only file": f"{piped['bytes of file']:.0f} bytes",
        "a message in SQLite's file, with its key": f"{data['bytes in SQLite']:.0f} bytes",
    }
    for row in data["followed"]:
        readers = f"{row['followers']} process{'es' if row['followers'] > 1 else ''}"
        rows[f"to keep one for {readers} that follow"] = f"{row['us']:.0f} µs of Redis' CPU"
    return ["| | |", "|---|--:|", *(f"| {what} | {value} |" for what, value in rows.items())]


def process_table(data: dict[str, Any]) -> list[str]:
    """Return what a process delivers."""
    lines = ["| log | people in the room | deliveries in a second | CPU for each |"]
    lines += ["|---|--:|--:|--:|"]
    for log, rooms in data["delivers"].items():
        for people, row in rooms.items():
            lines.append(f"| {log} | {people} | {row['delivered']:,.0f} | {row['us']:.0f} µs |")
    return lines


def log_table(data: dict[str, Any]) -> list[str]:
    """Return what a log keeps."""
    lines = ["| log | who writes | messages in a second | p50 | p99 |", "|---|---|--:|--:|--:|"]
    for row in data["appends"]:
        who = f"{row['processes']} process{'es' if row['processes'] > 1 else ''}, "
        who += f"{row['tasks']} at once" if row["tasks"] > 1 else "one after the other"
        ages = " | ".join(f"{row[name]:.1f} ms" for name in ("p50", "p99"))
        lines.append(f"| {row['log']} | {who} | {row['kept']:,.0f} | {ages} |")
    for log, row in data["piped"].items():
        who = "a hundred in each request"
        lines.append(f"| {log} | {who} | {row['kept']:,.0f} | | |")
    return lines


def delay_table(data: dict[str, Any]) -> list[str]:
    """Return how long it takes from say to hear."""
    lines = ["| log | heard at | p50 | p99 |", "|---|---|--:|--:|"]
    for log, rows in data["delays"].items():
        for where, row in rows.items():
            lines.append(f"| {log} | {where} | {row['p50']:.1f} ms | {row['p99']:.1f} ms |")
    return lines


WIDTH, LEFT, RIGHT, STEP = 540, 220, 40, 26
TICKS = (0.3, 1, 3, 10, 30, 100)


def x(milliseconds: float) -> float:
    """Return where a time is, on a logarithmic scale."""
    part = log10(max(milliseconds, TICKS[0]) / TICKS[0]) / log10(TICKS[-1] * 1.5 / TICKS[0])
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def figure(data: dict[str, Any]) -> str:
    """Return the figure as SVG, with text in the colour of the page around it."""
    lines, words, dots = [], [], []
    rows = [
        (f"{log}, {where}", row)
        for log, found in data["delays"].items()
        for where, row in found.items()
    ]
    bottom = STEP * len(rows) + 12

    def write(left: float, top: float, text: str, anchor: str) -> None:
        words.append(f'<text x="{left:.0f}" y="{top:.0f}" text-anchor="{anchor}">{text}</text>')

    for tick in TICKS:
        lines.append(f'<path d="M{x(tick):.1f} 6V{bottom}" opacity=".25"/>')
        write(x(tick), bottom + 16, f"{tick:g} ms", "middle")
    for number, (name, row) in enumerate(rows):
        top = STEP * number + 22
        write(LEFT - 10, top + 4, name, "end")
        ends = f"M{x(row['p50']):.1f} {top}H{x(row['p99']):.1f}"
        lines.append(f'<path d="{ends}" stroke="#0d9488" stroke-width="4"/>')
        dots.append(f'<circle cx="{x(row["p50"]):.1f}" cy="{top}" r="5" fill="#0d9488"/>')
    said = "From say to hear, for each log and for hearers in the speaker's process or in another."
    return "\n".join(
        [
            f'<svg viewBox="0 0 {WIDTH} {bottom + 24}" role="img" aria-label="{said}" '
            'style="max-width: 34rem">',
            '<g fill="none" stroke="currentColor">',
            *lines,
            "</g>",
            *dots,
            '<g fill="currentColor" font-size="12">',
            *words,
            "</g>",
            "</svg>\n",
        ]
    )


def rooms_table(data: dict[str, Any]) -> list[str]:
    """Return what quiet rooms cost."""
    lines = ["| rooms in a process | p50 | p99 | Redis, for each message |", "|--:|--:|--:|--:|"]
    for rooms, row in data["among"].items():
        ages = f"{row['p50']:.1f} ms | {row['p99']:.1f} ms"
        lines.append(f"| {int(rooms):,} | {ages} | {row['us'] / 1000:.1f} ms of CPU |")
    return lines


def ends(data: dict[str, Any]) -> list[str]:
    """Return what follows for one Redis, and for one process, if they do nothing else."""
    piped, delivers = data["piped"]["Redis"], data["delivers"]["Redis"]
    single = max(row["us"] for row in data["followed"])
    rows = {
        "messages in 1 GB of Redis": 1e9 / piped["bytes"],
        "messages a second of one Redis, each in a request of its own": 1e6 / single,
        "the same, a hundred in each request": 1e6 / piped["us"],
    }
    for people, row in delivers.items():
        rows[f"messages a second of one process, in a room of {people}"] = (
            1e6 / row["us"] / int(people)
        )
    lines = [f"| {what} | {float(f'{number:.2g}'):,.0f} |" for what, number in rows.items()]
    return ["| | |", "|---|--:|", *lines]


def source(data: dict[str, Any]) -> list[str]:
    """Return where the numbers are from."""
    return [
        f"Texts of {len(TEXT)} characters; {HOLD:,} connections in rooms of {ROOM}; "
        f"{IN_FLIGHT} messages on their way at any time. `{data['command']}` on "
        f"{data['machine']}, {data['date']}, all clients on the same machine. It is shared; its "
        f"load average was {data['load'][0]} before and {data['load'][1]} after."
    ]


TABLES = {
    "sizes": sizes,
    "process": process_table,
    "log": log_table,
    "delay": delay_table,
    "rooms": rooms_table,
    "ends": ends,
    "source": source,
}


def drawn(data: dict[str, Any]) -> dict[Path, str]:
    """Return what is made from the numbers, and where it belongs."""
    texts = {name: "\n".join([*table(data), ""]) for name, table in TABLES.items()}
    return {FIGURE: figure(data)} | {
        ROOT / f"docs/assets/capacity-{name}.txt": text for name, text in texts.items()
    }


async def main() -> None:
    """Measure, unless it has been done; then draw."""
    if sys.argv[1:] != ["draw"]:
        versions = ", ".join(f"{name} {version(name)}" for name in ("uvicorn", "uvloop"))
        versions += f", {command_version()}, SQLite {sqlite3.sqlite_version}"
        system = f"{platform.system()} {platform.release().partition('-')[0]}"
        before = os.getloadavg()[0]
        data = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "machine": f"{os.cpu_count()} cores, {system}, "
            f"Python {platform.python_version()}, {versions}",
            "command": COMMAND,
        } | await measure()
        data["load"] = [round(load, 1) for load in (before, os.getloadavg()[0])]
        DATA.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    for path, text in drawn(json.loads(DATA.read_text("utf-8"))).items():
        path.write_text(text, "utf-8")
        if path != FIGURE:
            sys.stdout.write(text + "\n")


if __name__ == "__main__":
    parts = {"append": append, "follow": follow}
    work = parts[sys.argv[1]](*sys.argv[2:]) if sys.argv[1:2] and sys.argv[1] in parts else main()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)
