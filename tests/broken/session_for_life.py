"""A database session for as long as a socket lives: the sixteenth client gets none."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, WebSocket
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

engine = create_engine("sqlite:///shop.db")
app = FastAPI()


def get_db() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


@app.websocket("/ws")
async def prices(websocket: WebSocket, session: Annotated[Session, Depends(get_db)]) -> None:
    await websocket.accept()
    async for _ in websocket.iter_text():
        price = session.scalar(text("SELECT 42"))
        await websocket.send_text(f"It costs {price}.")
