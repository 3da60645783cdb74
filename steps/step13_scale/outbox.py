"""What is on its way to one client: bounded, so that nobody waits for who does not read."""

import asyncio
from typing import Literal, NoReturn

from fastapi import WebSocket, WebSocketDisconnect, WebSocketException

from .messages import Message

MESSAGES = 1000
BYTES = 1024 * 1024
# When an outbox is full: the client is told 1013 and may come back, or misses the oldest frames.
POLICY: Literal["drop client", "drop oldest"] = "drop client"


class Outbox:
    """The frames that wait for one client, at most `MESSAGES` of them and `BYTES` in all."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[str] = asyncio.Queue()
        self.bytes = 0
        self.stuck = False  # the client's buffers are full, and a send waits for it
        self.ends: asyncio.Queue[WebSocketException] = asyncio.Queue()
        self.last = 0  # the id of the last message that was put into it
        self.jti = ""  # of the sign-in that let it in
        self.behind = asyncio.Event()  # there is more, and it has to be read from the log

    def put(self, frame: str) -> None:
        """Take a frame to send, and wait for nobody."""
        self.frames.put_nowait(frame)
        self.bytes += len(frame.encode())
        # Many frames and not stuck: the writer has only not had its turn yet.
        while self.stuck and (self.frames.qsize() > MESSAGES or self.bytes > BYTES):
            self.bytes -= len(self.frames.get_nowait().encode())
            self.frames.task_done()
            if POLICY == "drop client":
                self.end(1013, "You read too slowly. Come back for the rest.")

    def put_next(self, message: Message) -> None:
        """Take the message that comes after the last. Who is further behind has to catch up."""
        if message.id <= self.last + 1:
            self.put_message(message)
        else:
            self.behind.set()

    def put_message(self, message: Message) -> None:
        """Take a message, unless it was taken before."""
        if message.id > self.last:
            self.last = message.id
            self.put(message.model_dump_json())

    def end(self, code: int, reason: str) -> None:
        """End the connection; the first to say how is right."""
        self.ends.put_nowait(WebSocketException(code, reason))

    async def until_ended(self) -> NoReturn:
        """Raise, once the connection is to end, the WebSocketException that says how."""
        raise await self.ends.get()

    async def drain(self, websocket: WebSocket) -> None:
        """Send the frames in their order, as fast as the client takes them."""
        try:
            while frame := await self.frames.get():
                self.bytes -= len(frame.encode())
                self.stuck = True
                await websocket.send_text(frame)
                self.stuck = False
                self.frames.task_done()
        except (WebSocketDisconnect, RuntimeError):
            pass  # the client has gone
        finally:
            # Nobody will send them, and a close may wait for hours until the client reads on.
            self.frames, self.bytes = asyncio.Queue(), 0
