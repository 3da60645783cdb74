"""A network that reaches from one end of a tab to the other: uvicorn here, a window there.

Both ends are real: uvicorn's own protocols, and the sans-I/O clients of websockets and h11. Only
what lies between them, elsewhere TCP, is made here.
"""

import asyncio
import itertools
import json
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, cast

import h11
from typing_extensions import override
from websockets.client import ClientProtocol
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

ADDRESS = ("127.0.0.1", 8000)
HOST = "127.0.0.1:8000"
CAPACITY = 8  # messages on their way to a window; TCP holds megabytes


class Peer(Protocol):
    """The window's end of a line."""

    def received(self, data: bytes) -> int:
        """Take what uvicorn wrote; return how many messages of it the page has yet to take."""

    def lost(self) -> None:
        """Learn that nothing more will come."""


class Line(asyncio.Transport):
    """A connection, as uvicorn sees it: the transport that asyncio would have given it."""

    def __init__(self, network: "Network", port: int) -> None:
        super().__init__({"peername": (ADDRESS[0], port), "sockname": ADDRESS})
        self.port = port
        self._loop = asyncio.get_running_loop()
        self._network = network
        self._outgoing = deque[bytes]()
        self._incoming = deque[bytes]()
        self._untaken = 0
        self._reading, self._waiting, self._closing, self._over = True, False, False, False

    def open(self, protocol: asyncio.Protocol, peer: Peer) -> None:
        """Connect both ends."""
        self._protocol, self._peer = protocol, peer
        self._network.lines.add(self)
        protocol.connection_made(self)

    # What the window's end does.

    def carry(self, data: bytes) -> None:
        """Bring data, if it is any, to uvicorn: in a later turn of the loop, and when it reads."""
        if data:
            self._incoming.append(data)
            self._loop.call_soon(self._arrive)

    def taken(self) -> None:
        """Note that the page has taken one message."""
        self._untaken -= 1
        self._flow()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on its way to uvicorn, and uvicorn is not about to end the line."""
        return not self._incoming and not self._closing

    def take_all(self) -> None:
        """Take whatever is on its way: the page that should have is not there any more."""
        self._untaken = 0
        self._flow()

    def hang_up(self) -> None:
        """End the line in order, as a FIN does."""
        self._loop.call_soon(self.close)

    def cut(self) -> None:
        """End it at once, as an RST does: what is on its way is lost, and both ends notice."""
        self._loop.call_soon(self._end, ConnectionResetError("Connection reset by peer"))

    # What uvicorn does to it, as to any of asyncio's transports.

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing and data:
            self._outgoing.append(bytes(data))
            self._flow()

    @override
    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._flow()

    @override
    def abort(self) -> None:
        self._closing = True
        self._loop.call_soon(self._end, None)

    @override
    def is_closing(self) -> bool:
        return self._closing

    @override
    def pause_reading(self) -> None:
        self._reading = False

    @override
    def resume_reading(self) -> None:
        self._reading = True
        self._loop.call_soon(self._arrive)

    @override
    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast("asyncio.Protocol", protocol)

    @override
    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    # What happens on the way.

    def _arrive(self) -> None:
        while self._incoming and self._reading and not self._closing:
            self._protocol.data_received(self._incoming.popleft())

    def _flow(self) -> None:
        while self._outgoing and self._untaken < CAPACITY:
            self._untaken += self._peer.received(self._outgoing.popleft())
        full = self._untaken + len(self._outgoing) >= CAPACITY
        if full != self._waiting and not self._over:
            self._waiting = full
            (self._protocol.pause_writing if full else self._protocol.resume_writing)()
        if self._closing and not self._outgoing:
            # Like a socket: it is not closed before all of what was written is on its way.
            self._loop.call_soon(self._end, None)

    def _end(self, error: Exception | None) -> None:
        if self._over:
            return
        self._over = self._closing = True
        self._outgoing.clear()
        self._network.lines.discard(self)
        self._protocol.connection_lost(error)
        self._peer.lost()


class Network:
    """Stands in for the event loop's `create_server()`: where uvicorn listens, windows connect."""

    def __init__(self) -> None:
        self.lines = set[Line]()
        self._listener: Callable[[], asyncio.Protocol] | None = None
        self._ports = itertools.count(50001)

    sockets = ()  # as `asyncio.Server` has them

    async def create_server(
        self, factory: Callable[[], asyncio.Protocol], **_options: object
    ) -> "Network":
        """Listen, with what makes a protocol for each connection. There is one address."""
        self._listener = factory
        return self

    def close(self) -> None:
        """Listen no more."""
        self._listener = None

    async def wait_closed(self) -> None:
        """Be closed, which takes no time here."""

    def connect(self, peer: Peer) -> Line:
        """Connect a window's end. Raises `ConnectionRefusedError` if nobody listens."""
        if not self._listener:
            raise ConnectionRefusedError
        line = Line(self, next(self._ports))
        line.open(self._listener(), peer)
        return line


class WebSocket:
    """The browser's end of a WebSocket. The page's own `WebSocket` object only shows it.

    It tells the page of `cookies` (lines, path), `open` (protocol), `message` (data), `fail`
    (status, or None where nobody answered) and `close` (code, reason, clean), and notes what is on
    the line, `in` to the server or `out` of it.
    """

    def __init__(
        self,
        network: Network,
        path: str,
        protocols: list[str],
        headers: dict[str, str],
        tell: Callable[[dict[str, Any]], None],
        note: Callable[[str, str], None],
    ) -> None:
        self._tell = tell
        self._note = note
        self._wanted = [Subprotocol(name) for name in protocols]
        self._protocol = ClientProtocol(
            parse_uri(f"ws://{HOST}{path}"),
            origin=Origin(f"http://{HOST}"),
            subprotocols=self._wanted or None,
            max_size=None,
        )
        self._failed = self._left = False
        self.line = network.connect(self)
        request = self._protocol.connect()
        request.headers.update(headers)
        self._protocol.send_request(request)
        self._flush()

    def send(self, data: str | bytes) -> None:
        """Send a text or a binary frame."""
        if self._protocol.state is not State.OPEN:
            return  # the server has said goodbye, and the page is about to learn it
        if isinstance(data, str):
            self._protocol.send_text(data.encode())
        else:
            self._protocol.send_binary(data)
        self._note("in", shown(data))
        self._flush()

    def close(self, code: int | None, reason: str) -> None:
        """Start the closing handshake, or give up on a handshake that is not answered yet."""
        if self._protocol.state is State.CONNECTING:
            self.line.hang_up()
        # Not if the server was first: its code counts.
        elif self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._note("in", f"close {code or ''} {reason}".rstrip())
            self._flush()

    def leave(self) -> None:
        """Close because the page goes away."""
        self.close(CloseCode.GOING_AWAY, "")
        self._left = True
        self.line.take_all()

    def received(self, data: bytes) -> int:
        """Take bytes from the line."""
        self._protocol.receive_data(data)
        messages = sum(map(self._take, self._protocol.events_received()))
        self._flush()
        return 0 if self._left else messages

    def lost(self) -> None:
        """Tell the page how it ended."""
        connecting = self._protocol.state is State.CONNECTING
        self._protocol.receive_eof()
        close = self._protocol.close_rcvd
        if self._failed:
            return
        if connecting:
            self._fail(None)
        elif close:
            # What was received has been answered: the closing handshake is complete.
            how = {"code": close.code, "reason": close.reason, "clean": True}
            self._tell({"type": "close", **how})
        else:
            self._note("out", "lost, without a close frame")
            self._tell({"type": "close", "code": 1006, "reason": "", "clean": False})

    def _take(self, event: object) -> bool:
        """Handle an event; return whether it was a whole message."""
        # Also where it is refused: browsers keep them then, too.
        if isinstance(event, Response) and (lines := event.headers.get_all("Set-Cookie")):
            self._tell({"type": "cookies", "lines": lines, "path": self._protocol.uri.path})
        match event:
            case Response(status_code=101) if self._is_refused():
                self._fail(101)
                self.line.cut()
            case Response(status_code=101):
                self._tell({"type": "open", "protocol": self._protocol.subprotocol or ""})
            case Response(status_code=status):
                self._fail(status)
            case Frame(opcode=Opcode.CLOSE):
                close = Close.parse(bytes(event.data))
                self._note("out", f"close {close.code:d} {close.reason}".rstrip())
            case Frame(opcode=Opcode.PING | Opcode.PONG as opcode, data=data):
                self._note("out", f"{opcode.name.lower()} {len(data)} B")
            case Frame(opcode=opcode, data=data):
                # One frame: uvicorn does not cut messages into several.
                message = bytes(data).decode() if opcode is Opcode.TEXT else bytes(data)
                self._note("out", shown(message))
                self._tell({"type": "message", "data": message})
                return True
        return False

    def _is_refused(self) -> bool:
        """Whether a browser does not take what the server has accepted: its subprotocol."""
        answered = self._protocol.subprotocol is not None
        return self._protocol.handshake_exc is not None or (bool(self._wanted) and not answered)

    def _fail(self, status: int | None) -> None:
        self._failed = True
        self._tell({"type": "fail", "status": status})

    def _flush(self) -> None:
        # What is empty stands for the end of the stream, which a browser leaves to the server.
        for data in self._protocol.data_to_send():
            self.line.carry(data)


def shown(data: str | bytes) -> str:
    """Return a frame's kind, its size and the beginning of what is in it."""
    if isinstance(data, str):
        content = json.dumps(data[:160], ensure_ascii=False) + "…" * (len(data) > 160)
        return f"text {len(data.encode())} B {content}"
    return f"binary {len(data)} B {data[:40].hex(' ')}" + "…" * (len(data) > 40)


class Request:
    """One HTTP request of a browser, and the answer to it."""

    def __init__(self, network: Network) -> None:
        self._conn = h11.Connection(h11.CLIENT)
        self._head: h11.Response | None = None
        self._body = b""
        self._whole: asyncio.Future[h11.Response] = asyncio.get_running_loop().create_future()
        self.line = network.connect(self)

    async def answer(
        self, method: str, path: str, headers: list[tuple[str, str]], body: bytes
    ) -> tuple[int, str, list[tuple[str, str]], bytes]:
        """Send it; return status, its reason phrase, headers and body.

        Raises `ConnectionResetError` if the line ends before the answer does.
        """
        own = [("host", HOST), ("connection", "keep-alive")]
        if body or method in ("POST", "PUT"):
            own.append(("content-length", str(len(body))))
        sent = [(name.encode(), value.encode("latin-1")) for name, value in [*own, *headers]]
        request = h11.Request(method=method, target=path, headers=sent)
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            self.line.carry(self._conn.send(event) or b"")
        head = await self._whole
        self.line.hang_up()
        pairs = [(name.decode(), value.decode("latin-1")) for name, value in head.headers]
        return head.status_code, head.reason.decode("latin-1"), pairs, self._body

    def abort(self) -> None:
        """Give it up: nobody waits for the answer any more."""
        self.line.hang_up()

    def received(self, data: bytes) -> int:
        """Take bytes from the line."""
        self._conn.receive_data(data)
        self._read()
        return 0

    def lost(self) -> None:
        """Take the end of the line for the end of the answer, if it may be that."""
        with suppress(h11.RemoteProtocolError):
            self._conn.receive_data(b"")
            self._read()
        if not self._whole.done():
            self._whole.set_exception(ConnectionResetError("the line ended before the answer"))

    def _read(self) -> None:
        while (event := self._conn.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            match event:
                case h11.Response():
                    self._head = event
                case h11.Data(data=data):
                    self._body += data
                case h11.EndOfMessage() if self._head:
                    self._whole.set_result(self._head)
                case h11.ConnectionClosed():
                    return
