"""A real HTTP server with the answers a test asks for or with recorded ones; a real remote of git; a sandbox without CI."""

import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.running import running_sandbox
from pipeline.clients.gitea import GiteaClient
from pipeline.clients.workspace import GitWorkspace
from pipeline.projects import Project
from tests.pipeline.clients.origin import Origin

CAPTURES = Path(__file__).parents[2] / "captures"


@dataclass(frozen=True)
class Call:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """An answer to be given; `body` is JSON unless it is text already."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Replay:
    """Answers by method and path, in the order given; the last one stays. Anything else is a plain 404."""

    url: str
    calls: list[Call] = field(default_factory=list)
    replies: dict[tuple[str, str], deque[Reply]] = field(default_factory=dict)

    def on(self, method: str, path: str, status: int, body: Any = None, **headers: str) -> None:
        """Answer `method path` (compared without its query, unless one is given) like this."""
        self.replies.setdefault((method, path), deque()).append(Reply(status, body, headers))

    def recorded(self, name: str) -> dict[str, Any]:
        """Answer as the recording `name` does, and return the recording."""
        recording: dict[str, Any] = json.loads((CAPTURES / f"{name}.json").read_text())
        request, body = recording["request"], recording["json"]
        headers = {k: v for k, v in recording["headers"].items() if k.lower() in ("retry-after", "content-type")}
        text = recording.get("text", "") if body is None else body
        self.on(request["method"], request["path"].partition("?")[0], recording["status"], text, **headers)
        return recording

    def answer(self, call: Call) -> Reply:
        """The next answer for this call."""
        self.calls.append(call)
        replies = self.replies.get((call.method, call.path))
        replies = replies or self.replies.get((call.method, call.path.partition("?")[0]))
        if not replies:
            return Reply(404, "404 page not found\n", {"Content-Type": "text/plain"})
        return replies.popleft() if len(replies) > 1 else replies[0]

    def made(self) -> list[tuple[str, str]]:
        """Method and path of the calls so far, without queries."""
        return [(call.method, call.path.partition("?")[0]) for call in self.calls]


def _handler(replay: Callable[[], Replay]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.loads(raw) if raw else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = replay().answer(Call(self.command, self.path, headers, body))
            text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
            content = b"" if reply.body is None else text.encode()
            self.send_response(reply.status)
            for name, value in ({"Content-Type": "application/json"} | reply.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  the names that http.server calls

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


@pytest.fixture
def replay() -> Iterator[Replay]:
    """A running server; `replay.url` is its address."""
    current: list[Replay] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(lambda: current[0]))
    server.daemon_threads = True
    current.append(Replay(f"http://127.0.0.1:{server.server_port}"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield current[0]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def project() -> Project:
    """The project that the recordings are about."""
    return Project(
        key="WID",
        plane_project=UUID("581ad294-072b-42fc-80a9-52449faee928"),
        repository="acme/widgets",
        test_command=("true",),
    )


@pytest.fixture
async def gitea(replay: Replay) -> AsyncIterator[GiteaClient]:
    """Orch's client of the replayed Gitea."""
    async with GiteaClient(replay.url, SecretStr("t0ken")) as client:
        yield client


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    """The remote, with one commit."""
    origin = Origin(tmp_path)
    origin.create()
    return origin


@pytest.fixture
def workspace(origin: Origin) -> GitWorkspace:
    """Orch's workspace on the remote, fetched."""
    workspace = origin.workspace()
    workspace.fetch()
    return workspace


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxClient]:
    """A sandbox for the tests of a file; no CI says anything there."""
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as client:
        client.ci("off")
        yield client


@pytest.fixture
def shop(sandbox: SandboxClient) -> Project:
    """The sandbox's own project."""
    plane_project = UUID(sandbox.state().project("SHOP").id)
    return Project(key="SHOP", plane_project=plane_project, repository="acme/shop", test_command=("true",))
