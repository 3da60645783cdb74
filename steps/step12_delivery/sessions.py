"""Knows who is signed in, and until when."""

import asyncio
from time import time

import jwt
from pydantic import BaseModel, ValidationError

from .manager import manager
from .names import Name
from .settings import settings


class Session(BaseModel, frozen=True):
    """A sign-in, as the claims of a JSON Web Token (RFC 7519): whose, which one, until when."""

    sub: Name
    jti: str
    exp: int  # seconds since 1970


holders: dict[str, Session] = {}  # by name
signed_out: set[str] = set()  # the jti of those whose tokens would still be good


def enter(session: Session) -> bool:
    """Put a sign-in into the books; return whether the name is its own, and it has not ended."""
    left = session.exp - time()
    if left <= 0 or session.jti in signed_out:
        return False
    if session.sub not in holders:
        holders[session.sub] = session
        asyncio.get_running_loop().call_later(left, end, session, "Your sign-in has ended.")
    return holders[session.sub] == session


def end(session: Session, reason: str) -> None:
    """End a sign-in, if it has not ended before, and the connections that it let in."""
    signed_out.add(session.jti)
    left = max(0, session.exp - time())
    asyncio.get_running_loop().call_later(left, signed_out.discard, session.jti)
    if holders.get(session.sub) == session:
        del holders[session.sub]
        manager.end(session.sub, 4401, reason)


def token_for(session: Session) -> str:
    """Return a token that proves a sign-in until its end. Whoever has it is that person."""
    return jwt.encode(session.model_dump(), settings.secret, "HS256")


def session_of(token: str) -> Session | None:
    """Return the sign-in of a token that we have signed and that has not expired."""
    try:
        return Session.model_validate(jwt.decode(token, settings.secret, ["HS256"]))
    except (jwt.InvalidTokenError, ValidationError):
        return None
