"""`::run`: a step that runs in the page, and the files that it runs from."""

import json
import re
import sys
from collections.abc import Iterator
from html import escape
from posixpath import relpath

from project import ROOT, PageError, files, steps

sys.path.append(str(ROOT / "docs/runner/build"))

import build

FOLDER = "runner"
RUNS = re.compile(r"^\s*::run +(?!not: )", re.MULTILINE)
USAGE = "after ::run come the paths that clients open, `/ /?name=ada`, or `not: ` and a reason"
# What an old browser cannot read it does not run: the sentence with the command stays.
PRESSED = (
    "const e=this.closest('fastapi-runner');this.textContent='Loading…';"
    "import(new window.URL({script},document.baseURI)).then(m=>m.start(e)).catch(()=>{{"
    "e.dataset.state='broken';e.querySelector('.status').textContent={sentence}}})"
)
# What is passed around and broken has no page. It gets one, from a step that speaks as it does.
PAGES_FOR_BROKEN = {"receive_json": "step02_json", "one_socket_a_user": "step05_chat"}
PAGE_FOR_BROKEN = """\
# Not part of what is broken: the page for the windows.
from pathlib import Path

from .{name} import app

app.frontend("/", directory=Path(__file__).parent / "static")
"""


def run(step: str, page: str, wanted: str) -> str:
    """Put a step into its page, or say why it does not run there.

    `wanted` are the paths that its clients open; after ` | ` a request that can be sent to it. With
    the name of a module of tests/broken in front, it is that one that runs.
    """
    if step not in steps():
        raise PageError("::run belongs on a step's page, docs/steps/<the step's folder>.md")
    command = f"make run STEP={int(step[4:6])}"
    if wanted.startswith("not: "):
        return f"It does not run in the page: {wanted[5:]}. On your machine: `{command}`."
    name, app = step, f"steps.{step}.main:app"
    if wanted.startswith("tests.broken."):
        module, _, wanted = wanted.partition(" ")
        name, app = module.rpartition(".")[2], "tests.broken.page:app"
        command = f"uv run uvicorn {module}:app"
        if name not in broken():
            raise PageError(f"there is no {module}; there are {', '.join(broken())}")
    clients, _, request = wanted.partition(" | ")
    if not clients or not all(path.startswith("/") for path in clients.split()):
        raise PageError(f"::run {wanted}: {USAGE}")
    if "|" in wanted and not re.match(r"[A-Z]+ /", request):
        raise PageError(f"::run {wanted}: after ` | ` comes a request, `POST /path {{}}`")
    # MkDocs makes a folder of each page, and leaves addresses in HTML as they are.
    root = relpath(FOLDER, page.removesuffix(".md"))
    attributes = {
        "app": app,
        "src": f"{root}/steps/{name}.json",
        "clients": clients,
        "command": command,
        **({"request": request} if request else {}),
        "data-state": "idle",
    }
    given = " ".join(f'{name}="{escape(value)}"' for name, value in attributes.items())
    pressed = PRESSED.format(
        script=repr(f"{root}/runner.js"),
        sentence=repr(f"It could not be loaded: reload the page. Or on your machine: {command}"),
    )
    return (
        f"<div data-search-exclude><fastapi-runner {given}>"
        f'<button type="button" class="run" onclick="{escape(pressed)}">Run</button>'
        '<p role="status" class="status">Nothing to install: about 9 MB are loaded, once. '
        f"Or on your machine: <code>{command}</code></p>"
        "<noscript><p>Without JavaScript it does not run here. "
        f"On your machine: <code>{command}</code></p></noscript>"
        "</fastapi-runner></div>"
    )


def site_files(markdown: list[str]) -> Iterator[tuple[str, str | bytes]]:
    """Return what the steps in pages run from, if any is in one: addresses and contents.

    The scripts themselves are files of docs/runner, which MkDocs copies.
    Raises `build.BuildError`.
    """
    if not any(RUNS.search(text) for text in markdown):
        return
    made = build.cached()
    for path in sorted(made.rglob("*.*")):
        yield f"{FOLDER}/{path.relative_to(made).as_posix()}", path.read_bytes()
    for step in steps():
        main_first = {"main.py": "", **files(step)}
        yield f"{FOLDER}/steps/{step}.json", json.dumps(main_first)
    for name, text in broken().items():
        page = {"page.py": PAGE_FOR_BROKEN.format(name=name)}
        static = files(PAGES_FOR_BROKEN.get(name, steps()[0]))
        page |= {file: static[file] for file in static if file.startswith("static/")}
        yield f"{FOLDER}/steps/{name}.json", json.dumps({f"{name}.py": text, **page})


def broken() -> dict[str, str]:
    """Return the apps that are passed around and do not work, by their names."""
    paths = sorted(ROOT.glob("tests/broken/[!_]*.py"))
    return {path.stem: path.read_text("utf-8") for path in paths}
