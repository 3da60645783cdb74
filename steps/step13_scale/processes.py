"""Keeps this process in step with all the others, by way of the log."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from secrets import token_urlsafe
from time import monotonic

from fastapi import FastAPI
from pydantic import ValidationError

from .events import Ended, Pass, Present, events
from .history import history
from .log import Unavailable
from .manager import manager
from .sessions import over
from .settings import settings

BEAT = 5.0  # seconds between two signs of life; who is silent for three of them has crashed
PROCESS = token_urlsafe()
YEARS = 10 * 365 * 24 * 3600

logger = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Have the log open, and follow it, from before the first request until after the last."""
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(history.opened())
        except Exception as wrong:
            raise RuntimeError(f"CHAT_LOG cannot be opened: {wrong.__cause__ or wrong}") from None
        if "secret" not in settings.model_fields_set:
            # The first process has made one up, for all: they believe each other's tokens.
            settings.secret = await history.claim("secret", settings.secret, YEARS)
        manager.changed = asyncio.Event()
        tasks = [asyncio.create_task(work) for work in (listen(), report())]
        yield
        for task in tasks:
            task.cancel()
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(1):  # else they find out by themselves
                await history.tell(Present(process=PROCESS, rooms={}).model_dump_json())


async def listen() -> None:
    """Send to the clients here what is said anywhere. One reader does it for all of them."""
    while True:
        try:
            async for entry in history.follow(manager.positions):
                if isinstance(entry, str):
                    hear(entry)
                else:
                    manager.publish(*entry)
        except Unavailable:
            pass
        except Exception:
            logger.exception("The reader of the log has failed, and goes on")
        await asyncio.sleep(1)  # the positions are still known: nothing will be missed


def hear(entry: str) -> None:
    """Do what an event of this process or another asks for."""
    try:
        match events.validate_json(entry):
            case Pass() as event:
                manager.pass_on(event)
            case Ended() as event:
                over(event)
            case Present() as event if event.process == PROCESS:
                manager.forget_silent(monotonic(), BEAT)
            case Present() as event:
                manager.heard_from(event.process, event.rooms, monotonic() + 3 * BEAT)
                if event.asks:
                    manager.changed.set()
    except ValidationError:
        logger.exception("An event is skipped: it is of another version")


async def report() -> None:
    """Tell the other processes who is here, at each change and every few seconds."""
    present = Present(process=PROCESS, rooms={}, asks=True)
    while True:
        with suppress(Unavailable):
            await history.tell(present.model_dump_json())
        with suppress(TimeoutError):
            async with asyncio.timeout(BEAT):
                await manager.changed.wait()
        manager.changed.clear()
        present = Present(process=PROCESS, rooms=manager.windows())
