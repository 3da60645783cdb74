"""Which browser the tests and the pictures use, on which machine."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.browser.browsers import MACOS, WINDOWS, NoBrowserError, launch_options


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return where Playwright's own browser would be, on a machine that has none at all."""
    monkeypatch.delenv("CHROME_PATH", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    return tmp_path / "own"


def test_playwrights_own_browser_comes_first(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.touch()
    monkeypatch.setattr(shutil, "which", lambda command: f"/usr/bin/{command}")
    assert "executable_path" not in launch_options(str(own))


def test_then_the_one_that_chrome_path_names(
    own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chrome = tmp_path / "chrome"
    chrome.touch()
    monkeypatch.setenv("CHROME_PATH", str(chrome))
    monkeypatch.setattr(shutil, "which", lambda command: f"/usr/bin/{command}")
    assert launch_options(str(own))["executable_path"] == str(chrome)


def test_a_chrome_path_without_a_file_is_an_error(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.touch()
    monkeypatch.setenv("CHROME_PATH", "nowhere/chrome")
    with pytest.raises(FileNotFoundError, match="CHROME_PATH is 'nowhere/chrome'"):
        launch_options(str(own))


@pytest.mark.parametrize("command", ["google-chrome", "chromium", "microsoft-edge"])
def test_then_a_browser_that_is_a_command(
    own: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(shutil, "which", {command: f"/usr/bin/{command}"}.get)
    assert launch_options(str(own))["executable_path"] == f"/usr/bin/{command}"


@pytest.mark.parametrize("name", MACOS)
def test_then_an_application_on_macos(
    own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    application = tmp_path / "Applications" / name
    # On a Mac with browsers of its own, one of those is found.
    monkeypatch.setattr(Path, "is_file", lambda path: path == application)
    assert launch_options(str(own))["executable_path"] == str(application)


@pytest.mark.parametrize("name", WINDOWS)
def test_then_an_application_on_windows(
    own: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("PROGRAMFILES", str(tmp_path))
    application = tmp_path / name
    monkeypatch.setattr(Path, "is_file", lambda path: path == application)
    assert launch_options(str(own))["executable_path"] == str(application)


def test_without_any_the_reader_is_told_how_to_get_one(own: Path) -> None:
    with pytest.raises(NoBrowserError, match="uv run playwright install chromium"):
        launch_options(str(own))


@pytest.mark.parametrize(("user", "without"), [(0, True), (1000, False)])
def test_only_root_goes_without_a_sandbox(
    own: Path, monkeypatch: pytest.MonkeyPatch, user: int, without: bool
) -> None:
    own.touch()
    monkeypatch.setattr(os, "geteuid", lambda: user, raising=False)
    assert ("--no-sandbox" in launch_options(str(own))["args"]) == without
