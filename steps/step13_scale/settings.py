"""What differs from one installation to the next, read from the environment: CHAT_RATE=5, ..."""

import os
from secrets import token_urlsafe
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

Origin = Annotated[str, Field(pattern=r"^https?://[a-z0-9.:\[\]-]+$")]
Origins = Annotated[list[Origin], BeforeValidator(lambda text: text.split(","))]


class Settings(BaseModel):
    """What holds if the environment says nothing, and what is meant."""

    origins: Origins = Field(
        [], description="origins of pages, https://chat.example,https://b.example; none: our own"
    )
    max_bytes: int = Field(16384, gt=0, description="bytes in a frame")
    rate: int = Field(20, gt=0, description="frames a second from one client, at once twice that")
    connections: int = Field(1000, gt=0, description="connections in all")
    connections_per_address: int = Field(50, gt=0, description="connections from one IP address")
    environment: Literal["development", "production"] = Field(
        "development", description="in production the secret has to be given"
    )
    secret: str = Field(
        default_factory=token_urlsafe, min_length=32, repr=False, description="signs the sign-ins"
    )
    session_seconds: int = Field(8 * 3600, gt=0, description="seconds that a sign-in lasts")
    log: str = Field(
        "sqlite:///chat.db",
        pattern="^(sqlite:///|rediss?://).",
        description="where messages are kept: sqlite:///chat.db, or redis://host:6379",
    )


def from_environment() -> Settings:
    """Read the settings. A wrong value ends the process, with a sentence that names it."""
    names = {f"CHAT_{name}".upper(): name for name in Settings.model_fields}
    given = {name: os.environ[key] for key, name in names.items() if key in os.environ}
    if given.get("environment") == "production" and "secret" not in given:
        make_one = "python -c 'import secrets; print(secrets.token_urlsafe())'"
        raise SystemExit(f"CHAT_SECRET is missing. Make one and keep it: {make_one}")
    try:
        return Settings.model_validate(given)
    except ValidationError as invalid:
        wrong = invalid.errors()[0]
        name = str(wrong["loc"][0])
        meant = Settings.model_fields[name].description
        raise SystemExit(f"CHAT_{name.upper()} ({meant}): {wrong['msg']}") from None


settings = from_environment()
