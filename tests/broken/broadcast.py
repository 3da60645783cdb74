"""The broadcast that most tutorials print."""

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
connections: list[WebSocket] = []


@app.websocket("/ws")
async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    connections.append(websocket)
    try:
        while True:
            text = await websocket.receive_text()
            await broadcast(text)
    except WebSocketDisconnect:
        connections.remove(websocket)
        await broadcast("somebody left")


async def broadcast(text: str) -> None:
    for connection in connections:
        await connection.send_text(text)
