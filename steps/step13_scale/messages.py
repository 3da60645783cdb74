"""What client and server say to each other: JSON objects in text frames, told apart by `type`."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field


class Say(BaseModel):
    """Something that a client says. With the same key it is said once, however often it comes."""

    type: Literal["say"]
    text: str = Field(min_length=1, max_length=2000)
    key: UUID | None = None


class Typing(BaseModel):
    """A sign that somebody is typing. It has no opposite: it is good for five seconds."""

    type: Literal["typing"]


class Whisper(BaseModel):
    """Something that a client says to one person, in all rooms and windows of theirs."""

    type: Literal["whisper"]
    to: str = Field(min_length=1, max_length=20)
    text: str = Field(min_length=1, max_length=2000)


class Message(BaseModel):
    """Something that was said, by whom and when (ISO 8601, UTC). In a room ids grow by one."""

    type: Literal["message"] = "message"
    id: int
    name: str
    text: str
    at: datetime


class Ack(BaseModel):
    """The answer to a `say` with a key: it is kept, under this id, and has been since then."""

    type: Literal["ack"] = "ack"
    key: UUID
    id: int


class Error(BaseModel):
    """Why the server could not use a frame. The connection lives on."""

    type: Literal["error"] = "error"
    code: Literal["bad_json", "bad_message", "not_text", "too_big", "too_fast", "not_here"]
    detail: str


class Announcement(BaseModel):
    """The body of `POST /announce`."""

    text: str = Field(min_length=1, max_length=2000)


class Notice(BaseModel):
    """Something that the server says to everyone."""

    type: Literal["notice"] = "notice"
    text: str


class Welcome(BaseModel):
    """The first frame on a connection: your name, and everyone who is here, you too."""

    type: Literal["welcome"] = "welcome"
    name: str
    here: list[str]


class Joined(BaseModel):
    """Somebody has come into the room, with their first window."""

    type: Literal["joined"] = "joined"
    name: str


class Left(BaseModel):
    """Somebody has gone, with their last window."""

    type: Literal["left"] = "left"
    name: str


class IsTyping(BaseModel):
    """Somebody else is typing, or was until a moment ago."""

    type: Literal["typing"] = "typing"
    name: str


class Whispered(BaseModel):
    """Something that was said to one person, who hears it, as does who said it."""

    type: Literal["whisper"] = "whisper"
    name: str
    to: str
    text: str
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))


ClientMessage = Annotated[Say | Typing | Whisper, Field(discriminator="type")]
ServerMessage = Annotated[
    Message | Ack | Error | Notice | Welcome | Joined | Left | IsTyping | Whispered,
    Field(discriminator="type"),
]
