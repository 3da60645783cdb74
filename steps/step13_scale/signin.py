"""Signs people in and out, and asks each request and each handshake for the proof."""

from secrets import token_urlsafe
from time import time
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from .history import history
from .names import Name
from .sessions import Session, end, enter, session_of, token_for
from .settings import settings

COOKIE = "chat_session"
TICKET_SECONDS = 30
NOBODY = "Sign in first: POST /session."

router = APIRouter()


async def signed(connection: HTTPConnection) -> Session | None:
    """Return the sign-in of a bearer token or of the cookie, be it over or not."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return session_of(token if scheme.lower() == "bearer" else connection.cookies.get(COOKIE, ""))


async def proven(connection: HTTPConnection, ticket: str = "") -> Session:
    """Return the sign-in that a ticket, a bearer token or the cookie proves; else it is a 401."""
    # A ticket opens one socket and nothing else: it cannot fetch the next ticket.
    by_ticket = ticket and connection.scope["type"] == "websocket"
    session = await redeemed(ticket) if by_ticket else await signed(connection)
    if session is None or not await enter(session):
        raise HTTPException(401, NOBODY, {"www-authenticate": "Bearer"})
    return session


Signed = Annotated[Session | None, Depends(signed)]
SignedIn = Annotated[Session, Depends(proven)]


class SignIn(BaseModel):
    """The body of `POST /session`."""

    name: Name


@router.post("/session")
async def sign_in(wanted: SignIn, request: Request, response: Response) -> dict[str, str]:
    """Sign somebody in; answer with the token, and with a cookie that no script can read."""
    seconds, https = settings.session_seconds, request.url.scheme == "https"
    session = Session(sub=wanted.name, jti=token_urlsafe(), exp=int(time()) + seconds)
    before = session_of(request.cookies.get(COOKIE, ""))
    if before and before.sub == session.sub and await enter(before):
        session = before  # in another window: the name is theirs already
    # Should our answer get lost, nobody has the proof: whoever has shows it, and keeps the name.
    if not await enter(session, at_most=60):
        raise HTTPException(409, "Somebody has that name. Try another.")
    # The cookie is replaced: nobody could sign out the one before any more, and free its name.
    if before and before != session:
        await end(before, "You have signed in under another name.")
    token = token_for(session)
    response.set_cookie(COOKIE, token, seconds, secure=https, httponly=True, samesite="strict")
    return {"name": session.sub, "token": token}


@router.get("/session")
async def who(session: SignedIn) -> dict[str, str]:
    """Answer who is signed in."""
    return {"name": session.sub}


@router.delete("/session", status_code=204)
async def sign_out(session: Signed, response: Response) -> None:
    """Sign somebody out: what proved the sign-in proves nothing any more."""
    if session is None:
        raise HTTPException(401, NOBODY)
    # Be it over or not: if the log went away in the middle of it, it can be asked for again.
    await end(session, "You have signed out.")
    response.delete_cookie(COOKIE)


@router.post("/ticket")
async def hand_out(session: SignedIn) -> dict[str, str | int]:
    """Hand out a ticket, for pages that can send neither cookie nor header with a handshake."""
    ticket = token_urlsafe()
    await history.claim(f"ticket:{ticket}", session.model_dump_json(), TICKET_SECONDS)
    return {"ticket": ticket, "expires_in": TICKET_SECONDS}


async def redeemed(ticket: str) -> Session | None:
    """Return the sign-in that a ticket stands for, once."""
    found = await history.look(f"ticket:{ticket}")
    if found is None or not await history.drop(f"ticket:{ticket}", found):
        return None
    return Session.model_validate_json(found)
