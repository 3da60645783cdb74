"""Decides who may connect, from where and how often, and how much a client may say."""

from collections import Counter
from time import monotonic

from fastapi import Response, WebSocket, WebSocketException
from starlette.types import ASGIApp, Receive, Scope, Send

from .messages import Error
from .settings import settings


class Door:
    """Pure ASGI middleware around all sockets, those too that are added tomorrow."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.inside: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a handshake, with a status that says why, or count its connection."""
        if scope["type"] != "websocket":
            return await self.app(scope, receive, send)
        address = scope["client"][0] if scope["client"] else ""
        websocket = WebSocket(scope, receive, send)
        if not speaks_for_itself(websocket):
            refusal = Response("Pages on this origin may not speak here. See CHAT_ORIGINS.", 403)
        elif self.inside[address] >= settings.connections_per_address:
            refusal = Response("Too many connections from this address.", 429)
        elif self.inside.total() >= settings.connections:
            refusal = Response("The server is full. Try again later.", 503)
        else:
            self.inside[address] += 1
            try:
                return await self.app(scope, receive, send)
            finally:
                self.inside -= Counter([address])
        return await websocket.send_denial_response(refusal)


def speaks_for_itself(websocket: WebSocket) -> bool:
    """Return whether no page of somebody else's makes its visitor's browser speak here.

    Browsers say where a page is from (RFC 6455, section 10.2). Programs need not, and ride nobody.
    """
    origin, host = websocket.headers.get("origin"), websocket.headers.get("host")
    # Behind a proxy we do not know which of the two schemes the page came over.
    return origin is None or origin in (settings.origins or (f"http://{host}", f"https://{host}"))


class Limit:
    """What one client may send: a token bucket, filled with `CHAT_RATE` tokens a second."""

    def __init__(self) -> None:
        self.tokens: float = 2 * settings.rate
        self.filled_at = monotonic()

    def exceeded(self, text: str | None) -> Error | None:
        """Return what is too much about a frame. Raises WebSocketException (4429) if it goes on."""
        now, full = monotonic(), 2 * settings.rate
        self.tokens = min(full, self.tokens + settings.rate * (now - self.filled_at)) - 1
        self.filled_at = now
        if self.tokens < -full:
            raise WebSocketException(4429, "Too fast for too long.")
        if self.tokens < 0:
            return Error(code="too_fast", detail=f"At most {settings.rate} a second.")
        if text and len(text.encode()) > settings.max_bytes:
            return Error(code="too_big", detail=f"At most {settings.max_bytes} bytes.")
        return None


async def protect(response: Response) -> None:
    """Let a page run its own scripts alone, talk to its own server, and be in no one's frame."""
    response.headers["content-security-policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    response.headers["x-content-type-options"] = "nosniff"
