"""`python -m deployments.sandbox.service --artifact FOLDER`: the sample shop as a small web service on loopback.

It serves the code of one artifact, a checkout of the sample with a file `REVISION`. A checkout that cannot be imported
does not come up. Needs nothing but the standard library, so that it starts quickly.
"""

import argparse
import ctypes
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

PR_SET_PDEATHSIG = 1  # linux/prctl.h

Quote = Callable[[list[int], int], dict[str, int]]


class Shop(ThreadingHTTPServer):
    """The server: `GET /health`, and `GET /quote?prices=1000,500&percent=20` in cents."""

    daemon_threads = True

    def __init__(self, artifact: Path, port: int) -> None:
        """Raises whatever importing the artifact's code raises, and `OSError` for a port that is taken."""
        self.revision = (artifact / "REVISION").read_text().strip()
        self.quote = load(artifact)
        super().__init__(("127.0.0.1", port), Answer)

    def server_bind(self) -> None:
        """Bind without asking for the host's name, as the standard library's HTTP server would: that may be slow."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]


class Answer(BaseHTTPRequestHandler):
    """One request. Every answer is JSON and names the revision."""

    server: Shop

    def do_GET(self) -> None:
        """Answer `/health` and `/quote`; 400 for a question that cannot be understood, 500 where the code fails."""
        asked = urlsplit(self.path)
        if asked.path == "/health":
            self._say(200, {"status": "ok"})
        elif asked.path == "/quote":
            self._quote(parse_qs(asked.query))
        else:
            self._say(404, {"error": f"There is no {asked.path}; ask for /health or /quote."})

    def _quote(self, asked: dict[str, list[str]]) -> None:
        try:
            prices = [int(each) for each in asked["prices"][0].split(",")]
            percent = int(asked.get("percent", ["0"])[0])
        except (KeyError, ValueError):
            self._say(400, {"error": "Say prices=1000,500 in cents and, if any, percent=20."})
            return
        try:
            self._say(200, {**self.server.quote(prices, percent)})
        except ValueError as error:
            self._say(400, {"error": str(error)})
        except Exception as error:  # noqa: BLE001  the code that is served may fail in any way, and the service goes on
            self._say(500, {"error": f"{type(error).__name__}: {error}"})

    def _say(self, status: int, fields: dict[str, object]) -> None:
        body = json.dumps(fields | {"revision": self.server.revision}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def load(artifact: Path) -> Quote:
    """How the code in `artifact` computes a quote; raises whatever importing it raises."""
    sys.path.insert(0, str(artifact))
    total = importlib.import_module("shop.pricing").total
    shipping = importlib.import_module("shop.shipping").shipping

    def quote(prices: list[int], percent: int) -> dict[str, int]:
        goods = total(prices, percent)
        parcel = shipping(goods)
        return {"goods": goods, "shipping": parcel, "total": goods + parcel}

    return quote


def die_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` ends, and end at once when it already has (Linux only)."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(1)


def main(arguments: list[str] | None = None) -> None:
    """Serve until killed, printing one JSON line once it listens; ends with 1 when the artifact cannot be served."""
    parser = argparse.ArgumentParser(prog="python -m deployments.sandbox.service", description=__doc__)
    parser.add_argument("--artifact", type=Path, required=True, help="folder with the checkout and its REVISION")
    parser.add_argument("--port", type=int, default=0, help="port on the loopback interface (0: any free one)")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="process to die with (default: the caller)")
    given = parser.parse_args(arguments)
    die_with(given.parent)
    with Shop(given.artifact, given.port) as shop:
        sys.stdout.write(json.dumps({"port": shop.server_port, "revision": shop.revision}) + "\n")
        sys.stdout.flush()
        shop.serve_forever()


if __name__ == "__main__":
    main()
