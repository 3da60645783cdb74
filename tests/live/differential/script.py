"""Plays a script on a connection: the page says what the app shall do, one order after another."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import HTTPException, WebSocket, WebSocketException
from fastapi.responses import PlainTextResponse

from .journal import FILLING, journal, short, told

PATIENCE = 0.3
"""Seconds after which a send counts as waiting. One that need not wait does not even yield."""
FRAME = 64 * 1024
"""Bytes of a frame that fills a line: the more, the fewer it takes on a real network."""
MANY = 1000
"""Frames after which a line counts as one that is never full: some 64 MB."""


async def play(websocket: WebSocket, name: str, orders: list[str]) -> None:
    """Carry out orders; note what those raise that fail, and go on with the next.

    `spawn ORDER` carries one out beside the others, `join` waits for all such.
    """
    beside: list[asyncio.Task[None]] = []
    for order in orders:
        if order.startswith("spawn "):
            beside.append(asyncio.create_task(attempt(websocket, name, order[6:])))
        elif order == "join":
            await asyncio.wait(beside)
        elif order.startswith("raise "):
            raise exception(order[6:])
        else:
            await attempt(websocket, name, order)
    for task in beside:
        await task


async def attempt(websocket: WebSocket, name: str, order: str) -> None:
    """Carry out one order; note the exception that it raises."""
    try:
        await perform(websocket, name, order)
    except Exception as error:
        journal.note(name, f"{order.split()[0]} raises {told(error)}")


async def perform(websocket: WebSocket, name: str, order: str) -> None:
    """Do what one order says."""
    verb, _, rest = order.partition(" ")
    match verb:
        case "accept":
            await websocket.accept(subprotocol=rest or None)
        case "accept-with":
            await websocket.accept(headers=[(b"set-cookie", rest.encode())])
        case "deny-with":
            headers = {"set-cookie": rest}
            await websocket.send_denial_response(PlainTextResponse("no", 401, headers))
        case "send":
            await websocket.send_text(rest)
        case "bytes":
            await websocket.send_bytes(bytes.fromhex(rest))
        case "json":
            await websocket.send_json({"text": rest}, mode="binary" if rest == "bin" else "text")
        case "long":
            await websocket.send_text("é" * int(rest))
        case "neither":
            await websocket.send({"type": "websocket.send"})
        case "both":
            await websocket.send({"type": "websocket.send", "text": "text", "bytes": b"bytes"})
        case "count":
            for number in range(int(rest)):
                await websocket.send_text(str(number))
        case "close":
            code, _, reason = rest.partition(" ")
            await websocket.close(int(code or 1000), reason or None)
        case "deny":
            await websocket.send_denial_response(PlainTextResponse("no", int(rest)))
        case "receive":
            await websocket.receive()
        case "text" | "binary" | "object":
            receive: dict[str, Callable[[], Awaitable[object]]] = {
                "text": websocket.receive_text,
                "binary": websocket.receive_bytes,
                "object": websocket.receive_json,
            }
            journal.note(name, f"{verb} is {short(await receive[verb]())}")
        case "echo":
            await echo(websocket)
        case "signal":
            journal.signals[f"{name} {rest}"].set()
        case "wait":
            await journal.signals[f"{name} {rest}"].wait()
        case "fill":
            await fill(websocket, name, patient=rest != "once")
        case "stream":
            await stream(websocket)
        case _:
            raise NotImplementedError(order)


async def echo(websocket: WebSocket) -> None:
    """Send every frame back as it came, until the client has gone."""
    while (event := await websocket.receive())["type"] != "websocket.disconnect":
        await websocket.send({**event, "type": "websocket.send"})


async def fill(websocket: WebSocket, name: str, *, patient: bool) -> None:
    """Send numbered frames until one has to wait, and say so; give it up unless `patient`."""
    number = 0
    waits = False
    while not waits and number < MANY:
        frame = f"{FILLING} {number} ".ljust(FRAME, "x")
        sending = asyncio.create_task(websocket.send_text(frame))
        _, waiting = await asyncio.wait({sending}, timeout=PATIENCE)
        waits = bool(waiting)
        if waits:
            journal.note(name, "a send waits")
            journal.signals[f"{name} full"].set()
            if not patient:
                sending.cancel()
                await asyncio.wait({sending})
                break
        await sending
        number += 1
    journal.signals[f"{name} full"].set()  # also if it never was: nobody waits for ever
    journal.signals[f"{name} relieved"].set()
    await websocket.send_text(f"{FILLING}ed {number}")


async def stream(websocket: WebSocket) -> None:
    """Send numbered frames, and let others have their turn after each, until that fails."""
    for number in range(100 * MANY):
        await websocket.send_text(f"{FILLING} {number}")
        await asyncio.sleep(0)


def exception(words: str) -> Exception:
    """Return the exception that the words name: `WebSocketException 4000 why`."""
    kind, *arguments = words.split(maxsplit=2)
    match kind:
        case "WebSocketException":
            return WebSocketException(int(arguments[0]), " ".join(arguments[1:]))
        case "HTTPException":
            return HTTPException(int(arguments[0]), " ".join(arguments[1:]))
        case _:
            return ValueError(" ".join(arguments))
