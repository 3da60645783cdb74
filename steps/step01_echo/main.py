"""Answers one client with its own text."""

from contextlib import suppress
from pathlib import Path

from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect

from .caching import revalidate

app = FastAPI(title="Step 1: echo", dependencies=[Depends(revalidate)])


@app.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    """Send every text back to the client it came from, until that client leaves."""
    await websocket.accept()
    # A client leaves while we wait for it, or while we send to it: both raise this.
    with suppress(WebSocketDisconnect):
        while True:
            text = await websocket.receive_text()
            await websocket.send_text(text)


app.frontend("/", directory=Path(__file__).parent / "static")
