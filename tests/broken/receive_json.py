"""JSON as most tutorials take it: whatever is not JSON ends the connection."""

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()


@app.websocket("/ws")
async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            frame = await websocket.receive_json()
            await websocket.send_json({"type": "message", "text": frame["text"]})
    except WebSocketDisconnect:
        pass
