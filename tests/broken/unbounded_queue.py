"""A queue for each client, and no end to it."""

import asyncio

from fastapi import FastAPI, WebSocket

app = FastAPI()
queues: set[asyncio.Queue[str]] = set()


@app.websocket("/ws")
async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    queue: asyncio.Queue[str] = asyncio.Queue()
    queues.add(queue)
    writer = asyncio.create_task(write(websocket, queue))
    try:
        async for text in websocket.iter_text():
            for other in queues:
                other.put_nowait(text)
    finally:
        queues.remove(queue)
        writer.cancel()


async def write(websocket: WebSocket, queue: asyncio.Queue[str]) -> None:
    while True:
        await websocket.send_text(await queue.get())


@app.get("/waiting")
async def waiting() -> dict[str, int]:
    return {"waiting": sum(queue.qsize() for queue in queues)}
