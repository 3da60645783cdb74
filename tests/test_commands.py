"""The commands of the README: what they run, and what they say when they cannot."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

if not shutil.which("make"):
    pytest.skip(
        "make is not installed: type the lines of the README yourself", allow_module_level=True
    )

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
STEPS = sorted(path.parent.name for path in ROOT.glob("steps/step*/main.py"))
NEWEST = f"uvicorn steps.{STEPS[-1]}.main:app"


def make(*arguments: str, at: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run make as a reader does, whatever make has started these tests."""
    around = ("MAKE", "MFLAGS", "STEP", "PORT")
    env = {name: value for name, value in os.environ.items() if not name.startswith(around)}
    return subprocess.run(
        ["make", *arguments],
        cwd=at,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("run", f"--group signin {NEWEST} --reload --timeout-graceful-shutdown 5"),
        ("run STEP=3", "uvicorn steps.step03_broadcast.main:app --reload"),
        ("run STEP=03", "uvicorn steps.step03_broadcast.main:app --reload"),
        ("run STEP=step03_broadcast", "uvicorn steps.step03_broadcast.main:app --reload"),
        ("run STEP=5 PORT=9000", "uvicorn steps.step05_chat.main:app --reload --port 9000"),
        ("test", "pytest -n 3 --dist worksteal"),
        (
            "test STEP=3",
            "pytest tests/test_step03_broadcast.py tests/browser/test_step03_broadcast",
        ),
    ],
)
def test_a_target_is_one_visible_line(command: str, line: str) -> None:
    shown = make("--dry-run", "UV=uv", *command.split()).stdout.splitlines()[-1]
    assert shown.startswith(f"uv run {line}")


def test_every_command_of_the_readme_is_one_that_make_knows() -> None:
    commands = re.findall(r"^(?:    |\| `)make ([\w= ]+?)(?:`|  )", README, re.MULTILINE)
    assert {"run", "test", "run STEP=3", "test STEP=3", "docs", "check"} <= set(commands)
    for command in commands:
        assert make("--dry-run", *command.split()).returncode == 0, command


def test_every_line_without_make_is_one_that_make_runs() -> None:
    lines = set(re.findall(r"^    (uv run .*)$", README, re.MULTILINE))
    shown = [
        make("--dry-run", "UV=uv", *command.split()).stdout.splitlines()[-1]
        for command in ("run", "run STEP=3", "test", "docs")
    ]
    # STEP=3 adds the step's page tests, which want a browser.
    assert lines == {*shown, "uv run pytest tests/test_step03_broadcast.py"}


@pytest.mark.parametrize("target", ["run", "test"])
def test_a_step_that_does_not_exist_lists_those_that_do(target: str) -> None:
    done = make(target, "STEP=99")
    assert done.returncode != 0
    assert 'there is no step "99"' in done.stderr
    assert " ".join(STEPS) in done.stderr


def test_a_taken_port_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = make("run", f"PORT={port}")
    assert done.returncode != 0
    assert f"Port {port} is taken." in done.stderr
    assert "make run PORT=9000" in done.stderr


def test_a_python_that_is_too_old_is_named_with_the_way_out(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "steps" / STEPS[-1]).mkdir(parents=True)
    old = tmp_path / "python3.10"
    pretend = "import sys; sys.version_info, sys.version = (3, 10, 4), '3.10.4'; exec(sys.argv[1])"
    old.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{pretend}" "$2"\n')
    old.chmod(0o755)
    done = make("run", "UV=.uv/bin/uv", f"PYTHON={old}", at=tmp_path)
    assert done.returncode != 0
    assert "This is Python 3.10.4; the steps need 3.11 or newer." in done.stderr
    assert not (tmp_path / ".uv").exists()
