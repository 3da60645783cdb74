"""What the runner says when it cannot run: one sentence, and the command that can."""

import pytest

from tests.live.browsers import Chromium
from tests.live.conftest import OpenRunner
from tests.live.runner import Runner
from tests.live.site import Site

STEP = "step01_echo"
COMMAND = "make run STEP=1"
# As in browsers without it: in the page, and in the worker.
NO_WEBASSEMBLY = "delete globalThis.WebAssembly;"
# As Firefox before 114 did: the option is not known, the script is a classic one.
NO_MODULE_WORKER = """
    const Real = Worker;
    window.Worker = class extends Real { constructor(url) { super(url); } };
"""


async def breaks(runner: Runner) -> None:
    """Press Run, and see it fail with the sentence."""
    runner.tab.expected = ""  # anything: browsers differ in what they say of what a test broke
    await runner.press("run")
    await runner.state("broken")
    await runner.says(COMMAND)


async def test_a_script_that_the_browser_cannot_read(site: Site, fresh: OpenRunner) -> None:
    site.before["runner/runner.js"] = "this is no JavaScript;\n"
    await breaks(await fresh(STEP))


@pytest.mark.parametrize(
    "name",
    [
        "runner/runner.js",
        "runner/worker.js",
        "runner/editor.js",
        "runner/steps/step01_echo.json",
        "runner/runtime/pyodide.asm.wasm",
        "runner/runtime/packages.zip",
    ],
)
async def test_a_file_that_is_missing(site: Site, fresh: OpenRunner, name: str) -> None:
    site.missing.add(name)
    await breaks(await fresh(STEP))
    assert [path for path in site.asked if path.endswith(name)]


@pytest.mark.parametrize(
    "name",
    ["runner/runner.js", "runner/runtime/pyodide.asm.wasm", "runner/runtime/packages.zip"],
)
async def test_a_download_that_breaks_off(site: Site, fresh: OpenRunner, name: str) -> None:
    site.cut.add(name)
    await breaks(await fresh(STEP))
    assert [path for path in site.asked if path.endswith(name)]


async def test_after_a_download_that_broke_off_run_tries_again(
    site: Site, fresh: OpenRunner
) -> None:
    site.cut.add("runner/runtime/packages.zip")
    runner = await fresh(STEP)
    await breaks(runner)
    site.mend()
    await runner.start()


async def test_a_browser_without_webassembly(site: Site, fresh: OpenRunner) -> None:
    site.before["runner/worker.js"] = NO_WEBASSEMBLY
    await breaks(await fresh(STEP, before=NO_WEBASSEMBLY))


async def test_a_browser_without_workers_that_are_modules(fresh: OpenRunner) -> None:
    await breaks(await fresh(STEP, before=NO_MODULE_WORKER))


async def test_a_window_whose_script_is_missing_says_so(site: Site, fresh: OpenRunner) -> None:
    site.missing.add("runner/frame.js")
    runner = await fresh(STEP)
    runner.tab.expected = ""
    await runner.press("run")
    await runner.prints("Client 1: its page could not be loaded: press Reload")
    site.mend()
    await runner.press("reload", 1)
    await runner.online(1)


@pytest.mark.parametrize("driven", ["chromium"], indirect=True)
async def test_a_browser_with_javascript_off(driven: Chromium, site: Site) -> None:
    tab = await driven.tab(java_script_enabled=False)
    await tab.open(f"{site.url}steps/{STEP}/")
    sentence = tab.page.locator("fastapi-runner noscript")
    assert COMMAND in await sentence.inner_text()
    assert await sentence.is_visible()
    await tab.close()
