"""What all processes share: what was said, what they tell each other, and who has which name."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Protocol
from uuid import UUID

from fastapi import WebSocketException

from .messages import Message

PAGE = 50  # messages: as many are read at once, and shown to who enters for the first time
RECENT = 60  # seconds for which events are kept, for a process that has to catch its breath
EVENTS = 1000  # as many are kept at most

logger = logging.getLogger(__name__)


class MessageLog(Protocol):
    """A log to which every process appends, and which every process reads.

    All methods raise Unavailable while the log does not answer.
    """

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Have the log open. What is followed begins here."""

    async def append(self, room: str, name: str, text: str, key: UUID | None) -> int:
        """Keep a message and return its id: of what has been kept with this key, the id of then."""

    async def since(self, room: str, last: int) -> list[Message]:
        """Return the messages after an id, the oldest first, a page of them at most."""

    async def newest(self, room: str) -> int:
        """Return the id of the newest message in a room, or 0."""

    async def tell(self, event: str) -> None:
        """Have all processes hear an event, this one too."""

    def follow(self, positions: dict[str, int]) -> AsyncIterator[str | tuple[str, Message]]:
        """Yield events, and each message after the position of its room; advance the positions."""

    async def claim(self, fact: str, value: str, seconds: float) -> str:
        """Have a fact for so long, if there is no other by this name; return what it is now.

        Who has it can have it for longer.
        """

    async def look(self, fact: str) -> str | None:
        """Return a fact, if there is one."""

    async def drop(self, fact: str, value: str) -> bool:
        """Forget a fact, if it is this; return whether it was."""


class Unavailable(WebSocketException):
    """Ends a connection with 1013: the client has a key for what it said, and comes back."""

    def __init__(self) -> None:
        super().__init__(1013, "The log does not answer. Try again later.")


@contextmanager
def answering(*errors: type[Exception]) -> Iterator[None]:
    """Raise Unavailable in place of some errors, and put them into our own log."""
    try:
        yield
    except errors as error:
        logger.warning("The log does not answer: %s", error)
        raise Unavailable from error
