"""What people and rooms may be called."""

from typing import Annotated

from fastapi import Depends, HTTPException
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError


def good(name: str) -> str:
    """Return a name, trimmed. Raises ValueError unless it is 1 to 20 printable characters."""
    name = name.strip()
    if not 1 <= len(name) <= 20 or not name.isprintable():
        raise PydanticCustomError("name", "A name is 1 to 20 printable characters.")
    return name


async def good_room(room: str) -> str:
    """Return the name of a room in an address, trimmed; if there is no such room it is a 404."""
    try:
        return good(room)
    except ValueError as wrong:
        raise HTTPException(404, f"There is no such room. {wrong}") from None


Name = Annotated[str, AfterValidator(good)]
Room = Annotated[str, Depends(good_room)]
