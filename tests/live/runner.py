"""The runner on a step's page, with the verbs of those who read it."""

import json
import re

from tests.browser.conftest import ROOT
from tests.live.browsers import DESK, Size, Tab
from tests.live.site import Site

# What the pages of the steps have: a line `::run / /?name=ada` and what its clients open.
RUNS = {
    path.stem: line[1].split()
    for path in sorted(ROOT.glob("docs/steps/*.md"))
    if (line := re.search(r"^::run (/[^|\n]*)", path.read_text("utf-8"), re.MULTILINE))
}
ENDED = "^uncaught exception: undefined$"
"""What Firefox says of a worker that is ended while it works."""
FRAMES = "[...document.querySelectorAll('.client iframe')]"
TEXTAREA = ".editor textarea"
# Frames as the rows show them: what, for whom and which way, without the time.
ROWS = """[...document.querySelectorAll(".wire li")].filter(row => row.matches({selector})
    ).map(row => row.textContent.trim().replace(/\\s+/g, " "))"""


class Runner:
    """The runner of one step in a tab, or that of a broken app which the step's page shows."""

    def __init__(self, tab: Tab, site: Site, step: str, broken: str = "") -> None:
        self.tab = tab
        self.site = site
        self.step = step
        self.element = f'fastapi-runner[src$="/{broken or step}.json"]'
        self.url = f"{site.url}steps/{step}/"
        self.number = int(step[4:6])

    async def open(self, size: Size = DESK, *, dark: bool = False) -> None:
        """Go to the page of the step."""
        await self.tab.open(self.url, size, dark=dark)

    async def start(self) -> None:
        """Press Run for the first time, and wait until all windows are online."""
        await self.press("run")
        await self.state("running")
        await self.enter(*range(1, len(RUNS[self.step]) + 1))

    async def run_again(self) -> None:
        """Press Run while it runs, or has failed, and wait until all windows are new and online."""
        await self.mark_windows()
        await self.press("run")
        await self.tab.until(f"{FRAMES}.every(frame => !frame.contentWindow.marked)")
        await self.state("running")
        await self.enter(*await self.clients())

    async def can_go_on(self) -> bool:
        """Return whether the page is there, and Run would give it a server and new windows."""
        state = f"document.querySelector('{self.element}')?.dataset.state"
        return await self.tab.evaluate(state) in ("running", "failed")

    async def press(self, button: str, client: int | None = None) -> None:
        """Press one of the runner's buttons, or of a client window's."""
        where = self.element if client is None else f'.client[data-client="{client}"]'
        await self.tab.click(f"{where} button.{button}")

    async def state(self, name: str) -> None:
        """Wait for a state of the runner."""
        await self.tab.until(f"document.querySelector('{self.element}').dataset.state === '{name}'")

    async def says(self, words: str) -> None:
        """Wait until the runner's sentence has these words, and the command for one's machine."""
        told = f"document.querySelector('{self.element} .status').textContent"
        await self.tab.until(f"{told}.includes({json.dumps(words)})")

    async def clients(self) -> list[int]:
        """Return the numbers of the client windows."""
        every = "[...document.querySelectorAll('.client')].map(client => +client.dataset.client)"
        numbers: list[int] = await self.tab.evaluate(every)
        return numbers

    async def mark_windows(self) -> None:
        """Mark what the windows show now: a page that is loaded anew has no mark."""
        await self.tab.evaluate(f"{FRAMES}.forEach(frame => frame.contentWindow.marked = true)")

    async def forget(self) -> None:
        """Take from the windows what their pages keep, but for their cookies."""
        for name in ("localStorage", "sessionStorage"):
            await self.tab.evaluate(
                f"{FRAMES}.forEach(frame => frame.contentWindow.{name}.clear())"
            )

    async def marked(self, client: int) -> bool:
        """Return whether a window still shows what it did when it was marked."""
        return bool(await self.tab.evaluate("window.marked", client))

    # The editor

    async def edit(self, text: str, file: str = "main.py") -> None:
        """Replace what a file says."""
        await self.show(file)
        await self.tab.fill(TEXTAREA, text)

    async def replace(self, old: str, new: str, file: str = "main.py") -> None:
        """Replace a part of what a step's file says."""
        text = (ROOT / "steps" / self.step / file).read_text("utf-8")
        assert old in text
        await self.edit(text.replace(old, new), file)

    async def show(self, file: str) -> None:
        """Choose the tab of a file."""
        name = json.dumps(file)
        tabs = "[...document.querySelectorAll('.editor [role=tab]')]"
        number = await self.tab.until(
            f"{tabs}.findIndex(tab => tab.textContent.trim() === {name}) + 1"
        )
        await self.tab.click(f".editor [role=tab]:nth-of-type({number})")
        await self.shows(file)

    async def shows(self, file: str) -> None:
        """Wait until the editor has a file."""
        await self.tab.until(f"document.querySelector('{TEXTAREA}').ariaLabel === 'Code of {file}'")

    async def code(self) -> str:
        """Return what the editor has."""
        text: str = await self.tab.evaluate(f"document.querySelector('{TEXTAREA}').value")
        return text

    # The pages in the windows

    async def online(self, *clients: int) -> None:
        """Wait until windows say that they are online."""
        for client in clients:
            await self.tells("online", client)

    async def enter(self, *clients: int) -> None:
        """Wait until windows say that they are online, and sign in where that comes first."""
        state = "document.querySelector('#state').textContent"
        for client in clients:
            says = await self.tab.until(f"/online|signed out/.exec({state})?.[0]", client)
            if says == "signed out":
                await self.tab.click("#who button", client)
        await self.online(*clients)

    async def tells(self, words: str, client: int) -> None:
        """Wait until a window's own status has these words."""
        told = "document.querySelector('#state').textContent"
        await self.tab.until(f"{told}.includes({json.dumps(words)})", client)

    async def speak(self, text: str, client: int) -> None:
        """Type something in a window and press Enter."""
        await self.tab.fill("#text", text, client)
        await self.tab.press("Enter", client)

    async def hears(self, text: str, client: int, kind: str = "") -> None:
        """Wait until the log of a window has a line with a text."""
        lines = f"[...document.querySelectorAll('#log > div{kind}')]"
        await self.tab.until(
            f"{lines}.some(line => line.textContent.includes({json.dumps(text)}))", client
        )

    # The output and the wire

    async def prints(self, pattern: str) -> None:
        """Wait until the output matches a regular expression (JavaScript's)."""
        output = "document.querySelector('.output').textContent"
        await self.tab.until(f"new RegExp({json.dumps(pattern)}).test({output})")

    async def output(self) -> str:
        """Return the output."""
        text: str = await self.tab.evaluate("document.querySelector('.output').textContent")
        return text

    async def rows(self, selector: str = "li") -> list[str]:
        """Return the rows of the wire, the oldest first."""
        rows: list[str] = await self.tab.evaluate(ROWS.format(selector=json.dumps(selector)))
        return rows

    async def row(self, kind: str, client: int, way: str, words: str) -> None:
        """Wait for a row of the wire: a `frame` or an `asgi` event, `in` to the server or `out`."""
        selector = f'[data-kind="{kind}"][data-client="{client}"][data-way="{way}"]'
        rows = ROWS.format(selector=json.dumps(selector))
        await self.tab.until(f"{rows}.some(row => row.includes({json.dumps(words)}))")
