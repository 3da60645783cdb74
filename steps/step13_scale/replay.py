"""Sends a client what was said while it was away."""

from typing import Annotated

from fastapi import Depends, HTTPException

from .history import history
from .log import PAGE
from .outbox import Outbox


def start(last: int | None, newest: int) -> int:
    """Return the id after which a client is to hear everything."""
    # More than there are: it means those of another file, in which ids have gone further.
    if last is None or last > newest:
        return max(0, newest - PAGE)
    return last


async def catch_up(outbox: Outbox, room: str) -> None:
    """Send what a client has missed, before anything new, and no faster than it reads."""
    while True:
        outbox.behind.clear()
        while missed := await history.since(room, outbox.last):
            for message in missed:
                outbox.put_message(message)
            await outbox.frames.join()
        # Again if another process writes to the file: that one publishes to its own clients alone.
        await outbox.behind.wait()


async def last_heard(last: str = "") -> int | None:
    """Return the id in `?last=17`, if there is one; what is none is a 400."""
    if not last:
        return None
    if not last.isascii() or not last.isdecimal() or len(last) > 18:
        raise HTTPException(400, "last is the id of the last message that you have heard.")
    return int(last)


LastHeard = Annotated[int | None, Depends(last_heard)]
