"""Knows who is signed in, and until when."""

import asyncio
from math import inf
from time import time
from typing import NoReturn

import jwt
from fastapi import WebSocketException
from pydantic import BaseModel, ValidationError

from .events import Ended
from .history import history
from .manager import manager
from .names import Name
from .settings import settings


class Session(BaseModel, frozen=True):
    """A sign-in, as the claims of a JSON Web Token (RFC 7519): whose, which one, until when."""

    sub: Name
    jti: str
    exp: int  # seconds since 1970


signed_out: set[str] = set()  # the jti of those whose tokens would still be good, as we have heard


async def enter(session: Session, at_most: float = inf) -> bool:
    """Put a sign-in into the books; return whether the name is its own, and it has not ended."""
    left = min(at_most, session.exp - time())
    if left <= 0:
        return False
    holder = await history.claim(f"name:{session.sub}", session.jti, left)
    # Not before: it may end in between, and its name would be nobody's and taken.
    if await history.look(f"over:{session.jti}"):
        await history.drop(f"name:{session.sub}", session.jti)
        return False
    # While we waited for the answer we may have heard of its end.
    return holder == session.jti and session.jti not in signed_out


async def until_over(session: Session) -> NoReturn:
    """Raise, when a sign-in's time has come, the WebSocketException that ends a connection."""
    await asyncio.sleep(session.exp - time())
    raise WebSocketException(4401, "Your sign-in has ended.")


async def end(session: Session, reason: str) -> None:
    """End a sign-in, and have every process end the connections that it let in."""
    left = max(1, session.exp - time())
    await history.claim(f"over:{session.jti}", reason, left)
    ended = Ended(name=session.sub, jti=session.jti, exp=session.exp, reason=reason)
    await history.tell(ended.model_dump_json())
    await history.drop(f"name:{session.sub}", session.jti)


def over(ended: Ended) -> None:
    """Do here what is to be done when a sign-in has ended, anywhere."""
    if ended.jti not in signed_out:
        signed_out.add(ended.jti)
        left = max(0, ended.exp - time())
        asyncio.get_running_loop().call_later(left, signed_out.discard, ended.jti)
    manager.end(ended.name, ended.jti, 4401, ended.reason)


def token_for(session: Session) -> str:
    """Return a token that proves a sign-in until its end. Whoever has it is that person."""
    return jwt.encode(session.model_dump(), settings.secret, "HS256")


def session_of(token: str) -> Session | None:
    """Return the sign-in of a token that we have signed and that has not expired."""
    try:
        return Session.model_validate(jwt.decode(token, settings.secret, ["HS256"]))
    except (jwt.InvalidTokenError, ValidationError):
        return None
