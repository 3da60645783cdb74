"""What the pages ask of the site's hooks, and what they hear when it cannot be had."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "docs/_hooks"))

import commands
import project
import proofs
import recordings
from directives import expanded

PAGE = "steps/step02_b.md"
APP = """
from fastapi import FastAPI, WebSocket

app = FastAPI()


@app.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        if text == "bye":
            await websocket.close(4000, "as you wish")
        await websocket.send_bytes(text.encode())


@app.post("/upper")
def upper(text: str) -> str:
    return text.upper()
"""
SIGNED_IN = """
import os
from fastapi import FastAPI, Header, WebSocket

app = FastAPI()


@app.post("/session")
async def sign_in() -> dict[str, str]:
    return {"token": "t"}


@app.websocket("/ws/lobby")
async def chat(websocket: WebSocket, authorization: str = Header(), last: str = "") -> None:
    assert authorization == "Bearer t"
    await websocket.accept()
    await websocket.send_text(last or os.environ["CHAT_LOG"])
"""
TESTS = '''"""What b promises."""

import pytest

TWO = 2


@pytest.mark.parametrize("number", [1, TWO])
def test_bob_reads_json(number):
    """It has ``` in it."""


async def test_nobody_waits():
    pass
'''


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two steps and their tests, in a project of their own."""
    for name, text in {
        "steps/step01_a/main.py": "one\ntwo\n",
        "steps/step01_a/same.py": "same\n",
        "steps/step02_b/__init__.py": "",
        "steps/step02_b/main.py": "one\nthree\nfour\n",
        "steps/step02_b/same.py": "same\n",
        "steps/step02_b/new.py": 'text = "```"\n',
        "steps/step02_b/echo.py": APP,
        "tests/test_step02_b.py": TESTS,
        "tests/browser/test_step02_b.py": "def test_it_looks_good(): ...\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    for module in (project, proofs, commands, recordings):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def expand(markdown: str, page: str = PAGE) -> str:
    """Expand a page that is alone on its site."""
    return expanded(markdown, page, {page: markdown})


@pytest.mark.parametrize("ticks", ["```", "````", "~~~"])
def test_a_fence_stays_as_it_is(ticks: str) -> None:
    markdown = f"a\n\n{ticks}text\n::nope\n\n  ::show main.py\n{ticks}\n\nb: `::nope`\n"
    assert expand(markdown) == markdown


def test_a_fence_in_a_longer_fence_does_not_end_it() -> None:
    markdown = "````text\n```\n::nope\n```\n````\n"
    assert expand(markdown) == markdown


def test_a_new_file_is_shown_whole() -> None:
    assert expand("::show new.py") == '````python title="new.py"\ntext = "```"\n````'


def test_a_changed_file_is_shown_as_a_diff_and_whole() -> None:
    shown = expand("::show main.py")
    assert '```diff title="main.py"\n    @@ -1,2 +1,3 @@\n     one\n    -two\n    +three' in shown
    assert '=== "The whole file"\n\n    ```python title="main.py"\n    one\n    three' in shown


def test_a_folded_file_says_how_much_it_is() -> None:
    minus = "\N{MINUS SIGN}"
    assert expand("::show main.py folded").startswith(f'??? example "main.py · +2 {minus}1 lines"')
    assert expand("::show new.py folded").startswith('??? example "new.py · 1 lines"')


def test_a_directive_keeps_its_margin() -> None:
    assert expand("!!! note\n\n    ::show new.py").splitlines()[3] == '    text = "```"'


def test_tests_are_listed_as_sentences_and_linked() -> None:
    assert expand("::tests").splitlines() == [
        "- [Bob reads JSON](../tests/test_step02_b.md#test_bob_reads_json)",
        "- [Nobody waits](../tests/test_step02_b.md#test_nobody_waits)",
        "- [It looks good](../tests/browser/test_step02_b.md#test_it_looks_good) (in a browser)",
    ]


def test_what_is_proved_is_linked() -> None:
    line = expand("::proved browser.test_step02_b.test_it_looks_good", "index.md")
    assert "[It looks good](tests/browser/test_step02_b.md#test_it_looks_good)" in line


def test_the_page_of_tests_has_all_of_the_file() -> None:
    page = proofs.page("test_step02_b")
    assert "# Step 2 · B\n\nWhat b promises." in page
    assert "## Bob reads JSON { #test_bob_reads_json }\n\n````python\n@pytest.mark" in page
    assert "    TWO = 2\n" in page
    assert page.count("async def") == 1


def test_questions_are_found_by_text_and_by_code() -> None:
    sources = {
        "questions.md": "# Questions\n\n::questions",
        PAGE: "# Step\n\n### Who? { #who }\n\n::finds KeyError: 'a' | 1006\n",
    }
    link = "[Who?](steps/step02_b.md#who)"
    assert expanded(sources["questions.md"], "questions.md", sources).splitlines()[-2:] == [
        f"| `1006` | {link} | Step |",
        f"| `KeyError: 'a'` | {link} | Step |",
    ]
    assert "Found by: `KeyError: 'a'` · `1006`" in expanded(sources[PAGE], PAGE, sources)


def test_the_protocol_says_since_when(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "ROOT", Path(__file__).parents[1])
    page = expand("::protocol", "reference/protocol.md")
    assert "### `say` { #clientmessage-say }\n\nSince [step 2](../steps/step02_json.md)." in page
    assert "| `text` | string, maxLength `2000`, minLength `1` |  |" in page
    since = "Since [step 12](../steps/step12_delivery.md)."
    assert f'| `key` | string, format `"uuid"` or null | Optional. {since} |' in page
    assert '`"not_here"` since [step 10](../steps/step10_rooms.md). |' in page


def test_the_description_for_programs_is_that_of_the_newest_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(project, "ROOT", Path(__file__).parents[1])
    newest = max(project.steps())
    page = expand("::asyncapi", "reference/asyncapi.md")
    assert page.startswith('??? example "asyncapi.json')
    assert f'"title": "Step {int(newest[4:6])}: {newest[7:]}"' in page


def test_a_step_runs_in_its_page() -> None:
    line = expand('::run / /?name=ada&x | POST /announce {"text": "it\'s"}')
    assert line.count("\n") == 0  # Markdown leaves it alone
    assert 'app="steps.step02_b.main:app" src="../../runner/steps/step02_b.json"' in line
    assert 'clients="/ /?name=ada&amp;x"' in line
    assert 'request="POST /announce {&quot;text&quot;: &quot;it&#x27;s&quot;}"' in line
    # Before, when it cannot be loaded, and without JavaScript.
    assert line.count("make run STEP=2") == 4
    assert "request=" not in expand("::run /")


def test_what_is_broken_runs_in_the_page_that_shows_it() -> None:
    line = expand("::run tests.broken.broadcast / /")
    assert 'app="tests.broken.page:app" src="../../runner/steps/broadcast.json"' in line
    assert "uv run uvicorn tests.broken.broadcast:app" in line


def test_a_step_that_does_not_run_in_its_page_says_why_and_what_does() -> None:
    assert expand("::run not: it needs Redis") == (
        "It does not run in the page: it needs Redis. On your machine: `make run STEP=2`."
    )


def test_a_step_runs_on_no_other_page() -> None:
    with pytest.raises(project.PageError, match=r"index.md:1: ::run belongs on a step's page"):
        expand("::run /", "index.md")


@pytest.mark.parametrize(
    ("markdown", "complaint"),
    [
        ("::nope", "no directive ::nope"),
        ("::run", "the paths that clients open"),
        ("::run / name=ada", "the paths that clients open"),
        ("::run not", "or `not: ` and a reason"),
        ("::run tests.broken.gone /", "no tests.broken.gone; there are "),
        ("::run / | announce", "comes a request"),
        ("::show gone.py", "no 'gone.py'; it has echo.py, main.py, new.py, same.py"),
        ("::show same.py", "did not change"),
        ("::show main.py wide", "`folded` or nothing"),
        ("::proved", "wants the names of tests"),
        ("::proved test_step02_b.test_gone", "no 'test_gone'; it has test_bob_reads_json"),
        ("::proved test_gone.test_it", "no tests/test_gone.py"),
        ("::finds 1006", "belongs under"),
        ("```run exit=no\ntrue\n```", "exit=<status>"),
        ("```record step09_gone\n```", "no steps/step09_gone/main.py"),
    ],
)
def test_what_cannot_be_had_is_named_with_its_page_and_line(markdown: str, complaint: str) -> None:
    with pytest.raises(project.PageError, match=r"steps/step02_b\.md:5: ") as error:
        # MkDocs has taken away the front matter, three lines of this page.
        expanded(f"\n{markdown}", PAGE, {PAGE: f"---\na: b\n---\n\n{markdown}"})
    assert complaint in str(error.value)


def test_a_command_shows_what_it_printed_but_not_where(root: Path) -> None:
    shown = expand("```run exit=3\npwd; echo oh >&2\nexit 3\n```")
    assert shown == "```console\n$ pwd; echo oh >&2\n~/fastapi-websockets\noh\n$ exit 3\n```"
    assert str(root) not in shown


def test_a_command_runs_again_only_when_something_changed(root: Path) -> None:
    again = "```run\necho >> count; wc -l < count\n```"
    assert "\n1\n" in expand(again)
    assert "\n1\n" in expand(again)
    (root / "Makefile").write_text("all:\n")
    assert "\n2\n" in expand(again)


def test_a_command_with_another_status_ends_the_build() -> None:
    with pytest.raises(project.PageError, match=r"md:3: 'false' ended with 1"):
        expand("```run exit=1\ntrue\nfalse\nfalse\n```")


async def test_a_script_is_played_by_real_clients_on_a_real_server() -> None:
    script = """
        ada connects
        bob connects /ws?a=b
        eve connects /nowhere
        ada sends {"type":  "say"}
        ada receives
        POST /upper?text=hi {}
        bob is cut off
        ada sends bye
        ada is closed
        ada connects
        ada leaves
        ada connects
        ada sends bytes 00ff
        ada receives
        ada connects
    """
    # In a thread, as it starts a loop of its own.
    page = await asyncio.to_thread(expand, f"```record steps.step02_b.echo\n{script}\n```")
    frames, terminal = page.split("Server's terminal")
    assert [line.strip() for line in frames.splitlines()[3:-3]] == [
        "ada  connects to /ws",
        "bob  connects to /ws?a=b",
        "eve  refused: HTTP 403",
        'ada  → {"type":  "say"}',
        "ada  ← binary 7b2274797065223a202022736179227d",
        "POST /upper?text=hi {}",
        '200 "HI"',
        "bob  is cut off",
        "ada  → bye",
        "ada  closed 4000 as you wish",
        "ada  connects to /ws",
        "ada  leaves (1000)",
        "ada  connects to /ws",
        "ada  → binary 00ff",
        "ada  closed 1006",
        "ada  connects to /ws",
    ]
    assert "running on http://127.0.0.1:8000" in terminal
    assert "Application shutdown complete" in terminal


async def test_a_script_signs_people_in_and_leaves_no_log_behind(root: Path) -> None:
    (root / "steps/step10_c").mkdir()
    (root / "steps/step10_c/main.py").write_text(SIGNED_IN)
    script = "ada signs in\nada connects\nada receives\nada-2 connects ?last=1\nada-2 receives"
    script += "\nbob connects /ws/kitchen"
    page = await asyncio.to_thread(expand, f"```record step10_c\n{script}\n```")
    lines = [line.strip() for line in page.splitlines()[3:]]
    assert lines[0] == "ada    signs in"
    assert lines[1] == "ada    connects to /ws/lobby"
    assert re.fullmatch(r"ada    ← sqlite:////.*/chat\.db", lines[2])
    assert lines[3:6] == [
        "ada-2  connects to /ws/lobby?last=1",
        "ada-2  ← 1",
        "bob    refused: HTTP 403",
    ]
    assert not Path(lines[2].partition("sqlite:///")[2]).parent.exists()


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        ("ada signs in", "Not Found"),
        ("ada sings", "'ada sings' is no line of a script"),
        ("bob receives", "'bob' is not connected"),
        ("ada sends bytes 0g", "ValueError"),
    ],
)
async def test_a_script_that_goes_wrong_names_its_line(order: str, complaint: str) -> None:
    fence = f"```record steps.step02_b.echo\nada connects\n{order}\n```"
    with pytest.raises(project.PageError, match=r"md:3: ") as error:
        await asyncio.to_thread(expand, fence)
    assert complaint in str(error.value)


async def test_a_script_that_waits_for_nothing_ends_the_build(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recordings, "LIMIT", 2)
    fence = "```record steps.step02_b.echo\nada connects\nada receives\n```"
    with pytest.raises(project.PageError, match="not done after 2 s"):
        await asyncio.to_thread(expand, fence)


async def test_a_server_that_does_not_start_ends_the_build() -> None:
    with pytest.raises(project.PageError, match=r"did not start(?s:.*)NameError"):
        await asyncio.to_thread(expand, "```record step02_b\nada connects\n```")
