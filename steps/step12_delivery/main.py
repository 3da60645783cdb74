"""The same chat, in which nothing is lost on its way to the log, and nothing said twice."""

from pathlib import Path

from fastapi import Depends, FastAPI, HTTPException, Request, WebSocket, WebSocketException
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

from . import asyncapi
from .caching import revalidate
from .connection import accepted
from .conversation import converse
from .history import history, lifespan
from .manager import manager
from .messages import Announcement, Notice
from .names import Room
from .replay import LastHeard, catch_up
from .security import Door, protect
from .sessions import enter
from .settings import settings
from .signin import SignedIn, router

app = FastAPI(
    title="Step 12: delivery",
    dependencies=[Depends(revalidate), Depends(protect)],
    lifespan=lifespan,
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
        outbox.last = await history.start(room, last)
        # The sign-in may have ended while the handshake was completed.
        if not enter(session):
            raise WebSocketException(4401, "Your sign-in has ended.")
        with manager.connected(outbox, room, session.sub):
            meanwhile(catch_up(outbox, room))
            await converse(inbox, outbox, room, session.sub)


@app.websocket("/{path:path}")
async def nowhere(path: str) -> None:
    """Refuse the handshake on any other path, with a status and a reason."""
    raise HTTPException(404, f"There is no socket at /{path}. The chat is at /ws/lobby.")


@app.post("/announce")
async def announce(announcement: Announcement, _: SignedIn) -> dict[str, int]:
    """Send a notice to everyone; answer how many they are."""
    return {"delivered": manager.announce(Notice(text=announcement.text))}


@app.exception_handler(RequestValidationError)
async def explain(_: Request, wrong: RequestValidationError) -> JSONResponse:
    """Say what is wrong with a request, and do not repeat it: not all JSON can be written again."""
    parts = [{key: error[key] for key in ("type", "loc", "msg")} for error in wrong.errors()]
    return JSONResponse({"detail": parts}, 422)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answer that the process is up and its event loop turns."""
    return {"status": "ok"}


app.frontend("/", directory=Path(__file__).parent / "static")
