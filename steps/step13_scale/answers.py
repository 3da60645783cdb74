"""How requests and handshakes are answered that cannot be granted."""

from fastapi import Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from .log import Unavailable


async def explain(_: Request, wrong: RequestValidationError) -> JSONResponse:
    """Say what is wrong with a request, and do not repeat it: not all JSON can be written again."""
    parts = [{key: error[key] for key in ("type", "loc", "msg")} for error in wrong.errors()]
    return JSONResponse({"detail": parts}, 422)


async def later(connection: Request | WebSocket, unavailable: Unavailable) -> Response:
    """Ask for patience, while the log does not answer."""
    answer = JSONResponse({"detail": unavailable.reason}, 503)
    if isinstance(connection, WebSocket):
        await connection.send_denial_response(answer)
    return answer
