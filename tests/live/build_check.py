"""What the runner is built of, and the build itself. `make site` runs this after the build."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/runner/build"))

import build

from tests.live.site import SITE

ROOT = Path(__file__).parents[2]
RUNNER = SITE / "runner"
MEGABYTES = 9.5
"""What a first run may load, where a server compresses."""

IMPORTS = """
import sys
sys.path.insert(0, "/project")
sys.dont_write_bytecode = True
import asyncio, base64, collections, contextlib, dataclasses, datetime, email, enum, functools
import hashlib, hmac, html, itertools, json, logging.config, random, re, secrets, sqlite3
import statistics, traceback, urllib.parse, uuid
import fastapi.concurrency, fastapi.encoders, fastapi.middleware.cors, fastapi.responses
import fastapi.security, fastapi.staticfiles
sys.path.insert(0, "/project/docs/runner")
import place, server
from uvicorn.config import Config
from pathlib import Path
for main in sorted(Path("/project/steps").glob("step*/main.py")):
    Config(f"steps.{main.parent.name}.main:app").load()
    print(main.parent.name)
"""
IN_PYODIDE = """
const [runtime, project, code] = process.argv.slice(1);
const { loadPyodide } = await import(`${runtime}/pyodide.mjs`);
const python = await loadPyodide({ indexURL: `${runtime}/` });
const extractDir = python.runPython("import sysconfig; sysconfig.get_path('purelib')");
const { readFile } = await import("node:fs/promises");
const packages = new Uint8Array(await readFile(`${runtime}/packages.zip`));
python.unpackArchive(packages, "zip", { extractDir });
python.mountNodeFS("/project", project);
python.runPython(code);
"""


@pytest.fixture(scope="module")
def built() -> Path:
    """Return what the site was built with."""
    if not (RUNNER / "runtime").exists():
        pytest.skip("no page has a ::run, so the site has no runner")
    return build.cached()


@pytest.mark.usefixtures("built")
def test_a_first_run_loads_what_its_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    megabytes = (build.weight(RUNNER) - build.weight(RUNNER / "steps")) / 1e6
    with capsys.disabled():
        print(f" {megabytes:.2f} MB ", end="")  # noqa: T201 - asked for at each build
    assert megabytes <= MEGABYTES
    pages = (path.read_text("utf-8") for path in (ROOT / "site/steps").rglob("index.html"))
    said = [f"about {megabytes:.0f} MB" in page for page in pages if "<fastapi-runner" in page]
    assert said
    assert all(said)


@pytest.mark.timeout(300)  # the second build, of some 25 s
def test_a_second_build_makes_the_same_bytes(built: Path, tmp_path: Path) -> None:
    again = build.make(tmp_path, build.requirements())
    contents = [
        {path.relative_to(made): path.read_bytes() for path in made.rglob("*.*")}
        for made in (built, again)
    ]
    assert contents[0].keys() == contents[1].keys()
    assert [name for name, data in contents[0].items() if data != contents[1][name]] == []


def test_the_site_has_what_was_built(built: Path) -> None:
    for path in built.rglob("*.*"):
        assert (RUNNER / path.relative_to(built)).read_bytes() == path.read_bytes()


def test_steps_and_what_they_may_import_are_there(built: Path) -> None:
    node = ["node", "--input-type=module", "--eval", IN_PYODIDE, "--"]
    done = subprocess.run(
        [*node, str(built / "runtime"), str(ROOT), IMPORTS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == sorted(path.parent.name for path in ROOT.glob("steps/*/main.py"))


def test_nothing_that_was_built_is_in_git() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "docs/runner"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, os.fsdecode(tracked.stdout).split("\0")):
        (ROOT / name).read_text("utf-8")  # text, and so none of it


def test_locks_name_no_host_but_the_public_index() -> None:
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text("utf-8")))
    assert {host for host in hosts if not re.search(r"\bpy(pi|thonhosted)\.org$", host)} == set()
    assert "://" not in (build.HERE / "package-lock.json").read_text("utf-8")
