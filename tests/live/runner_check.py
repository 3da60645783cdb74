"""What a reader can do with a step in its page. `make site` runs this after the build."""

import re

import pytest

from tests.browser.conftest import ROOT
from tests.live.conftest import OpenRunner
from tests.live.runner import ENDED, RUNS, TEXTAREA, Runner
from tests.live.site import Site

ECHO, JSON, BROADCAST = "step01_echo", "step02_json", "step03_broadcast"
MANAGER, CHAT = "step04_manager", "step05_chat"
SIGN_IN = """
from fastapi import HTTPException, Request, Response
from fastapi.requests import HTTPConnection


def who(connection: HTTPConnection) -> str:
    if "session" not in connection.cookies:
        raise HTTPException(401)
    return connection.cookies["session"]


@app.post("/session")
async def sign_in(person: dict[str, str], response: Response) -> None:
    response.set_cookie("session", person["name"], httponly=True)
    response.set_cookie("theme", "dark")


@app.get("/session")
async def session(name: str = Depends(who)) -> str:
    return name


@app.delete("/session", status_code=204)
async def sign_out(response: Response) -> None:
    response.delete_cookie("session", httponly=True)


@app.websocket("/session")
async def hello(websocket: WebSocket, name: str = Depends(who)) -> None:
    await websocket.accept()
    await websocket.send_text(name)


@app.get("/")
async def page(request: Request) -> Response:
    visits = int(request.cookies.get("visits", 0)) + 1
    html = (Path(__file__).parent / "static/index.html").read_text()
    response = Response(html, media_type="text/html")
    response.set_cookie("visits", str(visits))
    return response


"""


def test_every_step_runs_in_its_page_or_says_why_it_does_not() -> None:
    for path in ROOT.glob("docs/steps/*.md"):
        assert re.search(r"^::run (/|not: .)", path.read_text("utf-8"), re.MULTILINE), path.name


# Every step


@pytest.mark.parametrize("step", RUNS)
async def test_a_step_runs_in_its_page_and_shows_all_that_happens(
    running: OpenRunner, step: str
) -> None:
    runner = await running(step)
    await runner.speak("hello there", 1)
    # Up to step 2 everybody talks to the server, and nobody to anybody.
    listener = 1 if runner.number <= 2 else 2
    await runner.hears("hello there", listener, kind=".received" if runner.number <= 4 else "")
    await runner.row("frame", 1, "in", "hello there")
    await runner.row("frame", listener, "out", "hello there")
    await runner.row("asgi", 1, "in", "websocket.connect")
    await runner.row("asgi", 1, "out", "websocket.accept")
    await runner.row("asgi", 1, "in", "websocket.receive")
    await runner.row("asgi", listener, "out", "websocket.send")
    await runner.prints(r"INFO: +Application startup complete\.")
    await runner.prints(r"INFO: .* - \"WebSocket /ws.*\" \[accepted\]")
    await runner.prints(r"INFO: .* - \"GET /(\?.*)? HTTP/1.1\" 200")


async def test_each_window_of_the_echo_hears_itself(running: OpenRunner) -> None:
    runner = await running(ECHO)
    for client in (1, 2):
        await runner.speak(f"I am {client}", client)
        await runner.hears(f"I am {client}", client, kind=".received")
        assert (
            await runner.tab.evaluate("document.querySelectorAll('.received').length", client) == 1
        )


# Stop, and run again


async def test_stop_is_ctrl_c_clients_get_1012(running: OpenRunner) -> None:
    runner = await running(ECHO)
    await runner.press("stop")
    await runner.state("stopped")
    for client in (1, 2):
        await runner.tells("offline (1012)", client)
        await runner.row("frame", client, "out", "close 1012")
    await runner.prints("Application shutdown complete")


async def test_after_stop_and_run_the_windows_of_the_chat_come_back_by_themselves(
    running: OpenRunner,
) -> None:
    runner = await running(CHAT)
    await runner.mark_windows()
    # What the pages' attempts leave in the console, as in any browser.
    runner.tab.expected = "WebSocket connection to .* failed"
    await runner.press("stop")
    await runner.state("stopped")
    for client in (1, 2):
        await runner.tab.until(
            "document.querySelector('#state').dataset.state !== 'online'", client
        )
    await runner.speak("typed offline", 1)
    await runner.press("run")
    await runner.state("running")
    await runner.online(1, 2)
    await runner.hears("typed offline", 1, kind=".mine")
    assert await runner.marked(1)
    assert await runner.marked(2)


async def test_a_window_that_is_reloaded_while_nothing_runs_can_be_reloaded_later(
    running: OpenRunner,
) -> None:
    runner = await running(ECHO)
    await runner.press("stop")
    await runner.state("stopped")
    await runner.press("reload", 2)
    await runner.press("run")
    await runner.state("running")
    await runner.press("reload", 2)
    await runner.online(2)


async def test_edited_code_runs_and_the_original_comes_back(running: OpenRunner) -> None:
    runner = await running(ECHO)
    await runner.replace("send_text(text)", "send_text(text.upper())")
    await runner.run_again()
    await runner.speak("louder", 1)
    await runner.hears("LOUDER", 1)
    await runner.press("reset")
    source = (ROOT / "steps" / ECHO / "main.py").read_text("utf-8")
    assert await runner.code() == source
    await runner.run_again()
    await runner.speak("quiet", 1)
    await runner.hears("quiet", 1, kind=".received")


async def test_an_edited_page_is_the_one_that_windows_show(running: OpenRunner) -> None:
    runner = await running(ECHO)
    await runner.replace("<h1>Say something</h1>", "<h1>Mine</h1>", "static/index.html")
    await runner.run_again()
    assert await runner.tab.evaluate("document.querySelector('h1').textContent", 2) == "Mine"


async def test_what_the_code_prints_is_in_the_output(running: OpenRunner) -> None:
    runner = await running(ECHO)
    await runner.replace("await websocket.send_text(text)", "print(f'heard <b>{text}</b>')")
    await runner.run_again()
    await runner.speak("a whisper", 1)
    await runner.prints("heard <b>a whisper</b>")


# What goes wrong


@pytest.mark.parametrize(
    ("file", "code", "error", "line"),
    [
        ("main.py", "import fastapi\n\napp = (\n", "SyntaxError: '\\(' was never closed", 3),
        ("main.py", "\nimport nothing\n", "ModuleNotFoundError: No module named 'nothing'", 2),
        ("caching.py", "\n\n\n1 / 0\n", "ZeroDivisionError: ", 4),
    ],
)
async def test_code_that_does_not_start_leaves_a_traceback_that_leads_to_its_line(
    running: OpenRunner, file: str, code: str, error: str, line: int
) -> None:
    runner = await running(ECHO)
    await runner.edit(code, file)
    await runner.press("run")
    await runner.state("failed")
    await runner.prints(error)
    await places_lead_to(runner, file, line)
    await runner.press("reset")
    await runner.run_again()


async def test_code_without_an_app_is_told_so_in_uvicorns_words(running: OpenRunner) -> None:
    runner = await running(ECHO)
    await runner.edit("x = 1\n")
    await runner.press("run")
    await runner.state("failed")
    await runner.prints('Attribute "app" not found')
    await no_frame_is_the_runners(runner)


async def test_an_exception_in_the_endpoint_leads_to_its_line(running: OpenRunner) -> None:
    runner = await running(ECHO)
    await runner.press("binary", 1)
    await runner.tells("offline (1006)", 1)
    await runner.prints("KeyError: 'text'")
    source = (ROOT / "steps" / ECHO / "main.py").read_text("utf-8").splitlines()
    line = next(n for n, text in enumerate(source, 1) if "receive_text()" in text)
    await places_lead_to(runner, "main.py", line)


async def places_lead_to(runner: Runner, file: str, line: int) -> None:
    """Fail unless the last place of the traceback opens the editor at a line of a file."""
    await no_frame_is_the_runners(runner)
    other = "main.py" if file != "main.py" else "caching.py"
    await runner.show(other)
    await runner.tab.evaluate(
        "[...document.querySelectorAll('.output button.place')].at(-1).id = 'last-place'"
    )
    words: str = await runner.tab.evaluate("document.querySelector('#last-place').textContent")
    assert file in words
    assert re.search(rf"\b{line}\b", words)
    await runner.tab.click("#last-place")
    await runner.shows(file)
    await runner.tab.until(
        f"(area => area.value.slice(0, area.selectionStart).split('\\n').length === {line})"
        f"(document.querySelector('{TEXTAREA}'))"
    )
    assert await runner.tab.evaluate(f"document.activeElement.matches('{TEXTAREA}')")


async def no_frame_is_the_runners(runner: Runner) -> None:
    """Fail if a traceback shows a file of the runner's own."""
    places = re.findall(r'File "([^"]+)"', await runner.output())
    own = {path.name for path in ROOT.glob("docs/runner/*.py")}
    theirs = [path for path in places if "site-packages" not in path]
    assert not [path for path in theirs if path.rsplit("/", 1)[-1] in own]


# What does not end


async def test_an_endless_loop_at_import_is_noticed_and_can_be_stopped(running: OpenRunner) -> None:
    runner = await running(ECHO)
    runner.tab.expected = ENDED
    await runner.edit("while True:\n    pass\n")
    await runner.press("run")
    await runner.state("blocked")
    await runner.press("stop")
    await runner.state("stopped")
    await runner.press("reset")
    await runner.press("run")
    await runner.state("running")
    await runner.online(1, 2)


async def test_a_blocking_call_in_an_endpoint_is_noticed_and_can_be_stopped(
    running: OpenRunner,
) -> None:
    runner = await running(ECHO)
    runner.tab.expected = ENDED
    await runner.replace("await websocket.send_text(text)", "__import__('time').sleep(600)")
    await runner.run_again()
    await runner.speak("sleep", 1)
    await runner.state("blocked")
    await runner.press("stop")
    await runner.state("stopped")
    for client in (1, 2):
        await runner.tells("offline (1006)", client)


async def test_a_flood_leaves_the_page_alive_and_can_be_stopped(running: OpenRunner) -> None:
    runner = await running(ECHO)
    await runner.replace(
        "    await websocket.accept()\n",
        "    await websocket.accept()\n    while True:\n        await websocket.send_text('x')\n",
    )
    await runner.mark_windows()
    await runner.press("run")
    await runner.tab.until("document.querySelectorAll('.received').length > 1000", 1)
    assert len(await runner.rows()) == 300
    await runner.press("stop")
    await runner.state("stopped")
    await runner.tab.until("document.querySelector('#state').textContent.includes('offline')", 1)


async def test_a_flood_of_prints_leaves_the_page_alive(running: OpenRunner) -> None:
    runner = await running(ECHO)
    await runner.replace(
        "    await websocket.accept()\n",
        "    await websocket.accept()\n    import asyncio\n    while True:\n"
        "        print('again ' * 20)\n        await asyncio.sleep(0)\n",
    )
    await runner.press("run")
    await runner.prints("again again")
    await runner.press("stop")
    await runner.state("stopped")
    assert len(await runner.output()) < 1_000_000


# Windows and their lines


async def test_closing_a_window_is_leaving_with_1001(running: OpenRunner) -> None:
    runner = await running(CHAT)
    name = (await runner.tab.evaluate("document.querySelector('#state').textContent", 2))[10:]
    await runner.press("close", 2)
    await runner.hears(f"{name} left", 1)
    await runner.row("asgi", 2, "in", "code=1001")
    assert await runner.clients() == [1]


async def test_a_window_can_be_reloaded(running: OpenRunner) -> None:
    runner = await running(CHAT)
    await runner.mark_windows()
    await runner.press("reload", 2)
    await runner.hears(" left", 1)
    await runner.hears(" joined", 1)
    await runner.online(2)
    assert await runner.marked(1)
    assert not await runner.marked(2)


async def test_a_new_window_is_one_more_client(running: OpenRunner) -> None:
    runner = await running(BROADCAST)
    await runner.press("add")
    await runner.online(3)
    await runner.speak("three of us", 3)
    for client in (1, 2):
        await runner.hears("three of us", client, kind=".received")


async def test_junk_is_echoed_by_step_1_and_answered_by_step_2(running: OpenRunner) -> None:
    runner = await running(ECHO)
    await runner.press("junk", 1)
    await runner.row("frame", 1, "in", '"junk"')
    await runner.hears("junk", 1, kind=".received")


async def test_a_mistake_does_not_end_the_connection_from_step_2_on(running: OpenRunner) -> None:
    runner = await running(JSON)
    await runner.press("junk", 1)
    await runner.hears("bad_json", 1)
    await runner.press("binary", 1)
    await runner.row("frame", 1, "in", "00 ff")
    await runner.hears("not_text", 1)
    await runner.speak("still here", 1)
    await runner.hears("still here", 1)


async def test_a_line_that_is_cut_says_no_goodbye_and_does_not_stop_the_others(
    running: OpenRunner,
) -> None:
    runner = await running(BROADCAST)
    await runner.press("add")
    await runner.online(3)
    await runner.press("cut", 3)
    await runner.row("asgi", 3, "in", "websocket.disconnect")
    await runner.tells("offline (1006)", 3)
    frames = await runner.rows('[data-kind="frame"][data-client="3"]')
    assert not [row for row in frames if "close 1" in row]
    await runner.speak("anybody here?", 1)
    await runner.hears("anybody here?", 2)


async def test_the_chat_comes_back_after_its_line_was_cut(running: OpenRunner) -> None:
    runner = await running(CHAT)
    await runner.mark_windows()
    await runner.press("cut", 2)
    await runner.hears(" left", 1)
    await runner.online(2)
    await runner.hears(" joined", 1)
    assert await runner.marked(2)


async def test_a_slow_window_makes_the_speaker_wait_and_loses_nothing(running: OpenRunner) -> None:
    runner = await running(CHAT)
    said = [f"line {number}." for number in range(20)]
    await runner.press("slow", 2)
    await runner.tab.until("""document.querySelector('.slow[aria-pressed="true"]')""")
    for text in said:
        await runner.speak(text, 1)
    # The speaker is told first, then the slow one: its line holds eight.
    await runner.hears("line 8.", 1, kind=".mine")
    heard = "[...document.querySelectorAll('#log .mine, #log .theirs')]"
    assert await runner.tab.evaluate(f"{heard}.length", 1) < len(said)
    await runner.press("slow", 2)
    for client in (1, 2):
        await runner.hears(said[-1], client)
        texts = await runner.tab.evaluate(
            f"{heard}.map(line => line.querySelector('.text').textContent)", client
        )
        assert texts == said


async def test_a_request_can_be_sent_beside_the_sockets(running: OpenRunner) -> None:
    runner = await running(MANAGER)
    await runner.tab.click(".request button")
    await runner.tab.until("""document.querySelector("fastapi-runner").textContent.includes(
        '{"delivered":2}')""")
    for client in (1, 2):
        await runner.hears("Lunch is ready", client)


# Cookies


async def signing_in(fresh: OpenRunner) -> Runner:
    """Run an app to which one signs in, in windows that nobody has used."""
    runner = await fresh(ECHO)
    # What the page's attempts leave in the console, as in any browser.
    runner.tab.expected = "WebSocket connection to .* failed|401"
    await runner.start()
    await runner.replace("app.frontend(", f"{SIGN_IN}app.frontend(")
    await runner.run_again()
    return runner


async def asked(runner: Runner, client: int, how: str = "{}") -> list[object]:
    """Ask the app for the session of a window; return status, text and headers of the answer."""
    answer: list[object] = await runner.tab.evaluate(
        f"""window.fetch("/session", {how}).then(async answer =>
            [answer.status, await answer.text(), [...answer.headers.keys()]])""",
        client,
    )
    return answer


async def greeted(runner: Runner, client: int) -> object:
    """Open a socket; return the name that the app greets, or the code with which it is closed."""
    return await runner.tab.evaluate(
        """new Promise(settle => {
            const socket = new window.WebSocket("/session");
            socket.onmessage = ({ data }) => settle(data);
            socket.onclose = ({ code }) => settle(code);
        })""",
        client,
    )


async def sign_in(runner: Runner, client: int, name: str) -> None:
    """Sign in, as a page does: the answer sets an HttpOnly cookie and another one."""
    status, _, headers = await asked(
        runner,
        client,
        f"""{{method: "POST", headers: {{"Content-Type": "application/json"}},
            body: JSON.stringify({{name: "{name}"}})}}""",
    )
    assert status == 200
    assert isinstance(headers, list)
    assert "content-type" in headers
    assert "set-cookie" not in headers


async def test_who_signs_in_in_one_window_is_a_stranger_in_the_other(fresh: OpenRunner) -> None:
    runner = await signing_in(fresh)
    for client in (1, 2):
        assert (await asked(runner, client))[0] == 401
        assert await greeted(runner, client) == 1006
    await sign_in(runner, 1, "ada")
    assert (await asked(runner, 1))[:2] == [200, '"ada"']
    assert await greeted(runner, 1) == "ada"
    assert (await asked(runner, 1, '{credentials: "omit"}'))[0] == 401
    assert await runner.tab.evaluate("document.cookie", 1) == "visits=1; theme=dark"
    assert (await asked(runner, 2))[0] == 401
    assert await greeted(runner, 2) == 1006
    await sign_in(runner, 2, "bob")
    for client, name in ((1, "ada"), (2, "bob")):
        assert await greeted(runner, client) == name
    assert (await asked(runner, 1, '{method: "DELETE"}'))[0] == 204
    assert (await asked(runner, 1))[0] == 401
    assert await greeted(runner, 1) == 1006
    assert await greeted(runner, 2) == "bob"
    # The site that shows all this gets none of it.
    assert await runner.tab.evaluate("document.cookie") == ""


async def test_cookies_of_a_window_last_until_it_is_closed(fresh: OpenRunner) -> None:
    runner = await signing_in(fresh)
    await sign_in(runner, 1, "ada")
    await runner.press("reload", 1)
    await runner.online(1)
    assert await greeted(runner, 1) == "ada"
    assert "visits=2" in await runner.tab.evaluate("document.cookie", 1)
    assert "visits=1" in await runner.tab.evaluate("document.cookie", 2)
    await runner.run_again()
    assert await greeted(runner, 1) == "ada"
    await runner.press("stop")
    await runner.state("stopped")
    await runner.press("run")
    await runner.state("running")
    assert await greeted(runner, 1) == "ada"
    await runner.press("close", 1)
    await runner.press("add")
    await runner.online(3)
    assert await greeted(runner, 3) == 1006
    assert await runner.tab.evaluate("document.cookie", 3) == "visits=1"


# What is kept


async def kept(runner: Runner, client: int) -> object:
    """Return what a window's page keeps by the name of `a`: for its session, and for good."""
    keeps = "[window.sessionStorage.getItem('a'), window.localStorage.getItem('a')]"
    return await runner.tab.evaluate(keeps, client)


async def test_what_a_page_keeps_is_its_windows_own_and_gone_when_that_is_closed(
    running: OpenRunner,
) -> None:
    runner = await running(ECHO)
    await runner.mark_windows()
    await runner.tab.evaluate("window.sessionStorage.setItem('a', 1)", 1)
    await runner.tab.evaluate("window.localStorage.a = 2", 1)
    await runner.press("reload", 1)
    await runner.tab.until("!window.marked", 1)
    await runner.online(1)
    assert await kept(runner, 1) == ["1", "2"]
    assert await kept(runner, 2) == [None, None]
    assert await runner.tab.evaluate("sessionStorage.a || localStorage.a || ''") == ""
    await runner.run_again()
    assert await kept(runner, 1) == ["1", "2"]
    await runner.press("close", 1)
    await runner.press("add")
    await runner.online(3)
    assert await kept(runner, 3) == [None, None]


KEEPS = """
from pathlib import Path
from fastapi import FastAPI, Response

app = FastAPI()
file = Path("kept")


@app.post("/line")
async def line() -> int:
    with file.open("a") as lines:
        lines.write("1\\n")
    return len(file.read_text().splitlines())


@app.get("/")
async def page() -> Response:
    return Response("<p id=state>online", media_type="text/html")
"""


async def lines(runner: Runner) -> object:
    """Have the app write one more line into its file; return how many there are."""
    ask = "window.fetch('/line', { method: 'POST' }).then((answer) => answer.text())"
    return await runner.tab.evaluate(ask, 1)


async def test_a_file_of_the_server_outlives_it_until_all_is_as_it_was(
    running: OpenRunner,
) -> None:
    runner = await running(ECHO)
    await runner.edit(KEEPS)
    await runner.run_again()
    assert [await lines(runner), await lines(runner)] == ["1", "2"]
    await runner.run_again()
    assert await lines(runner) == "3"
    await runner.press("stop")
    await runner.state("stopped")
    await runner.press("run")
    await runner.state("running")
    assert await lines(runner) == "4"
    await runner.press("reset")
    await runner.edit(KEEPS)
    await runner.run_again()
    assert await lines(runner) == "1"


# The page around it


@pytest.mark.parametrize("step", RUNS)
async def test_a_page_that_is_only_read_asks_for_nothing_of_the_runner(
    site: Site, fresh: OpenRunner, step: str
) -> None:
    await fresh(step)
    assert [path for path in site.asked if path.endswith(f"/steps/{step}/")]
    assert not [path for path in site.asked if "/runner/" in path]


COUNT_WORKERS = """
    const Real = Worker;
    window.living = new Set();
    window.Worker = class extends Real {
        constructor(url, options) {
            super(url, options);
            if (`${url}`.includes("/runner/")) living.add(this);
        }
        terminate() { living.delete(this); super.terminate(); }
    };
"""


async def test_whoever_turns_the_page_ends_the_worker_and_starts_the_next_step_afresh(
    fresh: OpenRunner,
) -> None:
    runner = await fresh(CHAT, before=COUNT_WORKERS)
    await runner.start()
    assert await runner.tab.evaluate("living.size") == 1
    await runner.tab.evaluate("window.marked = true")
    await runner.tab.evaluate(
        "document.querySelector('nav a[href$=\"step01_echo/\"]').scrollIntoView({block: 'center'})"
    )
    await runner.tab.click("nav.md-nav--primary a[href$='/steps/step01_echo/']")
    await runner.tab.until("document.querySelector('fastapi-runner').matches('[src*=step01_echo]')")
    assert await runner.tab.evaluate("marked")  # turned, not loaded
    following = Runner(runner.tab, runner.site, ECHO)
    runner.tab.expected = ENDED
    await following.state("idle")
    assert await runner.tab.evaluate("living.size") == 0
    await following.start()
    assert await runner.tab.evaluate("living.size") == 1
    await following.speak("fresh", 1)
    await following.hears("fresh", 1, kind=".received")


async def test_of_two_on_a_page_one_runs_at_a_time(fresh: OpenRunner) -> None:
    runner = await fresh(BROADCAST, before=COUNT_WORKERS)
    runner.tab.expected = ENDED
    await runner.start()
    other = Runner(runner.tab, runner.site, BROADCAST, "broadcast")
    await other.press("run")
    await other.state("running")
    await runner.state("stopped")
    await runner.says("another step runs")
    assert await runner.tab.evaluate("living.size") == 1
