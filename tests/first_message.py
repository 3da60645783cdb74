"""Step 9's sign-in for those who prove it by what they say first: it works, at a price."""

import asyncio

from fastapi import FastAPI, WebSocket, WebSocketException
from fastapi.middleware.cors import CORSMiddleware

from steps.step09_signin.connection import accepted
from steps.step09_signin.manager import manager
from steps.step09_signin.messages import Welcome
from steps.step09_signin.sessions import enter, session_of
from steps.step09_signin.settings import settings
from steps.step09_signin.signin import router

PATIENCE = 5.0  # seconds that a stranger may take to say who they are

app = FastAPI()
app.add_middleware(CORSMiddleware, allow_origins=settings.origins, allow_methods=["POST"])
app.include_router(router)


@app.websocket("/ws")
async def listen(websocket: WebSocket) -> None:
    """Let anybody in, and close on those who do not say in time who they are."""
    async with accepted(websocket) as (inbox, outbox):
        try:
            async with asyncio.timeout(PATIENCE):
                first = await inbox.get()
        except TimeoutError:
            raise WebSocketException(4401, "Nobody has said who you are.") from None
        session = session_of(first.get("text") or "")
        if session is None or not enter(session):
            raise WebSocketException(4401, "That was no token of ours.")
        manager.connect(outbox, session.sub)
        try:
            manager.send(outbox, Welcome(name=session.sub, here=[session.sub]))
            while (await inbox.get())["type"] == "websocket.receive":
                pass
        finally:
            manager.disconnect(outbox)
