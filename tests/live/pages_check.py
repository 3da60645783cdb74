"""What the pages say to press in their windows, pressed, and what they say will be seen, seen."""

import re
from typing import Protocol

import pytest

from tests.browser.conftest import ROOT
from tests.live.browsers import Tab
from tests.live.conftest import OpenRunner
from tests.live.runner import ENDED, Runner
from tests.live.site import Site

ECHO, JSON, BROADCAST = "step01_echo", "step02_json", "step03_broadcast"
MANAGER, CHAT, FAULTS = "step04_manager", "step05_chat", "step06_faults"
BACKPRESSURE, SECURITY = "step07_backpressure", "step08_security"
SIGN_IN = "step09_signin"
HISTORY = "step11_history"
DELIVERY, SCALE = "step12_delivery", "step13_scale"
ROOMS = "step10_rooms"


class OpenBroken(Protocol):
    """Runs what is passed around and does not work, on the page that shows it."""

    async def __call__(self, name: str, *, online: bool = True) -> Runner:
        """Run `tests/broken/<name>.py`; wait until all its windows are online, if they can be."""


@pytest.fixture
def broken(tab: Tab, site: Site) -> OpenBroken:
    """Run an app of tests/broken in a tab that knows nothing."""

    async def open_one(name: str, *, online: bool = True) -> Runner:
        line = re.compile(rf"^::run tests\.broken\.{name} (.+)$", re.MULTILINE)
        pages = {path.stem: path.read_text("utf-8") for path in ROOT.glob("docs/steps/*.md")}
        [(step, shown)] = [(step, found) for step in pages if (found := line.search(pages[step]))]
        runner = Runner(tab, site, step, name)
        await runner.open()
        await runner.press("run")
        await runner.state("running")
        if online:
            await runner.online(*range(1, len(shown[1].partition(" | ")[0].split()) + 1))
        return runner

    return open_one


def told(step: str, *sentences: str) -> None:
    """Fail unless a step's page says all this: the test and the page go together."""
    page = (ROOT / f"docs/steps/{step}.md").read_text("utf-8")
    assert not [sentence for sentence in sentences if sentence not in page]


async def heard(runner: Runner, client: int, kind: str = ".received") -> list[str]:
    """Return what stands in the log of a window."""
    lines: list[str] = await runner.tab.evaluate(
        f"[...document.querySelectorAll('#log > {kind}')].map(line => line.textContent)", client
    )
    return lines


async def no_traceback(runner: Runner) -> None:
    """Fail if the server log has one."""
    assert "Traceback" not in await runner.output()


# 1 · Echo


async def test_an_echo_is_for_one_and_a_line_that_is_cut_leaves_no_traceback(
    running: OpenRunner,
) -> None:
    told(ECHO, "say `hello` as client 1. It comes back to client 1 alone.")
    told(ECHO, "Then press *Cut the line* of client 2", "*Reload* brings the client back.")
    runner = await running(ECHO)
    await runner.speak("hello", 1)
    await runner.hears("hello", 1, kind=".received")
    await runner.row("frame", 1, "in", '→ text 5 B "hello"')
    await runner.row("asgi", 1, "in", "websocket.receive")
    await runner.row("asgi", 1, "out", "websocket.send")
    await runner.row("frame", 1, "out", '← text 5 B "hello"')
    assert await heard(runner, 2) == []
    await runner.press("cut", 2)
    await runner.tells("offline (1006)", 2)
    await runner.row("asgi", 2, "in", "websocket.disconnect")
    await no_traceback(runner)
    await runner.press("reload", 2)
    await runner.online(2)


async def test_a_blocking_call_makes_the_other_window_wait(running: OpenRunner) -> None:
    told(ECHO, "write `import time` at the top of `main.py`", "press *Run again*")
    told(ECHO, "`time.sleep(10)` before `await websocket.send_text(text)`")
    told(ECHO, "After two seconds you are told that the loop is blocked")
    runner = await running(ECHO)
    runner.tab.expected = ENDED
    text = (ROOT / "steps" / ECHO / "main.py").read_text("utf-8")
    send = "await websocket.send_text(text)"
    blocking = text.replace(send, f"time.sleep(10)\n            {send}")
    await runner.edit(f"import time\n{blocking}")
    await runner.run_again()
    await runner.speak("first", 1)
    await runner.row("frame", 1, "in", "first")
    await runner.speak("second", 2)
    await runner.state("blocked")
    await runner.says("The event loop is blocked")
    assert await heard(runner, 2) == []
    await runner.hears("first", 1, kind=".received")
    await runner.press("stop")
    await runner.state("stopped")


# 2 · JSON


async def test_a_mistake_is_answered_and_an_edit_changes_the_answer(running: OpenRunner) -> None:
    told(JSON, "press *Send junk*. The page shows `bad_json`", "Press *Send binary*: `not_text`.")
    told(JSON, "write `text=frame.text.upper()` in place of `text=frame.text` in `main.py`")
    runner = await running(JSON)
    await runner.press("junk", 1)
    await runner.hears("bad_json", 1)
    await runner.press("binary", 1)
    await runner.hears("not_text", 1)
    await runner.speak("still here", 1)
    await runner.hears("still here", 1, kind=".received")
    await runner.online(1)
    await runner.replace("text=frame.text", "text=frame.text.upper()")
    await runner.run_again()
    await runner.speak("louder", 1)
    await runner.hears("LOUDER", 1, kind=".received")


async def test_where_json_is_all_that_is_expected_junk_ends_the_connection(
    broken: OpenBroken,
) -> None:
    told(JSON, "Run it, say something, then press *Send junk*: the page is offline (1006)")
    runner = await broken("receive_json")
    await runner.speak("hello", 1)
    await runner.hears("hello", 1, kind=".received")
    await runner.press("junk", 1)
    await runner.tells("offline (1006)", 1)
    await runner.prints("JSONDecodeError")
    await runner.prints(r'File "tests/broken/receive_json.py", line \d+')


# 3 · Broadcast


async def test_whatever_becomes_of_one_the_others_hear_each_other(running: OpenRunner) -> None:
    told(BROADCAST, "say `hello` as client 1, and clients 2 and 3 receive it")
    told(BROADCAST, "Press *Send binary* and then *Cut the line* of client 3")
    told(BROADCAST, "say something as client 2: client 1 receives it", "Press *New window*")
    runner = await running(BROADCAST)
    await runner.speak("hello", 1)
    for client in (2, 3):
        await runner.hears("hello", client, kind=".received")
    await runner.press("binary", 3)
    await runner.hears("not_text", 3)
    await runner.press("cut", 3)
    await runner.tells("offline (1006)", 3)
    await runner.speak("anybody?", 2)
    await runner.hears("anybody?", 1, kind=".received")
    await no_traceback(runner)
    await runner.press("add")
    await runner.online(4)
    await runner.speak("and now?", 2)
    await runner.hears("and now?", 4, kind=".received")


async def test_the_broadcast_of_most_tutorials_throws_out_the_innocent(broken: OpenBroken) -> None:
    told(BROADCAST, "Run it, and press *Send binary* of client 3.")
    told(BROADCAST, "say something as client 1, and after that as client 2: both are thrown out")
    runner = await broken("broadcast")
    await runner.press("binary", 3)
    await runner.tells("offline (1006)", 3)
    for client in (1, 2):
        await runner.online(client)
        await runner.speak("hello", client)
        await runner.tells("offline (1006)", client)


# 4 · Manager


async def test_a_request_reaches_all_windows_and_says_how_many(running: OpenRunner) -> None:
    told(MANAGER, "Both pages show `received: Lunch is ready`", '`200 {"delivered":2}`')
    told(MANAGER, "Close a window, press it again, and it is one.")
    told(MANAGER, 'change the text to `""`, and the answer is `422`')
    runner = await running(MANAGER)
    await runner.tab.click(".request button")
    await answered(runner, '200 {"delivered":2}')
    for client in (1, 2):
        await runner.hears("Lunch is ready", client, kind=".received")
    await runner.press("close", 2)
    await runner.row("asgi", 2, "in", "code=1001")
    await runner.tab.click(".request button")
    await answered(runner, '200 {"delivered":1}')
    await runner.tab.fill(".request input", 'POST /announce {"text": ""}')
    await runner.tab.click(".request button")
    await answered(runner, "422 ")


async def answered(runner: Runner, words: str) -> None:
    """Wait for the answer to a request."""
    await runner.tab.until(
        f"document.querySelector('.request output').textContent.includes('{words}')"
    )


async def test_one_slow_window_makes_all_wait_and_gone_it_sets_them_free(
    running: OpenRunner,
) -> None:
    told(MANAGER, "*New window*, then *Slow* of client 3", "Say twenty things as client 1")
    told(MANAGER, "Client 2 receives the first of them at once", "*Close* client 3")
    runner = await running(MANAGER)
    await runner.press("add")
    await runner.online(3)
    await runner.press("slow", 3)
    said = [str(number) for number in range(1, 21)]
    for text in said:
        await runner.speak(text, 1)
    await runner.tab.until("document.querySelectorAll('.received').length >= 8", 2)
    assert await heard(runner, 2) != said  # those after the eighth take two seconds each
    await runner.press("close", 3)
    await runner.tab.until(f"document.querySelectorAll('.received').length === {len(said)}", 2)
    assert await heard(runner, 2) == said


async def test_a_manager_that_is_indented_too_far_refuses_everyone(broken: OpenBroken) -> None:
    told(MANAGER, "Run it: the page is offline (1006) at once, and the log names the method")
    runner = await broken("indented_manager", online=False)
    runner.tab.expected = "WebSocket connection to .* failed"
    await runner.tells("offline (1006)", 1)
    await runner.prints("AttributeError: 'ConnectionManager' object has no attribute 'connect'")


async def test_a_misspelt_method_is_found_by_the_first_who_speaks(broken: OpenBroken) -> None:
    told(MANAGER, "Run it and say something: the page is offline (1006).")
    runner = await broken("misspelt_manager")
    await runner.speak("hello", 1)
    await runner.tells("offline (1006)", 1)
    await runner.prints("'ConnectionManager' object has no attribute 'brodcast'")


# 5 · Chat


async def test_stopped_and_run_again_both_come_back_and_what_waited_is_sent(
    running: OpenRunner,
) -> None:
    told(CHAT, "press *Stop*. Both pages say *offline* and count down.", "Press *Run*: the server")
    told(CHAT, "Say something as Ada: it waits", "each page comes back by itself")
    runner = await running(CHAT)
    runner.tab.expected = "WebSocket connection to .* failed"
    await runner.press("stop")
    for client in (1, 2):
        await runner.tells("offline", client)
        await runner.tab.until("/retry in/.test(document.body.textContent)", client)
    await runner.state("stopped")
    await runner.speak("wait for it", 1)
    await runner.hears("wait for it", 1, kind=".waiting")
    await runner.press("run")
    await runner.online(1, 2)
    await runner.hears("wait for it", 1, kind=".mine")


async def test_whoever_is_cut_off_comes_back_and_a_second_ada_is_refused(
    running: OpenRunner,
) -> None:
    told(CHAT, "Press *Cut the line* of Bob: Ada sees that `bob left`", "that `bob joined`")
    told(CHAT, "Press *Close* of Bob, and then *New window*: that one is Ada as well")
    runner = await running(CHAT)
    await runner.press("cut", 2)
    await runner.hears("bob left", 1, kind=".note")
    await runner.online(2)
    await runner.hears("bob joined", 1, kind=".note")
    await runner.press("close", 2)
    await runner.press("add")
    await runner.tells("Somebody here has that name", 3)


# 6 · Faults


async def test_a_fault_of_the_server_costs_one_connection_and_its_log_one_traceback(
    running: OpenRunner,
) -> None:
    told(FAULTS, "Write `1 / 0` on a line of its own above `await manager.broadcast(Message(")
    told(FAULTS, "closes her connection with 1011", "`ZeroDivisionError: division by zero`")
    told(FAULTS, "Bob sees that `ada left`, and that `ada joined`", "He stays online all the time")
    told(FAULTS, "Take the line out, press *Run again*, and press *Cut the line* of Bob")
    told(FAULTS, "press *Stop*: both pages say *offline: the server is restarting*")
    runner = await running(FAULTS)
    runner.tab.expected = "WebSocket connection to .* failed"
    text = (ROOT / "steps" / FAULTS / "main.py").read_text("utf-8")
    [line] = re.findall(r"^ +await manager\.broadcast\(Message\(.*\n", text, re.MULTILINE)
    indent = line[: -len(line.lstrip())]
    await runner.edit(text.replace(line, f"{indent}1 / 0\n{line}"))
    await runner.run_again()
    before = await ended(runner, 2)
    await runner.speak("hello", 1)
    await runner.row("frame", 1, "out", "close 1011")
    await runner.row("frame", 1, "out", "The server made a mistake; its log says which.")
    await runner.prints("ZeroDivisionError: division by zero")
    assert (await runner.output()).count("Traceback") == 1
    for what in ("ada left", "ada joined"):
        await runner.hears(what, 2, kind=".note")
    await runner.online(1, 2)
    assert await ended(runner, 2) == before
    await runner.edit(text)
    await runner.run_again()
    tracebacks = (await runner.output()).count("Traceback")
    await runner.press("cut", 2)
    for what in ("bob left", "bob joined"):
        await runner.hears(what, 1, kind=".note")
    assert (await runner.output()).count("Traceback") == tracebacks
    await runner.online(1, 2)
    await runner.press("stop")
    for client in (1, 2):
        await runner.tells("offline: the server is restarting", client)


async def ended(runner: Runner, client: int) -> list[str]:
    """Return the ends that a client's connections have had."""
    rows = await runner.rows(f'[data-kind="asgi"][data-client="{client}"]')
    return [row for row in rows if "websocket.disconnect" in row]


# 7 · Backpressure


async def test_a_slow_window_delays_nobody_until_it_is_cut_off_and_comes_back(
    running: OpenRunner,
) -> None:
    told(BACKPRESSURE, "press *Slow* of Eve", "Say twenty things as Ada, one after the other")
    told(BACKPRESSURE, "Bob has all of them at once", "She has them one by one")
    told(BACKPRESSURE, "write `MESSAGES = 5` in place of `MESSAGES = 1000` in `outbox.py`")
    told(BACKPRESSURE, "Eve is still slow. Say twenty things as Ada, and soon she sees that `eve")
    told(BACKPRESSURE, "Press *Slow* of Eve again, so that she reads on")
    told(BACKPRESSURE, "a close frame with 1013", "page says *offline: You read too slowly*")
    runner = await running(BACKPRESSURE)
    said = [str(number) for number in range(1, 21)]
    await runner.press("slow", 3)
    for text in said:
        await runner.speak(text, 1)
    await runner.hears("20", 2, kind=".theirs")
    assert len(await heard(runner, 2, ".theirs")) == 20
    assert len(await heard(runner, 3, ".theirs")) < 20
    await runner.replace("MESSAGES = 1000", "MESSAGES = 5", "outbox.py")
    await runner.run_again()
    for text in said:
        await runner.speak(text, 1)
    await runner.hears("eve left", 1, kind=".note")
    # It may not stay there for long enough to be seen from here.
    state = "document.querySelector('#state')"
    note = f"new MutationObserver(() => window.told.push({state}.textContent))"
    note += f".observe({state}, {{ childList: true }})"
    await runner.tab.evaluate(f"(window.told = [], {note}, null)", 3)
    await runner.press("slow", 3)
    await runner.row("frame", 3, "out", "close 1013")
    await runner.tab.until("window.told.some(text => text.startsWith('offline: You read'))", 3)
    await runner.hears("eve joined", 1, kind=".note")
    await runner.online(3)
    # Bob has missed nothing.
    assert len(await heard(runner, 2, ".theirs")) == 20


async def test_a_queue_without_an_end_grows(broken: OpenBroken) -> None:
    told(BACKPRESSURE, "Run it, press *Slow* of client 2, and say twenty things as client 1.")
    told(BACKPRESSURE, "press *Send request*", "say twenty more, and press it again")
    runner = await broken("unbounded_queue")
    await runner.press("slow", 2)
    output = "document.querySelector('.request output').textContent"
    waiting = 0
    for said in (20, 40):
        for number in range(20):
            await runner.speak(str(number), 1)
        await runner.tab.until(f"document.querySelectorAll('.received').length === {said}", 1)
        await runner.tab.click(".request button")
        more = f"+/waiting.:(\\d+)/.exec({output})?.[1] > {waiting}"
        await runner.tab.until(more)
        waiting = await runner.tab.evaluate(f"+/waiting.:(\\d+)/.exec({output})[1]")


# 8 · Security


async def test_who_is_too_fast_is_told_thrown_out_and_soon_back(running: OpenRunner) -> None:
    told(SECURITY, "write `rate: int = Field(1,` in place of `rate: int = Field(20,`")
    told(
        SECURITY,
        "As Ada say four things without a pause",
        "Bob hears two, and Ada is told `too_fast`",
    )
    told(SECURITY, "she is `offline: Too fast for too long.` A moment later she is back.")
    runner = await running(SECURITY)
    await runner.replace("rate: int = Field(20,", "rate: int = Field(1,", "settings.py")
    await runner.run_again()
    for number in range(1, 5):
        await runner.speak(f"number {number}", 1)
    await runner.hears("too_fast", 1, kind=".note")
    for number in (1, 2):
        await runner.hears(f"number {number}", 2, kind=".theirs")
    for number in range(5, 15):
        await runner.speak(f"number {number}", 1)
    await runner.tells("offline: Too fast for too long.", 1)
    await runner.online(1)
    await runner.hears("ada joined", 2, kind=".note")


async def test_a_page_on_an_origin_that_is_not_listed_stays_outside(running: OpenRunner) -> None:
    told(SECURITY, 'press *Original*, write `["https://chat.example"]` in place of `[]`')
    told(SECURITY, "Neither window gets in", "the server log has a 403 for each attempt")
    runner = await running(SECURITY)
    runner.tab.expected = "WebSocket connection to .* failed"
    origins = "origins: Origins = Field(\n        [],"
    listed = origins.replace("[]", '["https://chat.example"]')
    await runner.replace(origins, listed, "settings.py")
    await runner.press("run")
    for client in (1, 2):
        await runner.tells("offline", client)
    await runner.prints('"WebSocket /ws[^"]*" 403')


# 9 · Sign-in


async def test_each_window_is_a_person_with_a_cookie_of_its_own(running: OpenRunner) -> None:
    told(SIGN_IN, "Press *Reload* of Ada: she is online again")
    told(SIGN_IN, "Press *New window*. It has Ada's name in its field, but no cookie of hers")
    told(SIGN_IN, "*Somebody has that name. Try another.* Sign in there as `eve`.")
    told(SIGN_IN, "choose *Sign out* as Ada: her messages are gone", "Bob sees that `ada left`")
    runner = await running(SIGN_IN)
    await runner.speak("hello", 1)
    await runner.hears("hello", 2, kind=".theirs")
    await runner.press("reload", 1)
    await runner.hears("ada joined", 2, kind=".note")
    await runner.tells("online as ada", 1)
    await runner.speak("hello again", 1)
    await runner.hears("hello again", 1, kind=".mine")
    await runner.press("add")
    await runner.tells("signed out", 3)
    await runner.tab.click("#who button", 3)
    await runner.tells("Somebody has that name. Try another.", 3)
    await runner.tab.fill("#name", "eve", 3)
    await runner.tab.press("Enter", 3)
    await runner.tells("online as eve", 3)
    before = len(await heard(runner, 2, ".note"))
    await runner.tab.click("#leave", 1)
    await runner.tells("signed out", 1)
    assert await heard(runner, 1, ".mine") == []
    notes = "[...document.querySelectorAll('.note')].map(note => note.textContent)"
    await runner.tab.until(f"{notes}.slice({before}).includes('ada left')", 2)


async def test_a_sign_in_ends_by_itself(running: OpenRunner) -> None:
    told(SIGN_IN, "write `Field(5,` in place of `Field(8 * 3600,`, and press *Run again*")
    told(SIGN_IN, "everybody is signed out", "Sign in as Ada and wait for five seconds")
    told(SIGN_IN, "*Your sign-in has ended.*, and the frames show the 4401")
    runner = await running(SIGN_IN)
    await runner.replace("Field(8 * 3600,", "Field(5,", "settings.py")
    await runner.press("run")
    for client in (1, 2):
        await runner.tells("signed out", client)
    await runner.tab.click("#who button", 1)
    await runner.tells("online as ada", 1)
    await runner.tells("Your sign-in has ended.", 1)
    await runner.row("frame", 1, "out", "close 4401")


async def test_no_browser_lets_a_page_set_a_header_on_a_socket(tab: Tab, site: Site) -> None:
    told(SIGN_IN, "The first text above is Chromium's, the second Firefox's.")
    await tab.go(f"{site.url}steps/{SIGN_IN}/")
    error = await tab.evaluate("""(() => {
        try { new WebSocket("ws://127.0.0.1:1/", { headers: {} }); }
        catch (error) { return `${error}`; }
    })()""")
    told(SIGN_IN, error)


# 10 · Rooms


async def test_who_types_whispers_and_goes_to_another_room_is_seen(running: OpenRunner) -> None:
    told(ROOMS, "Bob sees `ada is typing`, and at most five seconds after her last letter no more")
    told(ROOMS, "Bob's window says `ada to you alone`, and Ada's `to bob alone`")
    told(ROOMS, "write `garden` into Bob's field *Room* and press Enter. Ada sees that `bob left`")
    told(ROOMS, "still says `bob`: whisper again, and he hears it in the garden")
    told(ROOMS, "Choose `everyone in this room`, say something, and he does not")
    told(ROOMS, "Press *Close* of Bob, choose `bob` once more", "`not_here: bob is not here, and")
    runner = await running(ROOMS)
    typing = "document.querySelector('#typing').textContent"
    await runner.tab.fill("#text", "hm", 1)
    await runner.tab.until(f"{typing} === 'ada is typing'", 2)
    await runner.tab.until(f"{typing} === ''", 2)
    await whisper(runner, "psst", 1, to="bob")
    await runner.hears("ada to you alone psst", 2, kind=".theirs")
    await runner.hears("to bob alone psst", 1, kind=".mine")
    await runner.tab.fill("#room", "garden", 2)
    await runner.tab.press("Enter", 2)
    await runner.hears("bob left", 1, kind=".note")
    await runner.online(2)
    assert await runner.tab.evaluate("document.querySelector('#to').value", 1) == "bob"
    await runner.speak("are you in the garden?", 1)
    await runner.hears("ada to you alone are you in the garden?", 2, kind=".theirs")
    await whisper(runner, "is anybody here?", 1, to="")
    await runner.hears("is anybody here?", 1, kind=".mine")
    await whisper(runner, "a marker", 1, to="bob")
    await runner.hears("a marker", 2, kind=".theirs")
    assert not [line for line in await heard(runner, 2, "div") if "is anybody here?" in line]
    await runner.press("close", 2)
    await runner.row("asgi", 2, "in", "code=1001")
    await runner.speak("are you there?", 1)
    await runner.hears("not_here: bob is not here, and has not heard it.", 1, kind=".note")


async def whisper(runner: Runner, text: str, client: int, *, to: str) -> None:
    """Choose to whom a window speaks, `""` for everyone, and say something."""
    await runner.tab.evaluate(f"(document.querySelector('#to').value = '{to}')", client)
    await runner.speak(text, client)


async def test_with_one_socket_a_user_the_second_window_silences_the_first(
    broken: OpenBroken,
) -> None:
    told(ROOMS, "Say something as Bob: client 2 hears it, and client 1 never hears anything again")
    told(ROOMS, "Now *Close* client 1. Bob is told that `ada left`", "client 2 does not hear it")
    runner = await broken("one_socket_a_user")
    await runner.speak("hello ada", 3)
    for client in (2, 3):
        await runner.hears("hello ada", client)
    await runner.press("close", 1)
    await runner.hears("ada left", 3, kind=".note")
    await runner.tells("online", 2)
    await runner.speak("are you there?", 3)
    await runner.hears("are you there?", 3, kind=".mine")
    assert len(await heard(runner, 2, ".theirs")) == 1


# 11 · History


async def test_what_is_lost_on_a_line_comes_again_once_and_in_order(running: OpenRunner) -> None:
    told(HISTORY, "Press *Slow* of Ada", "say ten things as Bob, one after the other")
    told(HISTORY, "Now press *Cut the line* of Ada: all that was on its way is lost.")
    told(HISTORY, "She comes back by herself, and the server log shows with which `?last=`")
    told(HISTORY, "Press *Slow* of Ada again", "she has each of the ten, once and in order")
    told(HISTORY, "Press *Reload* of Ada, and what she has read is there again.")
    told(HISTORY, "press *Run again*", "so sign in as Ada: the file is still there")
    runner = await running(HISTORY)
    await runner.speak("hello", 1)
    await runner.hears("hello", 2, kind=".theirs")
    await runner.press("slow", 1)
    said = [str(number) for number in range(1, 11)]
    for text in said:
        await runner.speak(text, 2)
    await runner.hears("10", 2, kind=".mine")
    assert len(await heard(runner, 1, ".theirs")) < len(said)
    await runner.press("cut", 1)
    await runner.prints(r"/ws/lobby\?last=\d+")
    await runner.online(1)
    await runner.press("slow", 1)
    await runner.hears("10", 1, kind=".theirs")
    assert await heard(runner, 1, ".theirs .text") == said
    await runner.press("reload", 1)
    await runner.hears("10", 1, kind=".theirs")
    await runner.hears("hello", 1, kind=".mine")
    assert await heard(runner, 1, ".theirs .text") == said
    await runner.press("run")
    await runner.tells("signed out", 1)
    await runner.enter(1)
    await runner.hears("10", 1, kind=".theirs")
    assert await heard(runner, 1, ".theirs .text") == said


# 12 · Delivery


async def test_an_answer_that_is_lost_with_its_line_is_asked_for_again(running: OpenRunner) -> None:
    told(DELIVERY, "Press *Slow* of Ada", "Say three things as Bob, and then `hello` as Ada")
    told(DELIVERY, "Bob has it at once", "the answer is behind what Bob has said")
    told(DELIVERY, "Press *Cut the line* of Ada", "her second `say`, with the same key")
    told(DELIVERY, "the answer with the same id", "she sees `hello` once, with *✓ sent* behind it")
    told(DELIVERY, "Now press *Stop*, and say two things as Ada. They wait.")
    told(DELIVERY, "sign in as Ada and as Bob. What waited is said, in its order.")
    runner = await running(DELIVERY)
    await runner.press("slow", 1)
    for number in range(3):
        await runner.speak(str(number), 2)
    await runner.hears("2", 2, kind=".mine")
    await runner.speak("hello", 1)
    await runner.hears("hello", 2, kind=".theirs")
    await runner.hears("hello", 1, kind=".waiting")
    await runner.row("frame", 1, "out", "ack")
    await runner.press("cut", 1)
    await runner.press("slow", 1)
    await runner.tab.until("!document.querySelector('#log .waiting')", 1)
    assert await heard(runner, 1, ".mine .text") == ["hello"]
    assert await heard(runner, 2, ".theirs .text") == ["hello"]
    # But for their times.
    rows = await runner.rows('[data-kind="frame"][data-client="1"]')
    frames = [row.partition(" ")[2] for row in rows]
    for what in ("say", "ack"):
        first, *again = [frame for frame in frames if f'\\"type\\":\\"{what}' in frame]
        # The page may have had it just before the cut: then nothing was lost.
        assert again in ([], [first])
    runner.tab.expected = "WebSocket connection to .* failed"
    await runner.press("stop")
    await runner.tells("offline", 1)
    for text in ("one", "two"):
        await runner.speak(text, 1)
    await runner.hears("two", 1, kind=".waiting")
    await runner.press("run")
    await runner.tells("signed out", 1)
    await runner.enter(1, 2)
    await runner.hears("two", 2, kind=".theirs")
    await runner.tab.until("!document.querySelector('#log .waiting')", 1)
    assert await heard(runner, 1, ".mine .text") == ["hello", "one", "two"]


# 13 · Scale


async def test_another_process_knows_who_is_signed_in_and_what_was_said(
    running: OpenRunner,
) -> None:
    told(SCALE, "Talk as Ada and as Bob", "Then press *Run again*. That is another process")
    told(SCALE, "Yet nobody is signed out, and each message is there")
    runner = await running(SCALE)
    await runner.speak("hello", 1)
    await runner.hears("hello", 2, kind=".theirs")
    await runner.speak("hello Ada", 2)
    await runner.hears("hello Ada", 1, kind=".theirs")
    await runner.press("run")
    for client, name, own, other in (
        (1, "ada", "hello", "hello Ada"),
        (2, "bob", "hello Ada", "hello"),
    ):
        await runner.tells(f"online as {name}", client)
        await runner.hears(own, client, kind=".mine")
        await runner.hears(other, client, kind=".theirs")
    await no_traceback(runner)


def test_every_button_that_a_page_names_is_there() -> None:
    sources = "".join(path.read_text("utf-8") for path in ROOT.glob("docs/runner/*.js"))
    for path in sorted(ROOT.glob("docs/steps/*.md")):
        page = path.read_text("utf-8")
        for paragraph in re.findall(r"^In the windows above: .*$", page, re.MULTILINE):
            for name in re.findall(r"[Pp]ress \*([^*]+)\*", paragraph):
                assert f'"{name}"' in sources, f"{path.name}: {name}"
