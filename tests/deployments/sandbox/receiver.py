"""A webhook receiver that remembers what it was sent, headers and raw bytes, for the sandbox's own tests."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.raw)
        return body

    def header(self, name: str) -> str:
        return next(value for key, value in self.headers.items() if key.lower() == name.lower())


class Receiver:
    """Answers each POST with the next of `answers` (200 when there is none left)."""

    def __init__(self) -> None:
        self.got: list[Received] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append(Received(dict(self.headers.items()), raw))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Tests read what came, not a log."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait(self, seen: Callable[[Received], object], *, timeout: float = 15) -> Received:
        """The first delivery that `seen` accepts, waited for."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for one in list(self.got):
                if seen(one):
                    return one
            time.sleep(0.02)
        raise TimeoutError(f"Not received; came: {[one.headers for one in self.got]}")

    def wait_count(self, n: int, *, timeout: float = 15) -> list[Received]:
        """The first `n` deliveries, waited for."""
        self.wait(lambda _: len(self.got) >= n, timeout=timeout)
        return self.got[:n]
