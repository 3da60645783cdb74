"""Reads what a client sends, and does what it asks for."""

import asyncio

from pydantic import TypeAdapter, ValidationError
from starlette.types import Message as Event

from .events import Pass
from .history import history
from .manager import manager
from .messages import Ack, ClientMessage, Error, IsTyping, Say, Typing, Whisper, Whispered
from .outbox import Outbox
from .security import Limit

frames: TypeAdapter[ClientMessage] = TypeAdapter(ClientMessage)


async def converse(inbox: asyncio.Queue[Event], outbox: Outbox, room: str, name: str) -> None:
    """Answer and pass on what somebody says in a room, until they leave."""
    limit = Limit()
    while (event := await inbox.get())["type"] == "websocket.receive":
        match limit.exceeded(event.get("text")) or read(event.get("text")):
            case Say(text=text, key=key):
                number = await history.append(room, name, text, key)
                if key:
                    manager.send([outbox], Ack(key=key, id=number))
            case Typing():
                await tell(Pass(frame=IsTyping(name=name), room=room, skip=name))
            case Whisper(to=to, text=text) if to in manager.everyone():
                whisper = Whispered(name=name, to=to, text=text)
                await tell(Pass(frame=whisper, people=[name, to]))
            case Whisper(to=to):
                detail = f"{to} is not here, and has not heard it."
                manager.send([outbox], Error(code="not_here", detail=detail))
            case Error() as error:
                manager.send([outbox], error)


async def tell(frame: Pass) -> None:
    """Send a frame to clients at whatever process they are."""
    await history.tell(frame.model_dump_json())


def read(text: str | None) -> ClientMessage | Error:
    """Turn the text of a frame (`None` if it was binary) into a message, or into what is wrong.

    Raises nothing: whatever reaches the app, there is an answer to it.
    """
    if text is None:
        return Error(code="not_text", detail="This was a binary frame. Send JSON in a text frame.")
    try:
        return frames.validate_json(text)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        if first["type"] == "json_invalid":
            return Error(code="bad_json", detail=first["msg"])
        field = ".".join(str(part) for part in first["loc"])
        return Error(
            code="bad_message", detail=f"{field}: {first['msg']}" if field else first["msg"]
        )
