"""The rules that keep fifteen copies of one program from drifting apart."""

import ast
import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

sys.path.insert(0, str(Path(__file__).parents[1] / "docs/_hooks"))

from project import ROOT, files, files_before, pieces, steps

SECTIONS = [
    "What you will have",
    "Run it",
    "Try it",
    "What changed",
    "Why",
    "Break it",
    "What the tests prove",
    "Questions this answers",
    "The limit",
]
# The index and where its files are.
PUBLIC_INDEX = {"a4aa2ac280bb8d1a", "c899567ee9068517"}
# Where a small idea is larger, because none of its parts makes sense without the others.
LARGER = {
    "step07_backpressure": 80,  # the old lines that now say `outbox`
    "step08_security": 105,  # five kinds of mistrust, each of a few lines
    "step09_signin": 150,  # three proofs and five routes
    "step10_rooms": 130,  # rooms, windows, typing and whispers are one set of books
    "step11_history": 160,  # a file with ids, a replay, and what an outbox knows of both
    "step12_delivery": 110,  # keys and acks, and the document that describes all frames
    "step13_scale": 560,  # one log with two ways to keep it, and all that processes tell each other
}
each_step = pytest.mark.parametrize("step", steps())


def lines_of(step: str) -> list[str]:
    """Return the lines of a step's page that stand outside fences and front matter."""
    page = (ROOT / f"docs/steps/{step}.md").read_text("utf-8")
    text = re.sub(r"\A---\n.*?\n---\n", "", page, flags=re.DOTALL)
    return [piece.body for piece in pieces(text) if piece.info is None]


def python(code: dict[str, str]) -> dict[str, str]:
    """Return the Python files among the files of a step."""
    return {name: text for name, text in code.items() if name.endswith(".py")}


def test_every_step_has_a_page_and_every_page_a_step() -> None:
    assert sorted(page.stem for page in (ROOT / "docs/steps").glob("*.md")) == steps()


def test_every_step_has_a_file_of_tests() -> None:
    missing = [step for step in steps() if not (ROOT / f"tests/test_{step}.py").exists()]
    assert not missing


@each_step
def test_a_page_shows_exactly_the_files_its_step_changed(step: str) -> None:
    before = files_before(step)
    changed = [name for name, text in files(step).items() if text != before.get(name)]
    shown = [line.split()[1] for line in lines_of(step) if line.startswith("::show ")]
    assert sorted(shown) == sorted(changed)


@each_step
def test_no_step_loses_a_file(step: str) -> None:
    lost = files_before(step).keys() - files(step).keys()
    assert not lost, "pages cannot show yet that a file went away: keep it, or teach ::show to"


@each_step
def test_a_step_imports_no_other_step(step: str) -> None:
    for name, text in python(files(step)).items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level <= 1, f"{name}, line {node.lineno} leaves the step's folder"
                imported = [] if node.level else [node.module or ""]
            else:
                continue
            others = [module for module in imported if re.match(r"steps?(\d+_|\.|$)", module)]
            assert not others, f"{name}, line {node.lineno}"


@each_step
def test_all_pages_have_the_same_sections(step: str) -> None:
    headings = [line.removeprefix("## ") for line in lines_of(step) if line.startswith("## ")]
    assert [heading.split(" {")[0] for heading in headings] == SECTIONS


@each_step
def test_a_page_begins_with_its_title_and_one_sentence(step: str) -> None:
    top = "\n".join(lines_of(step)).split("\n## ")[0].strip()
    title, *paragraphs = re.split(r"\n{2,}", top)
    assert title.startswith("# ")
    assert len(paragraphs) == 1
    assert len(re.findall(r"[.!?](?=\s|$)", paragraphs[0])) == 1


@each_step
def test_no_module_is_longer_than_a_reader_follows(step: str) -> None:
    lengths = {name: len(text.splitlines()) for name, text in python(files(step)).items()}
    assert lengths.pop("main.py") <= 80
    assert not {name: length for name, length in lengths.items() if length > 120}


@each_step
def test_a_step_adds_about_sixty_lines_of_python_at_most(step: str) -> None:
    now, before = (
        Counter(
            line.strip() for text in python(code).values() for line in text.splitlines() if line
        )
        for code in (files(step), files_before(step))
    )
    # A line that only moved, be it to another file or further in, is not an added one.
    added = (now - before).total()
    assert added <= LARGER.get(step, 60), "60 is where a small idea ends: is this two steps?"


@each_step
def test_browsers_ask_whether_a_page_has_changed(step: str) -> None:
    # They ask for another step's page at the same address.
    with TestClient(import_module(f"steps.{step}.main").app) as client:
        for path in ("/", "/client.js", "/style.css"):
            response = client.get(path)
            assert response.headers["cache-control"] == "no-cache"
            again = client.get(path, headers={"if-none-match": response.headers["etag"]})
            assert again.status_code == 304


@each_step
def test_a_copied_folder_runs_by_itself(step: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "steps" / step, tmp_path / step)
    program = f"""
from fastapi.testclient import TestClient
from {step}.main import app
with TestClient(app) as client:
    client.get("/").raise_for_status()
    client.get("/client.js").raise_for_status()
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


class Scripts(HTMLParser):
    """Collects what runs as script in a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note scripts, and attributes such as `onclick`."""
        if tag == "script":
            self.found.append(dict(attrs))
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


@each_step
def test_a_page_runs_one_classic_script_and_none_inline(step: str) -> None:
    scripts = Scripts(files(step)["static/index.html"])
    assert [script.get("src") for script in scripts.found] == ["client.js"]
    assert "type" not in scripts.found[0]
    assert not scripts.handlers


@each_step
def test_a_client_takes_its_address_from_location(step: str) -> None:
    for name, text in files(step).items():
        if name.startswith("static/"):
            assert not re.search(r"wss?://|localhost|127\.0\.0\.1", text), name
    assert "location" in files(step)["static/client.js"]


def test_the_lock_file_names_the_public_index_and_no_other() -> None:
    lock = (ROOT / "uv.lock").read_text("utf-8")
    hosts = set(re.findall(r"https?://([^/\"]+)", lock))
    # As digests: the project names no host of a registry but in the lock itself.
    known = {hashlib.sha256(host.encode()).hexdigest()[:16] for host in hosts}
    assert known == PUBLIC_INDEX, f"uv.lock names {hosts}: lock again without any other index"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "index" not in project["tool"]["uv"]
