"""The same scenarios on uvicorn and in the runner: they differ in what is known, and nowhere else.

What a real server does is seen in Chromium: browsers differ among themselves, and the runner
follows this one.
"""

import json
import os
import re
from collections import Counter
from difflib import unified_diff
from pathlib import Path

import pytest

from tests.browser.browsers import NoBrowserError
from tests.browser.conftest import ROOT
from tests.conftest import Server
from tests.live.browsers import Browser, Chromium, Tab
from tests.live.differential.main import app
from tests.live.differential.proxy import Proxy, Switches
from tests.live.site import Handler, Site

pytestmark = pytest.mark.timeout(180)  # a scenario that hangs is given up by its page, in time

FOLDER = Path(__file__).parent / "differential"
STEP = "step01_echo"
PAGE = ROOT / "docs/reference/in-the-browser.md"

Log = dict[str, dict[str, list[str]]]
"""What page and app saw in each scenario."""

# By the name under which the page explains it, and by scenario: the lines that page and app have
# on a real server and not in the runner (-), and the other way round (+).
KNOWN: dict[str, dict[str, list[str]]] = {
    "one-thread": {
        "a_function_that_takes_its_time": [
            "-page: others had their turn",
            "+page: nobody else had a turn",
        ],
        "what_takes_more_than_one_thread": [
            '-page:   "from a thread of our own"',
            '+page:   "RuntimeError"',
        ],
    },
    "no-sockets": {
        "what_takes_more_than_one_thread": [
            '-page:   "connected"',
            '+page:   "NotImplementedError"',
            '-page:   "ended with 0"',
            '+page:   "NotImplementedError"',
        ],
    },
    "streaming": {
        "an_answer_that_comes_in_parts": [
            "-page: one",
            "-page:  two",
            "+page: one nobody came",
            "+page: ",
        ],
        "an_answer_that_breaks_off": ["-page: 200"],
    },
    "only-fetch": {
        "an_older_request": [
            '-page: 200 "from a plain function"',
            "+page: 404 something else",
        ],
        "server_sent_events": ["-page: one", "-page: two", "+page: error"],
        "a_file_that_a_script_puts_into_the_page": ["-page: load", "+page: error"],
        "a_module_that_a_script_imports": [
            '-page: the module is "imported"',
            "+page: the module fails with TypeError TypeError",
        ],
    },
    "links": {
        "a_link_to_another_page": ["-page: the other page", "+page: something else"],
    },
    "host": {
        "the_scope_of_a_socket": [
            "-app: 4: host is the page's: true",
            "+app: 4: host is the page's: false",
        ],
        "the_scope_of_a_request": [
            "-page: host is the page's true",
            "+page: host is the page's false",
        ],
    },
    "headers": {
        "parameters_of_a_socket": [
            '-page: message "[7,3,\\"green\\",true]" state=1',
            '+page: message "[7,3,\\"green\\",false]" state=1',
            '-page: 2: message "[8,4,\\"no cookie\\",true]" state=1',
            '+page: 2: message "[8,4,\\"no cookie\\",false]" state=1',
            "-app: send send text='[7,3,\"green\",true]'",
            "+app: send send text='[7,3,\"green\",false]'",
            "-app: 2: send send text='[8,4,\"no cookie\",true]'",
            "+app: 2: send send text='[8,4,\"no cookie\",false]'",
        ],
        "the_scope_of_a_socket": [
            f'{side}app: {number}there: [{more}"sec-websocket-key", "sec-websocket-version"]'
            for number in ("", "2: ", "3: ", "4: ")
            for side, more in (("-", '"accept-encoding", "accept-language", '), ("+", ""))
        ],
        "the_scope_of_a_request": [
            '-page: there ["accept","accept-encoding","accept-language","referer",'
            '"sec-fetch-mode","sec-fetch-site"]',
            '+page: there ["accept"]',
        ]
        * 4,
    },
    "cookies": {
        "a_cookie_in_another_window": [
            "-page: a=1 there a=1",
            "+page: a=1 there ",
            "-page: sent from there a=1",
            "+page: sent from there ",
        ],
        "a_store_of_cookies": ["-page: object", "+page: undefined"],
        "a_store_in_another_window": [
            "-page: localStorage there 1",
            "-page: sessionStorage there 1",
            "+page: localStorage there ",
            "+page: sessionStorage there ",
        ],
    },
    "answers": {
        "the_answer_itself": [
            "-page: changing its headers throws TypeError TypeError",
            "+page: changing its headers is undefined",
        ],
        "redirects": [
            "-page: GET /redirect?status=302&to=/mirror 0",
            "+page: GET /redirect?status=302&to=/mirror 302",
        ],
    },
    "not-trusted": {
        "events_are_trusted": [
            f"{side}page: {event} {trusted}"
            for event in ("open", "message", "close")
            for side, trusted in (("-", "true"), ("+", "false"))
        ],
        "an_event_of_the_pages_own": [
            "-page: handler close true",
            "+page: handler close false",
        ],
    },
    "between-listeners": {
        "promises_between_two_listeners": [
            "-page: second listener",
            "+page: second listener",
        ],
    },
}


class WithScenarios(Handler):
    """Serves the site, with the scenarios' app in the place of a step."""

    def do_GET(self) -> None:  # noqa: N802 - a name of http.server
        if not self.path.endswith(f"/runner/steps/{STEP}.json"):
            super().do_GET()
            return
        content = json.dumps(files()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def files() -> dict[str, str]:
    """Return the app's files in the way in which the site has those of a step."""
    python = [FOLDER / "main.py", FOLDER / "journal.py", FOLDER / "script.py"]
    static = sorted(path for path in (FOLDER / "static").rglob("*") if path.is_file())
    return {
        path.relative_to(FOLDER).as_posix(): path.read_text("utf-8") for path in python + static
    }


async def played(tab: Tab, client: int | None = None) -> Log:
    """Wait until a page has played its scenarios; return its log. Its title says how far it is."""
    title = ""
    while title != "done":
        name = json.dumps(title)
        title = await tab.until(f"document.title !== {name} && document.title", client)
    log: Log = json.loads(await tab.evaluate("document.querySelector('#log').textContent", client))
    return log


def stuck(log: Log) -> dict[str, list[str]]:
    """Return the scenarios that went wrong, by name, and what their pages saw until then."""
    wrong = ("it hangs", "it fails")
    pages = {name: seen["page"] for name, seen in log.items()}
    return {name: page for name, page in pages.items() if page and page[-1].startswith(wrong)}


@pytest.fixture(scope="session")
async def on_uvicorn() -> Log:
    """Play the scenarios on a real server, behind a line that can be hurt."""
    proxy = Proxy()
    app.add_middleware(Switches, proxy=proxy)
    # A drop-in has nothing to compress: the page would see the name of the extension.
    server = Server(app, ws_per_message_deflate=False)
    try:
        async with proxy.listening(server.address) as address, Chromium.start(address) as browser:
            tab = await browser.tab()
            await tab.open(f"http://{address}/")
            return await played(tab)
    except NoBrowserError as missing:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    finally:
        server.stop()


@pytest.fixture(scope="session")
async def in_the_runner(driven: Browser, whole_site: Site) -> Log:
    """Play them in the first window of the runner."""
    handler = whole_site.RequestHandlerClass
    whole_site.RequestHandlerClass = WithScenarios
    tab = await driven.tab()
    try:
        await tab.open(f"{whole_site.url}steps/{STEP}/")
        await tab.click(f'fastapi-runner[src$="/{STEP}.json"] button.run')
        await tab.until("document.querySelector('fastapi-runner').dataset.state === 'running'")
        return await played(tab, client=1)
    finally:
        await tab.close()
        whole_site.RequestHandlerClass = handler


def differences(native: Log, runner: Log) -> dict[str, list[str]]:
    """Return what differs, by scenario: lines that only one of the two has."""
    found = {}
    for name in native | runner:
        none: dict[str, list[str]] = {"page": [], "app": []}
        real, here = native.get(name, none), runner.get(name, none)
        lines = [
            f"{line[0]}{side}: {line[1:]}"
            for side in none
            for line in [*unified_diff(real[side], here[side], lineterm="", n=0)][2:]
            if not line.startswith("@@")
        ]
        if lines:
            found[name] = lines
    return found


def left_over(some: dict[str, list[str]], others: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the lines of each scenario that the others do not have."""
    rest = {name: [*(Counter(some[name]) - Counter(others.get(name))).elements()] for name in some}
    return {name: lines for name, lines in rest.items() if lines}


def test_every_scenario_comes_to_its_end_on_a_real_server(on_uvicorn: Log) -> None:
    assert not stuck(on_uvicorn)
    assert len(on_uvicorn) > 100


def test_every_scenario_comes_to_its_end_in_the_runner(in_the_runner: Log) -> None:
    assert not stuck(in_the_runner)


def test_the_runner_differs_from_a_real_server_in_what_is_known_and_nowhere_else(
    on_uvicorn: Log, in_the_runner: Log
) -> None:
    known: dict[str, list[str]] = {}
    for scenarios in KNOWN.values():
        for name, lines in scenarios.items():
            known.setdefault(name, []).extend(lines)
    found = differences(on_uvicorn, in_the_runner)
    assert not left_over(found, known)
    assert not left_over(known, found)


def test_the_page_explains_every_difference_that_is_known_and_no_other() -> None:
    named = re.findall(r"^### .+ \{ #([\w-]+) \}$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(KNOWN)
