"""Describes the socket to programs, as OpenAPI does requests: AsyncAPI 3.1, from the models."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import TypeAdapter

from .messages import ClientMessage, ServerMessage
from .signin import COOKIE

SIDES: dict[str, Any] = {"receive": ClientMessage, "send": ServerMessage}
UNIONS, DEFINED = TypeAdapter.json_schemas(
    [(action, "validation", TypeAdapter(union)) for action, union in SIDES.items()],
    ref_template="#/components/schemas/{model}",
)
SCHEMAS = DEFINED["$defs"]
FRAMES = {
    action: {one["$ref"].split("/")[-1]: {"payload": one} for one in union["oneOf"]}
    for (action, _), union in UNIONS.items()
}
for name in FRAMES["send"]:  # what has a default here is never missing on the wire
    SCHEMAS[name]["required"] = list(SCHEMAS[name]["properties"])
LAST = {"type": "integer", "minimum": 0, "description": "The id of what was heard last."}
PROOFS = [
    {"type": "httpApiKey", "in": "cookie", "name": COOKIE},
    {"type": "http", "scheme": "bearer"},
    {"type": "httpApiKey", "in": "query", "name": "ticket"},
]

router = APIRouter()


@router.get("/asyncapi.json", include_in_schema=False)
async def asyncapi(request: Request) -> dict[str, Any]:
    """Answer with where the socket is, what opens it, and which frames both sides send."""
    url = request.url
    server = {"host": url.netloc, "protocol": url.scheme.replace("http", "ws"), "security": PROOFS}
    channel = {
        "address": "/ws/{room}",
        "parameters": {"room": {"description": "Its name, 1 to 20 printable characters."}},
        "bindings": {"ws": {"query": {"type": "object", "properties": {"last": LAST}}}},
        "messages": FRAMES["receive"] | FRAMES["send"],
    }
    operations = {
        action: {
            "action": action,
            "channel": {"$ref": "#/channels/room"},
            "messages": [{"$ref": f"#/channels/room/messages/{name}"} for name in frames],
        }
        for action, frames in FRAMES.items()
    }
    return {
        "asyncapi": "3.1.0",
        "info": {"title": request.app.title, "version": request.app.version},
        "defaultContentType": "application/json",
        "servers": {"this": server},
        "channels": {"room": channel},
        "operations": operations,
        "components": {"schemas": SCHEMAS},
    }
