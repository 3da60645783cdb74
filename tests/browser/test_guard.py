"""What watches over all pages does see what none of them may do."""

from tests.browser.conftest import Guard, OpenWindow
from tests.conftest import Serve


async def seen(guard: Guard, open_window: OpenWindow, serve: Serve, script: str) -> str:
    """Return what the guard says when a page runs this script."""
    page = (await open_window(serve("step01_echo").url)).page
    # As if the page's own script did it, and what it starts is over.
    await page.add_script_tag(content=f"window.over = (async () => {{ {script} }})()")
    await page.evaluate("window.over.catch(() => {})")
    await page.evaluate("0")
    found = "\n".join(guard.seen)
    guard.seen.clear()
    return found


async def test_a_request_to_another_host_is_seen_and_stopped(
    guard: Guard, open_window: OpenWindow, serve: Serve
) -> None:
    found = await seen(guard, open_window, serve, "await fetch('http://elsewhere.example/')")
    assert "a request to http://elsewhere.example/" in found


async def test_a_socket_to_another_host_is_seen(
    guard: Guard, open_window: OpenWindow, serve: Serve
) -> None:
    script = (
        "const s = new WebSocket('ws://elsewhere.example/');await new Promise((r) => s.onclose = r)"
    )
    found = await seen(guard, open_window, serve, script)
    assert "a socket to ws://elsewhere.example/" in found


async def test_errors_are_seen_uncaught_ones_and_those_on_the_console(
    guard: Guard, open_window: OpenWindow, serve: Serve
) -> None:
    script = "reportError(new Error('nobody catches me')); console.error('something is wrong')"
    found = await seen(guard, open_window, serve, script)
    assert "nobody catches me" in found
    assert "something is wrong" in found


async def test_a_socket_that_fails_is_seen_unless_its_server_was_killed(
    guard: Guard, open_window: OpenWindow, serve: Serve
) -> None:
    script = (
        "const s = new WebSocket(`ws://${location.host}/no-such-path`);"
        "await new Promise((r) => s.onclose = r)"
    )
    assert "WebSocket connection to" in await seen(guard, open_window, serve, script)
    guard.down = guard.hosts
    assert not await seen(guard, open_window, serve, script)


async def test_a_refused_request_is_seen_unless_the_test_expects_its_status(
    guard: Guard, open_window: OpenWindow, serve: Serve
) -> None:
    script = "await fetch('/no-such-file')"
    assert "with a status of 404 " in await seen(guard, open_window, serve, script)
    guard.refusals.add(404)
    assert not await seen(guard, open_window, serve, script)
