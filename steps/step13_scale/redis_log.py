"""The log on a server of its own, for any number of machines: Redis Streams, from Redis 7 on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from .log import EVENTS, PAGE, RECENT, answering
from .messages import Message
from .scripts import APPEND, CLAIM, DROP, TELL

Reply = Any  # strings, numbers, and lists of them
WAIT = 2000  # milliseconds for which a read may wait for news


class RedisLog:
    """A MessageLog."""

    def __init__(self, url: str) -> None:
        self.url = url

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Have the log open. What is followed begins here."""
        # Who restarts is back within seconds. Whatever is asked here may be asked twice.
        retry = Retry(ExponentialBackoff(cap=1, base=0.05), 6)
        # A hundred who speak at once wait for each other, instead of being refused.
        pool = BlockingConnectionPool.from_url(
            self.url, decode_responses=True, protocol=2, retry=retry, socket_timeout=5, timeout=5
        )
        async with Redis.from_pool(pool) as self.redis:
            newest = await self.ask("XREVRANGE", "chat:events", "+", "-", "COUNT", 1)
            self.heard = newest[0][0] if newest else "0-0"
            yield

    async def ask(self, *command: str | int) -> Reply:
        """Send a command; return the reply."""
        with answering(RedisError, OSError):
            return await self.redis.execute_command(*command)  # type: ignore[no-untyped-call]

    async def append(self, room: str, name: str, text: str, key: UUID | None) -> int:
        """Keep a message and return its id: of what has been kept with this key, the id of then."""
        # A key is its sender's own: nobody can use up that of somebody else.
        values = f"{key or uuid4()} {name}", name, text, datetime.now(UTC).isoformat()
        entry = await self.ask("EVAL", APPEND, 2, stream(room), f"chat:{{{room}}}:keys", *values)
        return number(entry)

    async def since(self, room: str, last: int) -> list[Message]:
        """Return the messages after an id, the oldest first, a page of them at most."""
        entries = await self.ask("XRANGE", stream(room), f"(0-{last}", "+", "COUNT", PAGE)
        return [Message(id=number(entry), **fields) for entry, fields in entries]

    async def newest(self, room: str) -> int:
        """Return the id of the newest message in a room, or 0."""
        entries = await self.ask("XREVRANGE", stream(room), "+", "-", "COUNT", 1)
        return number(entries[0][0]) if entries else 0

    async def tell(self, event: str) -> None:
        """Have all processes hear an event, this one too."""
        # It is told once, also if it is asked for twice.
        keys = "chat:events", f"chat:told:{uuid4()}"
        await self.ask("EVAL", TELL, 2, *keys, event, EVENTS, RECENT)

    async def follow(self, positions: dict[str, int]) -> AsyncIterator[str | tuple[str, Message]]:
        """Yield events, and each message after the position of its room; advance the positions."""
        while True:
            rooms = {stream(room): room for room in positions}
            # Whoever enters a room tells of it: so a wait ends that does not know the room.
            news = await self.ask(
                *("XREAD", "COUNT", PAGE, "BLOCK", WAIT, "STREAMS", "chat:events"),
                *(*rooms, self.heard, *(f"0-{position}" for position in positions.values())),
            )
            for name, entries in news:
                for entry, fields in entries:
                    if name == "chat:events":
                        self.heard = entry
                        yield fields["event"]
                    elif (room := rooms[name]) in positions:
                        positions[room] = number(entry)
                        yield room, Message(id=number(entry), **fields)

    async def claim(self, fact: str, value: str, seconds: float) -> str:
        """Have a fact for so long, if there is no other by this name; return what it is now."""
        milliseconds = max(1, int(seconds * 1000))
        return str(await self.ask("EVAL", CLAIM, 1, f"chat:fact:{fact}", value, milliseconds))

    async def look(self, fact: str) -> str | None:
        """Return a fact, if there is one."""
        value: str | None = await self.ask("GET", f"chat:fact:{fact}")
        return value

    async def drop(self, fact: str, value: str) -> bool:
        """Forget a fact, if it is this; return whether it was."""
        return bool(await self.ask("EVAL", DROP, 1, f"chat:fact:{fact}", value))


def stream(room: str) -> str:
    """Return where the messages of a room are."""
    return f"chat:{{{room}}}:messages"


def number(entry: str) -> int:
    """Return the id of a message: 17 for `0-17`."""
    return int(entry.partition("-")[2])
