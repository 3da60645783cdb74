"""The same chat, in which nobody waits for a client that does not read."""

from pathlib import Path

from fastapi import Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

from .caching import revalidate
from .connection import accepted
from .manager import ConnectionManager
from .messages import Announcement, Error, Joined, Left, Message, Notice, Say, Welcome, read

# Pages on these origins may call /announce. It does not guard /ws: CORS knows nothing of sockets.
ORIGINS = ["http://localhost:3000", "http://127.0.0.1:3000"]

app = FastAPI(title="Step 7: backpressure", dependencies=[Depends(revalidate)])
app.add_middleware(
    CORSMiddleware, allow_origins=ORIGINS, allow_methods=["POST"], allow_headers=["content-type"]
)
manager = ConnectionManager()


@app.websocket("/ws")
async def chat(websocket: WebSocket, name: str = "") -> None:
    """Let a client in under its name and pass on what it says, until it leaves."""
    # Accepted first: a page whose handshake is refused does not learn why.
    async with accepted(websocket) as (inbox, outbox):
        name = manager.connect(outbox, name)
        try:
            here = sorted(manager.connections.values())
            manager.send(outbox, Welcome(name=name, here=here))
            manager.broadcast(Joined(name=name), skip=outbox)
            while (event := await inbox.get())["type"] == "websocket.receive":
                match read(event.get("text")):
                    case Say(text=text):
                        manager.broadcast(Message(name=name, text=text))
                    case Error() as error:
                        manager.send(outbox, error)
        finally:
            manager.disconnect(outbox)
            manager.broadcast(Left(name=name))


@app.websocket("/{path:path}")
async def nowhere(path: str) -> None:
    """Refuse the handshake on any other path, with a status and a reason."""
    raise HTTPException(404, f"There is no socket at /{path}. The chat is at /ws.")


@app.post("/announce")
async def announce(announcement: Announcement) -> dict[str, int]:
    """Send a notice to everyone; answer how many they are."""
    return {"delivered": manager.broadcast(Notice(text=announcement.text))}


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
