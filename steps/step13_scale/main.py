"""The same chat, in any number of processes on any number of machines."""

from pathlib import Path

from fastapi import Depends, FastAPI, HTTPException, WebSocket, WebSocketException
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware

from . import asyncapi
from .answers import explain, later
from .caching import revalidate
from .connection import accepted
from .conversation import converse, tell
from .events import Pass
from .history import history
from .log import Unavailable
from .manager import manager
from .messages import Announcement, Notice
from .names import Room
from .processes import lifespan
from .replay import LastHeard, catch_up, start
from .security import Door, protect
from .sessions import enter, until_over
from .settings import settings
from .signin import SignedIn, router

app = FastAPI(
    title="Step 13: scale",
    dependencies=[Depends(revalidate), Depends(protect)],
    lifespan=lifespan,
    exception_handlers={RequestValidationError: explain, Unavailable: later},
)
# For requests; it knows nothing of sockets. The door, for sockets, stands before it.
app.add_middleware(
    CORSMiddleware,
    allow_origins=settings.origins,
    allow_methods=["GET", "POST", "DELETE"],
    allow_headers=["authorization", "content-type"],
)
app.add_middleware(Door)
app.include_router(router)
app.include_router(asyncapi.router)


@app.websocket("/ws/{room}")
async def chat(websocket: WebSocket, room: Room, session: SignedIn, last: LastHeard) -> None:
    """Let a client into a room under its name, and talk with it until it leaves."""
    async with accepted(websocket) as (inbox, outbox, meanwhile):
        newest = await history.newest(room)
        outbox.last, outbox.jti = start(last, newest), session.jti
        # The sign-in may have ended while the handshake was completed.
        if not await enter(session):
            raise WebSocketException(4401, "Your sign-in has ended.")
        with manager.connected(outbox, room, session.sub, newest):
            meanwhile(until_over(session))
            meanwhile(catch_up(outbox, room))
            await converse(inbox, outbox, room, session.sub)


@app.websocket("/{path:path}")
async def nowhere(path: str) -> None:
    """Refuse the handshake on any other path, with a status and a reason."""
    raise HTTPException(404, f"There is no socket at /{path}. The chat is at /ws/lobby.")


@app.post("/announce")
async def announce(announcement: Announcement, _: SignedIn) -> dict[str, int]:
    """Send a notice to everyone; answer how many they are."""
    await tell(Pass(frame=Notice(text=announcement.text)))
    return {"delivered": len(manager.everyone())}


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answer that the process is up and its event loop turns."""
    return {"status": "ok"}


app.frontend("/", directory=Path(__file__).parent / "static")
