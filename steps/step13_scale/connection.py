"""Reads and writes for a handler, and gives every end of a connection its close code."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect, WebSocketException
from starlette.types import Message as Event

from .outbox import Outbox

INBOX = 64  # frames that may wait for a busy handler
PATIENCE = 10.0  # seconds for which they may be so many: uvicorn waits 20 for a pong

logger = logging.getLogger(__name__)

Meanwhile = Callable[[Coroutine[Any, Any, None]], None]


@asynccontextmanager
async def accepted(
    websocket: WebSocket,
) -> AsyncIterator[tuple[asyncio.Queue[Event], Outbox, Meanwhile]]:
    """Complete the handshake and yield the inbox, the outbox, and a way to do more at once.

    What is raised inside ends this connection and no other: a WebSocketException with its code,
    anything else with 1011, and with its traceback in the log (RFC 6455, section 7.4.1).
    """
    await websocket.accept()
    inbox: asyncio.Queue[Event] = asyncio.Queue(INBOX)
    outbox = Outbox()
    try:
        async with asyncio.TaskGroup() as tasks:
            started: list[asyncio.Task[None]] = []

            def meanwhile(work: Coroutine[Any, Any, None]) -> None:
                started.append(tasks.create_task(work))

            meanwhile(read_ahead(websocket, inbox))
            meanwhile(outbox.drain(websocket))
            meanwhile(outbox.until_ended())
            yield inbox, outbox, meanwhile
            for task in started:
                task.cancel()
        await close(websocket, 1000, "")
    except ExceptionGroup as group:
        for end in group.exceptions:
            if isinstance(end, WebSocketException):
                await close(websocket, end.code, end.reason)
            else:
                logger.error("A fault of ours ended a connection", exc_info=end)
                await close(websocket, 1011, "The server made a mistake; its log says which.")


async def read_ahead(websocket: WebSocket, inbox: asyncio.Queue[Event]) -> None:
    """Put what arrives into the inbox: uvicorn sees no pong behind a frame that nobody takes."""
    event: Event = {"type": "websocket.connect"}
    while event["type"] != "websocket.disconnect":
        event = await websocket.receive()
        try:
            async with asyncio.timeout(PATIENCE):
                await inbox.put(event)
        except TimeoutError:
            raise WebSocketException(1013, "Too much at once. Try again later.") from None


async def close(websocket: WebSocket, code: int, reason: str) -> None:
    """Send a close frame, unless the client has gone or another was sent."""
    with suppress(WebSocketDisconnect, RuntimeError):
        # A control frame has room for 123 bytes of it (RFC 6455, section 5.5).
        await websocket.close(code, reason.encode()[:123].decode(errors="ignore"))
