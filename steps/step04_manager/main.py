"""Passes what one client says to all the others, and what an HTTP request says to everyone."""

from pathlib import Path

from fastapi import Depends, FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

from .caching import revalidate
from .manager import ConnectionManager
from .messages import Announcement, Error, Message, Notice, Say, read

# Pages on these origins may call /announce. It does not guard /ws: CORS knows nothing of sockets.
ORIGINS = ["http://localhost:3000", "http://127.0.0.1:3000"]

app = FastAPI(title="Step 4: a connection manager", dependencies=[Depends(revalidate)])
app.add_middleware(
    CORSMiddleware, allow_origins=ORIGINS, allow_methods=["POST"], allow_headers=["content-type"]
)
manager = ConnectionManager()


@app.websocket("/ws")
async def talk(websocket: WebSocket) -> None:
    """Pass on what this client says, until it leaves."""
    await manager.connect(websocket)
    try:
        while (event := await websocket.receive())["type"] == "websocket.receive":
            match read(event.get("text")):
                case Say(text=text):
                    await manager.broadcast(Message(text=text), skip=websocket)
                case Error() as error:
                    await manager.send(websocket, error)
    finally:
        manager.disconnect(websocket)


@app.post("/announce")
async def announce(announcement: Announcement) -> dict[str, int]:
    """Send a notice to everyone; answer how many it reached."""
    return {"delivered": await manager.broadcast(Notice(text=announcement.text))}


@app.exception_handler(RequestValidationError)
async def explain(_: Request, wrong: RequestValidationError) -> JSONResponse:
    """Say what is wrong with a request, and do not repeat it: not all JSON can be written again."""
    parts = [{key: error[key] for key in ("type", "loc", "msg")} for error in wrong.errors()]
    return JSONResponse({"detail": parts}, 422)


app.frontend("/", directory=Path(__file__).parent / "static")
