"""A chat: everyone has a name, sees who is here, and hears what all say."""

from pathlib import Path

from fastapi import Depends, FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

from .caching import revalidate
from .manager import ConnectionManager
from .messages import Announcement, Error, Joined, Left, Message, Notice, Say, Welcome, read

# Pages on these origins may call /announce. It does not guard /ws: CORS knows nothing of sockets.
ORIGINS = ["http://localhost:3000", "http://127.0.0.1:3000"]

app = FastAPI(title="Step 5: a chat", dependencies=[Depends(revalidate)])
app.add_middleware(
    CORSMiddleware, allow_origins=ORIGINS, allow_methods=["POST"], allow_headers=["content-type"]
)
manager = ConnectionManager()


@app.websocket("/ws")
async def chat(websocket: WebSocket, name: str = "") -> None:
    """Let a client in under its name and pass on what it says, until it leaves."""
    name = await manager.connect(websocket, name)
    try:
        here = sorted(manager.connections.values())
        await manager.send(websocket, Welcome(name=name, here=here))
        await manager.broadcast(Joined(name=name), skip=websocket)
        while (event := await websocket.receive())["type"] == "websocket.receive":
            match read(event.get("text")):
                case Say(text=text):
                    await manager.broadcast(Message(name=name, text=text))
                case Error() as error:
                    await manager.send(websocket, error)
    finally:
        manager.disconnect(websocket)
        await manager.broadcast(Left(name=name))


@app.post("/announce")
async def announce(announcement: Announcement) -> dict[str, int]:
    """Send a notice to everyone; answer how many it reached."""
    return {"delivered": await manager.broadcast(Notice(text=announcement.text))}


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
