"""What the processes tell each other. No client sees it."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, TypeAdapter

from .messages import ServerMessage


class Pass(BaseModel):
    """A frame for those in a room, or for all windows of some people, or for everyone."""

    type: Literal["pass"] = "pass"
    frame: ServerMessage
    room: str | None = None
    skip: str = ""
    people: list[str] | None = None


class Present(BaseModel):
    """Who is in which room by way of one process, each as often as they have windows there."""

    type: Literal["present"] = "present"
    process: str
    rooms: dict[str, list[str]]
    asks: bool = False  # it has just started, and does not know who is at the others


class Ended(BaseModel):
    """A sign-in has ended."""

    type: Literal["ended"] = "ended"
    name: str
    jti: str
    exp: float
    reason: str


Event = Annotated[Pass | Present | Ended, Field(discriminator="type")]
events: TypeAdapter[Event] = TypeAdapter(Event)
