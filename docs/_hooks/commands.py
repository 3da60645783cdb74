"""The `run` fence: shell commands, and what they really printed."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from project import ROOT, PageError, cached, fenced

LIMIT = 60
"""Seconds that a command may take."""


def anywhere(output: str) -> str:
    """Take the paths of this machine out of an output."""
    here = {sys.prefix: "~/fastapi-websockets/.venv", str(ROOT): "~/fastapi-websockets"}
    for path, name in (here | {sys.base_prefix: "/usr", str(Path.home()): "~"}).items():
        output = re.sub(rf"{re.escape(path)}(?![\w-])", name, output)
    return output


def run(commands: str, options: str) -> str:
    """Run each line in a shell at the root of the repository, and show what it printed.

    The last must end with the status that `exit=2` names, every other one with 0.
    """
    if not re.fullmatch(r"(exit=\d+)?", options):
        raise PageError(f"run {options}: after `run` comes `exit=<status>` or nothing")
    inputs = (path for path in (ROOT / "Makefile", ROOT / "pyproject.toml") if path.exists())

    def performed() -> str:
        with alone() as env:
            return terminal(commands, int(options[5:] or 0), env)

    return cached(performed, commands, options, *inputs)


@contextmanager
def alone() -> Iterator[dict[str, str]]:
    """Give an environment for what a page runs. What the steps keep in it is gone afterwards."""
    with TemporaryDirectory() as folder:
        # A make around this one must not tell it what to do.
        outer = {k: text for k, text in os.environ.items() if not k.startswith(("MAKE", "MFL"))}
        yield outer | {"CHAT_LOG": f"sqlite:///{folder}/chat.db"}


def terminal(commands: str, status: int, env: dict[str, str]) -> str:
    """Run the commands; return them with their output."""
    # The uv that runs this build need not be on PATH: `make` may have one of its own.
    if uv := env.get("UV"):
        env["PATH"] = f"{Path(uv).parent}{os.pathsep}{env['PATH']}"
    lines, shown = commands.splitlines(), ""
    for number, line in enumerate(lines, 1):
        try:
            done = subprocess.run(  # noqa: S602 - a page says what to run, as a Makefile does
                line,
                shell=True,
                check=False,
                cwd=ROOT,
                env=env | {"NO_COLOR": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=LIMIT,
            )
        except subprocess.TimeoutExpired:
            raise PageError(f"{line!r} took more than {LIMIT} s", number) from None
        if done.returncode != (status if number == len(lines) else 0):
            raise PageError(f"{line!r} ended with {done.returncode}:\n{done.stdout}", number)
        shown += f"$ {line}\n{done.stdout}"
    return fenced(anywhere(shown), "console")
