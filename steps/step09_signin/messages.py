"""What client and server say to each other: JSON objects in text frames, told apart by `type`."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError
from pydantic_core import PydanticCustomError


class Say(BaseModel):
    """Something that a client says."""

    type: Literal["say"]
    text: str = Field(min_length=1, max_length=2000)


class Message(BaseModel):
    """Something that was said, by whom and when (ISO 8601, UTC)."""

    type: Literal["message"] = "message"
    name: str
    text: str
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))


class Error(BaseModel):
    """Why the server could not use a frame. The connection lives on."""

    type: Literal["error"] = "error"
    code: Literal["bad_json", "bad_message", "not_text", "too_big", "too_fast"]
    detail: str


class Announcement(BaseModel):
    """The body of `POST /announce`."""

    text: str = Field(min_length=1, max_length=2000)


def good(name: str) -> str:
    """Return a name, trimmed. Raises ValueError unless it is 1 to 20 printable characters."""
    name = name.strip()
    if not 1 <= len(name) <= 20 or not name.isprintable():
        raise PydanticCustomError("name", "A name is 1 to 20 printable characters.")
    return name


Name = Annotated[str, AfterValidator(good)]


class SignIn(BaseModel):
    """The body of `POST /session`."""

    name: Name


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
    """Somebody has come."""

    type: Literal["joined"] = "joined"
    name: str


class Left(BaseModel):
    """Somebody has gone."""

    type: Literal["left"] = "left"
    name: str


ClientMessage = Say
ServerMessage = Annotated[
    Message | Error | Notice | Welcome | Joined | Left, Field(discriminator="type")
]


def read(text: str | None) -> ClientMessage | Error:
    """Turn the text of a frame (`None` if it was binary) into a message, or into what is wrong.

    Raises nothing: whatever reaches the app, there is an answer to it.
    """
    if text is None:
        return Error(code="not_text", detail="This was a binary frame. Send JSON in a text frame.")
    try:
        return Say.model_validate_json(text)
    except ValidationError as invalid:
        first = invalid.errors()[0]
        if first["type"] == "json_invalid":
            return Error(code="bad_json", detail=first["msg"])
        field = ".".join(str(part) for part in first["loc"])
        return Error(
            code="bad_message", detail=f"{field}: {first['msg']}" if field else first["msg"]
        )
