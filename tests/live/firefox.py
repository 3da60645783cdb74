"""Firefox, driven over WebDriver BiDi (w3.org/TR/webdriver-bidi), which it speaks by itself."""

import asyncio
import base64
import json
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.browser.browsers import NoBrowserError
from tests.live.browsers import CLIENT, DESK, Browser, ScriptError, Size, Tab

NONE_FOUND = (
    "There is no Firefox. Install it (the package is called firefox, or firefox-esr on Debian), "
    "or set FIREFOX_PATH to it."
)
MACOS = "/Applications/Firefox.app/Contents/MacOS/firefox"

# Nothing gets out: what is not for this machine goes to a proxy that is not there. The rest only
# keeps Firefox from trying, or has it behave like a window that somebody looks at.
PREFERENCES: dict[str, str | int | bool] = {
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "network.proxy.socks": "127.0.0.1",
    "network.proxy.socks_port": 9,
    "network.proxy.socks_remote_dns": True,
    "network.proxy.failover_direct": False,
    "network.proxy.no_proxies_on": "127.0.0.1",
    "network.dns.disablePrefetch": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.region.network.url": "",
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.usage.uploadEnabled": False,
    "dom.push.connection.enabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "messaging-system.rsexperimentloader.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "data:,",
}
VARIABLES = {
    "MOZ_CRASHREPORTER_DISABLE": "1",
    # It would rather crash than turn to another machine.
    "MOZ_DISABLE_NONLOCAL_CONNECTIONS": "1",
}
KEYS = {
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Shift": "\ue008",
    "Control": "\ue009",
    "Escape": "\ue00c",
    "End": "\ue010",
    "ArrowRight": "\ue014",
    "Meta": "\ue03d",
}
# In the middle of the window, on top, and not waiting for anything: then it can be pressed. Where
# the mouse is, another process decides: it has to have seen the page as it is now.
READY = """(async element => {{
    if (!element || element.disabled) return false;
    element.scrollIntoView({{ block: "center", behavior: "instant" }});
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
    const {{ left, top, width, height }} = element.getBoundingClientRect();
    return element.contains(document.elementFromPoint(left + width / 2, top + height / 2));
}})(document.querySelector({selector}))"""


class CommandError(ScriptError):
    """Firefox refused a command."""


class Connection:
    """The commands to one Firefox, and the events that it reports."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket
        self._ids = count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.asked: list[str] = []
        self.complaints: list[str] = []

    async def command(self, method: str, **parameters: Any) -> Any:
        """Give a command and return its result. Raises CommandError."""
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": parameters}
        await self._websocket.send(json.dumps(command))
        message = await answer
        if message["type"] == "error":
            raise CommandError(f"{method}: {message['error']}: {message['message']}")
        return message["result"]

    async def script(self, context: str, expression: str) -> Any:
        """Return what an expression, or its promise, comes to. Raises ScriptError."""
        answer = await self.command(
            "script.evaluate",
            expression=expression,
            target={"context": context},
            awaitPromise=True,
            userActivation=True,
        )
        if answer["type"] == "exception":
            raise ScriptError(answer["exceptionDetails"]["text"])
        return answer["result"]

    async def listen(self) -> None:
        """Take answers and events, until the connection ends."""
        async for text in self._websocket:
            message = json.loads(text)
            if message["type"] != "event":
                waiting = self._waiting.pop(message["id"])
                if not waiting.cancelled():
                    waiting.set_result(message)
            elif message["method"] == "network.beforeRequestSent":
                self.asked.append(message["params"]["request"]["url"])
            elif message["params"]["level"] == "error":
                self.complaints.append(message["params"]["text"])
        for waiting in self._waiting.values():
            waiting.set_exception(CommandError("Firefox has ended"))


class FirefoxTab(Tab):
    """A tab of Firefox, in a container of its own."""

    def __init__(self, connection: Connection, chrome: str, container: str, context: str) -> None:
        self._connection = connection
        self._chrome = chrome
        self._container = container
        self._context = context
        self._asked_before = len(connection.asked)
        self._complaints_before = len(connection.complaints)

    @property
    def asked(self) -> list[str]:
        return self._connection.asked[self._asked_before :]

    @property
    def complaints(self) -> list[str]:
        return self._connection.complaints[self._complaints_before :]

    async def go(self, url: str) -> None:
        await self._command("browsingContext.navigate", url=url, wait="complete")

    async def look(self, size: Size = DESK, *, dark: bool = False) -> None:
        name = "layout.css.prefers-color-scheme.content-override"
        script = f"Services.prefs.setIntPref('{name}', {0 if dark else 1})"
        await self._connection.script(self._chrome, script)
        # Tabs in the background have slow clocks, and no focus.
        await self._command("browsingContext.activate")
        await self._command("browsingContext.setViewport", viewport=size._asdict())

    async def before(self, script: str) -> None:
        declaration = f"() => {{ {script} }}"
        await self._connection.command(
            "script.addPreloadScript", functionDeclaration=declaration, contexts=[self._context]
        )

    async def click(self, selector: str, client: int | None = None) -> None:
        name = json.dumps(selector)
        await self.until(READY.format(selector=name), client)
        context = await self._window(client)
        element = await self._connection.script(context, f"document.querySelector({name})")
        origin = {"type": "element", "element": {"sharedId": element["sharedId"]}}
        steps = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": origin},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        await self._act(context, {"type": "pointer", "id": "mouse", "actions": steps})

    async def press(self, keys: str, client: int | None = None) -> None:
        values = [KEYS.get(key, key) for key in keys.split("+")]
        down = [{"type": "keyDown", "value": value} for value in values]
        up = [{"type": "keyUp", "value": value} for value in reversed(values)]
        context = await self._window(client)
        await self._act(context, {"type": "key", "id": "keyboard", "actions": [*down, *up]})

    async def screenshot(self, path: Path) -> None:
        answer = await self._command("browsingContext.captureScreenshot", origin="document")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))

    async def close(self) -> None:
        # The tab goes with its container.
        await self._connection.command("browser.removeUserContext", userContext=self._container)

    async def _json(self, script: str) -> str:
        text: str = (await self._connection.script(self._context, script))["value"]
        return text

    async def _command(self, method: str, **parameters: Any) -> Any:
        return await self._connection.command(method, context=self._context, **parameters)

    async def _act(self, context: str, source: dict[str, Any]) -> None:
        await self._connection.command("input.performActions", context=context, actions=[source])

    async def _window(self, client: int | None) -> str:
        """Return the browsing context of the page, or of a client window in it."""
        if client is None:
            return self._context
        frame = f"{CLIENT.format(client=client)}.contentWindow"
        context: str = (await self._connection.script(self._context, frame))["value"]["context"]
        return context


class Firefox(Browser):
    """Firefox, with a profile that is thrown away."""

    def __init__(self, connection: Connection, chrome: str) -> None:
        self._connection = connection
        self._chrome = chrome

    @classmethod
    @asynccontextmanager
    async def start(cls, *, headed: bool = False) -> AsyncIterator["Firefox"]:
        """Start it. Raises NoBrowserError, or FileNotFoundError if FIREFOX_PATH names no file."""
        async with (
            process(headed=headed) as url,
            connect(f"{url}/session", proxy=None, max_size=None) as websocket,
        ):
            connection = Connection(websocket)
            listening = asyncio.create_task(connection.listen())
            await connection.command("session.new", capabilities={})
            events = ["network.beforeRequestSent", "log.entryAdded"]
            await connection.command("session.subscribe", events=events)
            # The window around the pages: it may change preferences.
            tree = await connection.command("browsingContext.getTree", **{"moz:scope": "chrome"})
            yield cls(connection, tree["contexts"][0]["context"])
            await connection.command("session.end")
            await websocket.close()
            await listening

    async def tab(self) -> FirefoxTab:
        container = (await self._connection.command("browser.createUserContext"))["userContext"]
        created = await self._connection.command(
            "browsingContext.create", type="tab", userContext=container
        )
        return FirefoxTab(self._connection, self._chrome, container, created["context"])


@asynccontextmanager
async def process(*, headed: bool) -> AsyncIterator[str]:
    """Start a Firefox that waits for commands; yield the address for them."""
    path = executable()
    with tempfile.TemporaryDirectory(prefix="firefox-", ignore_cleanup_errors=True) as profile:
        await asyncio.to_thread(write_preferences, Path(profile))
        firefox = await asyncio.create_subprocess_exec(
            path,
            *([] if headed else ["--headless"]),
            "--no-remote",
            f"--profile={profile}",
            "--remote-debugging-port=0",
            "--remote-allow-system-access",
            stdout=DEVNULL,
            stderr=PIPE,
            env={**os.environ, **VARIABLES, "HOME": profile},
        )
        try:
            url = await address(firefox)
            rest = asyncio.create_task(drain(firefox))
            yield url
        finally:
            with suppress(ProcessLookupError):
                firefox.terminate()
            await firefox.wait()
        await rest


def write_preferences(profile: Path) -> None:
    """Write the preferences into a profile."""
    lines = (f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in PREFERENCES.items())
    (profile / "user.js").write_text("".join(lines), "utf-8")


async def address(firefox: Process) -> str:
    """Return where a Firefox that has just been started takes commands: it says so itself."""
    said = b""
    assert firefox.stderr
    async for line in firefox.stderr:
        if b"BiDi listening on" in line:
            return line.split()[-1].decode()
        said += line
    raise CommandError(f"Firefox has ended: {said.decode()}")


async def drain(firefox: Process) -> None:
    """Read on: a pipe that is full would stop Firefox."""
    assert firefox.stderr
    while await firefox.stderr.read(65536):
        pass


def executable() -> str:
    """Return the path of Firefox."""
    named = os.environ.get("FIREFOX_PATH")
    if named and not Path(named).is_file():
        raise FileNotFoundError(f"FIREFOX_PATH is {named!r}, and there is no such file.")
    found = named or shutil.which("firefox") or shutil.which("firefox-esr")
    if not found and sys.platform == "darwin" and Path(MACOS).is_file():
        found = MACOS
    if not found:
        raise NoBrowserError(NONE_FOUND)
    return found
