"""Measures what it costs to keep a message: as SQLite does it by default, and with less care.

uv run python -m tests.commit_cost
"""

import asyncio
import os
import platform
import sqlite3
import sys
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

from steps.step11_history.history import History

MESSAGES = 1000


async def measure(synchronous: str, folder: Path) -> str:
    """Keep messages, each after the one before; return how long one takes."""
    history, took = History(), []
    with history.opened(f"sqlite:///{folder / synchronous}.db"):
        history.database.execute(f"PRAGMA synchronous = {synchronous}")
        for number in range(MESSAGES):
            start = perf_counter()
            await history.append("lobby", "ada", f"This is number {number}, and it is not long.")
            took.append((perf_counter() - start) * 1000)
    within = quantiles(took, n=100)
    return f"synchronous = {synchronous:6}  p50 {within[49]:.2f} ms  p99 {within[98]:.2f} ms"


if __name__ == "__main__":
    # What is in /tmp may be in memory. What is in /var/tmp is to survive a restart.
    disk = "/var/tmp" if Path("/var/tmp").is_dir() else None  # noqa: S108 - a folder of its own
    with TemporaryDirectory(dir=disk) as folder:
        lines = [asyncio.run(measure(level, Path(folder))) for level in ("FULL", "NORMAL")]
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
    sys.stdout.write("\n".join([*lines, f"{machine}, SQLite {sqlite3.sqlite_version}", ""]))
