"""Which browser to use: one decision, for the tests and for the pictures."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

COMMANDS = [
    "chromium-headless-shell",  # it has no windows to draw: a page opens in a quarter of the time
    "google-chrome-stable",
    "google-chrome",
    "chrome",
    "chromium",
    "chromium-browser",
    "microsoft-edge-stable",
    "microsoft-edge",
    "msedge",
]
MACOS = [
    "Google Chrome.app/Contents/MacOS/Google Chrome",
    "Chromium.app/Contents/MacOS/Chromium",
    "Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
]
WINDOWS = [
    "Google/Chrome/Application/chrome.exe",
    "Chromium/Application/chrome.exe",
    "Microsoft/Edge/Application/msedge.exe",
]
NONE_FOUND = (
    "There is no browser. Run `uv run playwright install chromium`, or install Chrome, Chromium "
    "or Edge, or set CHROME_PATH to one of them."
)


class NoBrowserError(Exception):
    """There is no browser; the text says how to get one."""


def launch_options(own: str) -> dict[str, Any]:
    """Return what to hand to Playwright's `chromium.launch()`; `own` is its `executable_path`.

    The first of these is taken: Playwright's own Chromium, `CHROME_PATH`, what the system has.
    Raises `FileNotFoundError` if `CHROME_PATH` names no file, `NoBrowserError` if there is none.
    """
    # The browser itself would ask for updates, and a page could ask for anything: nothing gets out.
    args = [
        "--disable-background-networking",
        "--no-proxy-server",
        # A name of this machine that is neither of the two which need no TLS to count as secure.
        "--host-resolver-rules=MAP chat.test 127.0.0.1, "
        "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
    ]
    # Chromium refuses to run in its sandbox as root.
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        args.append("--no-sandbox")
    options: dict[str, Any] = {"args": args}
    if path := other_than(own):
        options["executable_path"] = path
    return options


def other_than(own: str) -> str | None:
    """Return the path of the browser to use; `None` if Playwright's own is there."""
    named = os.environ.get("CHROME_PATH")
    if named and not Path(named).is_file():
        raise FileNotFoundError(f"CHROME_PATH is {named!r}, and there is no such file.")
    if Path(own).is_file():
        return None
    found = named or next(filter(None, map(shutil.which, COMMANDS)), None) or installed()
    if not found:
        raise NoBrowserError(NONE_FOUND)
    return found


def installed() -> str | None:
    """Return the path of a browser that is no command: an application on macOS or Windows."""
    folders: list[Path] = []
    if sys.platform == "darwin":
        folders = [Path("/Applications"), Path.home() / "Applications"]
    elif sys.platform == "win32":
        variables = ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")
        folders = [Path(os.environ[name]) for name in variables if name in os.environ]
    paths = (folder / name for name in [*MACOS, *WINDOWS] for folder in folders)
    return next((str(path) for path in paths if path.is_file()), None)
