"""The runner for all eyes and hands: sizes, colours, keys. `make site` runs this too."""

import re

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]

from tests.live.browsers import DESK, PHONE, ChromiumTab, Tab
from tests.live.conftest import OpenRunner
from tests.live.runner import RUNS, TEXTAREA

ECHO, CHAT = "step01_echo", "step05_chat"
WIDER = """(root => [...root.querySelectorAll("*")].filter(element => {
    const { left, right, width } = element.getBoundingClientRect();
    let box = element.parentElement;
    while (box !== root && getComputedStyle(box).overflowX === "visible") box = box.parentElement;
    const { clientWidth } = document.documentElement;
    return box === root && width > 0 && (left < 0 || right > clientWidth);
}).map(element => element.outerHTML.slice(0, 80)))(document.querySelector("fastapi-runner"))"""
# The first colour that is not transparent, from the inside out, as one canvas would mix it.
PAPER = """(element => {{
    const clear = paper => /rgba\\(.*, 0\\)|transparent/.test(paper);
    while (clear(getComputedStyle(element).backgroundColor)) element = element.parentElement;
    return getComputedStyle(element).backgroundColor;
}})(document.querySelector({part!r}))"""


async def test_windows_are_side_by_side_on_a_desk_and_one_above_the_other_on_a_phone(
    running: OpenRunner,
) -> None:
    runner = await running(CHAT)
    corners = "[...document.querySelectorAll('.client')].map(c => c.getBoundingClientRect())"
    for size in (DESK, PHONE):
        await runner.tab.look(size)
        one, two = await runner.tab.evaluate(f"{corners}.map(({{x, y}}) => ({{x, y}}))")
        if size is DESK:
            assert one["y"] == two["y"]
            assert one["x"] < two["x"]
        else:
            assert one["x"] == two["x"]
            assert one["y"] < two["y"]


@pytest.mark.parametrize("step", RUNS)
async def test_nothing_is_wider_than_the_window(running: OpenRunner, step: str) -> None:
    runner = await running(step)
    await runner.speak("a long word: " + "w" * 100, 1)
    await runner.row("frame", 1, "in", "wwwww")
    widths = "(({scrollWidth, clientWidth}) => [scrollWidth, clientWidth])"
    for size in (DESK, PHONE):
        await runner.tab.look(size)
        assert await runner.tab.evaluate(WIDER) == []
        for client in (None, 1, 2):
            inside, window = await runner.tab.evaluate(
                f"{widths}(document.documentElement)", client
            )
            assert inside <= window


async def test_it_is_light_by_day_and_dark_by_night(running: OpenRunner) -> None:
    runner = await running(CHAT)
    for dark in (True, False):
        await runner.tab.look(dark=dark)
        scheme = "slate" if dark else "default"
        await runner.tab.until(f"document.body.dataset.mdColorScheme === '{scheme}'")
        for part in (".bar", TEXTAREA, ".output", ".wire", ".client", ".client header"):
            assert await is_dark(runner.tab, part) == dark, part
        assert await is_dark(runner.tab, "body", 1) == dark


async def is_dark(tab: Tab, part: str, client: int | None = None) -> bool:
    """Return whether the paper of a part is dark. Fails if it is neither dark nor light."""
    paper = await tab.evaluate(PAPER.format(part=part), client)
    shades = [float(shade) for shade in re.findall(r"[\d.]+", paper)[:3]]
    assert max(shades) < 80 or min(shades) > 175, f"{part}: {paper}"
    return max(shades) < 80


async def test_the_keyboard_alone_is_enough(fresh: OpenRunner) -> None:
    runner = await fresh(ECHO)
    await tab_to(runner.tab, "fastapi-runner button.run")
    await runner.tab.press("Enter")
    await runner.state("running")
    await tab_to(runner.tab, TEXTAREA)
    await runner.tab.press("x")
    await runner.tab.press("Tab")  # indents
    assert await runner.tab.evaluate(f"document.activeElement.matches('{TEXTAREA}')")
    assert "x" in (await runner.code())[:10]
    await runner.tab.press("Escape")
    await runner.tab.press("Tab")  # leaves
    assert not await runner.tab.evaluate(f"document.activeElement.matches('{TEXTAREA}')")


async def test_ctrl_enter_in_the_editor_runs_what_it_has(running: OpenRunner) -> None:
    runner = await running(ECHO)
    await runner.replace("send_text(text)", "send_text(text.upper())")
    await runner.mark_windows()
    await runner.tab.press("Control+Enter")
    await runner.tab.until("!window.marked", 1)
    await runner.online(1)
    await runner.speak("by hand", 1)
    await runner.hears("BY HAND", 1)


async def tab_to(tab: Tab, selector: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(100):
        if await tab.evaluate(f"document.activeElement.matches('{selector}')"):
            return
        await tab.press("Tab")
    raise AssertionError(f"Tab does not lead to {selector}")


@pytest.mark.parametrize("driven", ["chromium"], indirect=True)
async def test_axe_has_nothing_to_complain_of_before_and_after_the_start(
    fresh: OpenRunner,
) -> None:
    runner = await fresh(CHAT)
    assert await complaints(runner.tab) == []
    await runner.start()
    await runner.speak("hello", 1)
    await runner.hears("hello", 2)
    assert await complaints(runner.tab) == []


async def complaints(tab: Tab) -> list[str]:
    """Return what axe-core finds wrong with the runner and its windows, light and dark."""
    assert isinstance(tab, ChromiumTab)
    wrong: list[str] = []
    for dark in (False, True):
        await tab.look(dark=dark)
        result = await Axe().run(tab.page, context={"include": [["fastapi-runner"]]})
        wrong += [
            f"{rule['id']}, {'dark' if dark else 'light'}: {node['html'][:200]}"
            for rule in result.response["violations"]
            for node in rule["nodes"]
        ]
    return wrong


async def test_the_arrow_keys_lead_from_file_to_file(running: OpenRunner) -> None:
    runner = await running(ECHO)
    await runner.show("main.py")
    await runner.tab.evaluate("document.querySelector('[role=tab][aria-selected=true]').focus()")
    await runner.tab.press("ArrowRight")
    await runner.shows("caching.py")
    assert await runner.tab.evaluate("document.activeElement.textContent") == "caching.py"
    await runner.tab.press("End")
    await runner.shows("static/style.css")
    await runner.tab.press("ArrowRight")
    await runner.shows("main.py")
