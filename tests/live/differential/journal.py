"""Notes what the app sees of each connection, until the page asks for it."""

import asyncio
import zlib
from collections import defaultdict
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

FILLING = "fill"
"""Frames that begin so fill a line: how many it holds is nobody's promise, so none is noted."""


class Journal:
    """The notes of each connection, and signals between page and app."""

    def __init__(self) -> None:
        self.lines: defaultdict[str, list[str]] = defaultdict(list)
        self.signals: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def clear(self) -> None:
        """Forget all: a page begins."""
        self.lines.clear()
        self.signals.clear()

    def note(self, name: str, line: str) -> None:
        """Note a line about a connection."""
        self.lines[name].append(line)

    async def of(self, name: str) -> list[str]:
        """Return the notes of a connection, once its endpoint has ended."""
        await self.signals[f"{name} ended"].wait()
        return self.lines[name]


journal = Journal()


class Witness:
    """Notes the ASGI events of every connection that has a name, and how its endpoint ends."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stand between the server and the app."""
        names = parse_qs(scope.get("query_string", b"").decode()).get("note", [])
        if scope["type"] != "websocket" or not names:
            await self.app(scope, receive, send)
            return
        name = names[0]

        async def noted_receive() -> Message:
            event = await receive()
            journal.note(name, f"receive {shown(event)}")
            return event

        async def noted_send(event: Message) -> None:
            try:
                await send(event)
            except BaseException as error:
                what = "of the filling" if filling(event) else shown(event)
                journal.note(name, f"send {what} raises {told(error)}")
                raise
            if not filling(event):
                journal.note(name, f"send {shown(event)}")

        try:
            await self.app(scope, noted_receive, noted_send)
        except BaseException as error:
            journal.note(name, f"the endpoint raises {told(error)}")
            raise
        else:
            journal.note(name, "the endpoint returns")
        finally:
            journal.signals[f"{name} ended"].set()


def filling(event: Message) -> bool:
    """Tell whether an event is one of those that fill a line."""
    return str(event.get("text")).startswith(FILLING)


def shown(event: Message) -> str:
    """Return an event as it stands in the journal: its type, and the fields that it has."""
    fields = (
        # A close code is a member of an enumeration sometimes: it is sent as its number.
        f"{key}={short(int(value) if key == 'code' else value)}"
        for key, value in event.items()
        # Starlette adds these two whether they say something or not.
        if key != "type" and not (key in ("subprotocol", "headers") and not value)
    )
    return " ".join([event["type"].removeprefix("websocket."), *fields])


def short(value: object) -> str:
    """Return a value, a long one as its length and checksum."""
    text = repr(value)
    if len(text) <= 80 or not isinstance(value, str | bytes):
        return text
    data = value.encode() if isinstance(value, str) else value
    return f"{type(value).__name__} of {len(value)}, crc {zlib.crc32(data):08x}"


def told(error: BaseException) -> str:
    """Return an exception's name and what it says: a close code, a status, or a message."""
    if isinstance(error, TypeError):
        return type(error).__name__  # each version of Python has its own words for it
    says = [getattr(error, key) for key in ("code", "status_code", "reason") if hasattr(error, key)]
    words = " ".join(str(part) for part in says if part != "") or str(error).split("\n")[0]
    return f"{type(error).__name__} {words}".rstrip()
