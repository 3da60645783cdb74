"""Redis pub/sub, as it is passed around: what is said while nobody listens is lost."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket
from redis.asyncio import Redis
from redis.exceptions import RedisError

redis = Redis.from_url(os.environ.get("CHAT_LOG", "redis://"), decode_responses=True)
clients: set[WebSocket] = set()


async def listen() -> None:
    while True:
        try:
            async with redis.pubsub() as pubsub:
                await pubsub.subscribe("chat")
                async for message in pubsub.listen():
                    if message["type"] == "message":
                        for client in set(clients):
                            await client.send_text(message["data"])
        except RedisError:
            await asyncio.sleep(0.1)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    task = asyncio.create_task(listen())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


@app.websocket("/ws")
async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    clients.add(websocket)
    try:
        async for text in websocket.iter_text():
            await redis.publish("chat", text)
    finally:
        clients.remove(websocket)
