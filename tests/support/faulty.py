"""A real HTTP server that misbehaves as a script says, alone or in front of another server.

    with faulty_server([answer(500), hang(), cut(b'{"a": 1}')]) as server:
        ...  # server.url is its address, server.requests what came

Each request takes the next step of the script; the last step is for every request after it. A step is a `Fault`, or a
function from the request to one where the answer depends on what was asked.

With `behind` the server stands in front of another one. `passed()` hands a request on and its answer back;
`passed(then=...)` hands it on and answers with the fault: the thing was done, and nobody was told. When the script is
over every request is passed.
"""

import http.client
import json
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedIOBase
from typing import Any
from urllib.parse import urlsplit

Send = Callable[["Connection"], None]


@dataclass(frozen=True)
class Request:
    """A request as it came in; header names are in lower case. `path` has its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Fault:
    """What happens to one request; with `passing` the server behind sees it first."""

    send: Send | None
    passing: bool = False


Step = Fault | Callable[[Request], Fault]


@dataclass
class Connection:
    """A client's connection, to be written to as the fault wants."""

    peer: socket.socket
    closing: threading.Event

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Write the status line and the headers, and nothing more."""
        reason = http.client.responses.get(status, "Unknown")
        lines = [f"HTTP/1.1 {status} {reason}", "Connection: close", *(f"{k}: {v}" for k, v in headers.items())]
        self.peer.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def reset(self) -> None:
        """End the connection with a TCP reset instead of a clean close."""
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.peer.close()


@dataclass
class FaultyServer:
    """A running server."""

    url: str
    script: list[Step]
    behind: str | None
    requests: list[Request] = field(default_factory=list)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def next(self, request: Request) -> Fault:
        """Note the request and take the script's step for it."""
        with self._turn:
            number = len(self.requests)
            self.requests.append(request)
        if number >= len(self.script) and self.behind is not None:
            return passed()
        step = self.script[min(number, len(self.script) - 1)]
        return step if isinstance(step, Fault) else step(request)

    @property
    def made(self) -> list[tuple[str, str]]:
        """Method and path of the requests so far, without queries."""
        return [(one.method, one.path.partition("?")[0]) for one in self.requests]


# --- faults


def answer(status: int, body: object = None, headers: Mapping[str, str] | None = None) -> Fault:
    """A whole answer. `body` is sent as it is when it is text or bytes, as nothing when it is None, else as JSON."""
    content = _content(body)
    named = {"Content-Type": _type(body), "Content-Length": str(len(content))} | dict(headers or {})

    def send(connection: Connection) -> None:
        connection.head(status, named)
        connection.peer.sendall(content)

    return Fault(send)


def page(status: int = 200, html: str = "<html><body>Log in</body></html>") -> Fault:
    """An HTML page, as of a proxy, a log-in or a crashed server."""
    return answer(status, html)


def redirect(to: str, status: int = 301) -> Fault:
    """Another address is named instead of an answer."""
    return answer(status, None, {"Location": to})


def hang() -> Fault:
    """The request is taken and never answered."""
    return Fault(_wait)


def drip(body: object, *, pause_s: float = 0.05) -> Fault:
    """A good answer that comes one byte at a time, so that no single read ever times out."""
    content = _content(body)

    def send(connection: Connection) -> None:
        connection.head(200, {"Content-Type": _type(body), "Content-Length": str(len(content))})
        for number in range(len(content)):
            if connection.closing.wait(pause_s):
                return
            connection.peer.sendall(content[number : number + 1])

    return Fault(send)


def cut(body: object, *, status: int = 200) -> Fault:
    """Half of the body, then a TCP reset."""
    content = _content(body)

    def send(connection: Connection) -> None:
        connection.head(status, {"Content-Type": _type(body), "Content-Length": str(len(content))})
        connection.peer.sendall(content[: len(content) // 2])
        time.sleep(0.02)  # a reset that overtakes the bytes would look like a refused connection
        connection.reset()

    return Fault(send)


def drop() -> Fault:
    """A TCP reset before any answer."""
    return Fault(Connection.reset)


def gigantic(size: int = 1 << 30, *, opening: bytes = b'{"results": "', status: int = 200) -> Fault:
    """A body of `size` bytes that starts as JSON; it says no length, so that only reading it tells."""

    def send(connection: Connection) -> None:
        connection.head(status, {"Content-Type": "application/json"})
        connection.peer.sendall(opening)
        block, left = b"x" * 65536, size
        while left > 0 and not connection.closing.is_set():
            connection.peer.sendall(block)
            left -= len(block)

    return Fault(send)


def wrong_length(body: object, *, says: int) -> Fault:
    """A body whose `Content-Length` says something else; the connection is closed cleanly after it."""
    return answer(200, body, {"Content-Length": str(says)})


def garbage(raw: bytes = b"\x16\x03\x01 this is no HTTP\r\n\r\n") -> Fault:
    """Bytes that are not HTTP at all."""
    return Fault(lambda connection: connection.peer.sendall(raw))


def passed(then: Fault | None = None) -> Fault:
    """The server behind answers; with `then` it does what was asked, and the client is given `then` instead."""
    return Fault(then.send if then else None, passing=True)


# --- the server


@contextmanager
def faulty_server(script: Sequence[Step] = (), *, behind: str | None = None) -> Iterator[FaultyServer]:
    """A server on a free loopback port for as long as the context lasts; whatever still hangs is let go at its end."""
    assert script or behind, "a faulty server needs a script, or a server behind it"
    closing = threading.Event()
    running: list[FaultyServer] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):
                request = _read(self.rfile)
                if request is not None:
                    _serve(running[0], request, Connection(self.request, closing))

    with _Listener(("127.0.0.1", 0), Handler) as listener:
        host, port = listener.server_address[:2]
        running.append(FaultyServer(f"http://{host!s}:{port}", list(script), behind))
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield running[0]
        finally:
            closing.set()
            listener.shutdown()
            thread.join()


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def shutdown_request(self, request: Any) -> None:
        with suppress(OSError):  # a connection that was reset is closed already
            request.shutdown(socket.SHUT_WR)
        self.close_request(request)


def _serve(server: FaultyServer, request: Request, connection: Connection) -> None:
    fault = server.next(request)
    if fault.passing:
        given = _forward(server.behind or "", request)
        (fault.send or given)(connection)
    elif fault.send is not None:
        fault.send(connection)


def _forward(behind: str, request: Request) -> Send:
    """Have the server behind do it; what it answered."""
    target = urlsplit(behind)
    onward = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
    headers = {k: v for k, v in request.headers.items() if k not in ("connection", "content-length")}
    try:
        onward.request(request.method, target.path + request.path, body=request.body or None, headers=headers)
        given = onward.getresponse()
        content = given.read()
    finally:
        onward.close()
    kept = {k: v for k, v in given.getheaders() if k.lower() not in ("connection", "transfer-encoding", "date")}

    def send(connection: Connection) -> None:
        connection.head(given.status, kept | {"Content-Length": str(len(content))})
        connection.peer.sendall(content)

    return send


def _read(stream: BufferedIOBase) -> Request | None:
    """The request that comes in; None when the connection ends without one."""
    first = stream.readline().split()
    if len(first) != 3:
        return None
    headers = {name.lower(): value for name, value in http.client.parse_headers(stream).items()}
    chunked = headers.pop("transfer-encoding", "") == "chunked"
    body = _chunks(stream) if chunked else stream.read(int(headers.get("content-length", 0)))
    return Request(first[0].decode(), first[1].decode(), headers, body)


def _chunks(stream: BufferedIOBase) -> bytes:
    parts = []
    while size := int(stream.readline().split(b";")[0], 16):
        parts.append(stream.read(size))
        stream.readline()
    stream.readline()
    return b"".join(parts)


def _wait(connection: Connection) -> None:
    """Until the client goes away or the server is closed."""
    connection.peer.settimeout(0.02)
    while not connection.closing.is_set():
        with suppress(TimeoutError):
            if not connection.peer.recv(1):
                return


def _content(body: object) -> bytes:
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()


def _type(body: object) -> str:
    return "text/html; charset=utf-8" if isinstance(body, str) else "application/json"
