"""Signs people in and out, and asks each request and each handshake for the proof."""

import asyncio
from secrets import token_urlsafe
from time import time
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from .names import Name
from .sessions import Session, end, enter, session_of, token_for
from .settings import settings

COOKIE = "chat_session"
TICKET_SECONDS = 30

router = APIRouter()
tickets: dict[str, Session] = {}


async def proven(connection: HTTPConnection, ticket: str = "") -> Session:
    """Return the sign-in that a ticket, a bearer token or the cookie proves; else it is a 401."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = connection.cookies.get(COOKIE, "")
    # A ticket opens one socket and nothing else: it cannot fetch the next ticket.
    by_ticket = ticket and connection.scope["type"] == "websocket"
    session = tickets.pop(ticket, None) if by_ticket else session_of(token)
    # After a restart the books are empty, and a good token puts its sign-in back.
    if session is None or not enter(session):
        raise HTTPException(401, "Sign in first: POST /session.", {"www-authenticate": "Bearer"})
    return session


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
    if before and before.sub == session.sub and enter(before):
        session = before  # in another window: the name is theirs already
    if not enter(session):
        raise HTTPException(409, "Somebody has that name. Try another.")
    # The cookie is replaced: nobody could sign out the one before any more, and free its name.
    if before and before != session:
        end(before, "You have signed in under another name.")
    token = token_for(session)
    response.set_cookie(COOKIE, token, seconds, secure=https, httponly=True, samesite="strict")
    return {"name": session.sub, "token": token}


@router.get("/session")
async def who(session: SignedIn) -> dict[str, str]:
    """Answer who is signed in."""
    return {"name": session.sub}


@router.delete("/session", status_code=204)
async def sign_out(session: SignedIn, response: Response) -> None:
    """Sign somebody out: what proved the sign-in proves nothing any more."""
    end(session, "You have signed out.")
    response.delete_cookie(COOKIE)


@router.post("/ticket")
async def hand_out(session: SignedIn) -> dict[str, str | int]:
    """Hand out a ticket, for pages that can send neither cookie nor header with a handshake."""
    ticket = token_urlsafe()
    tickets[ticket] = session
    asyncio.get_running_loop().call_later(TICKET_SECONDS, tickets.pop, ticket, None)
    return {"ticket": ticket, "expires_in": TICKET_SECONDS}
