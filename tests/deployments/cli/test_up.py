"""`orch up` where something that it needs is not as it should be: a sentence that says what to do, and nothing runs."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments import cli
from deployments.free_ports import free_ports

SETTINGS = {
    "PROJECTS_JSON": '[{"key": "SHOP", "plane_project": "p", "repository": "acme/shop", "test_command": ["true"]}]',
    "PLANE_URL": "http://plane",
    "PLANE_WORKSPACE": "acme",
    "PLANE_TOKEN": "t",
    "PLANE_WEBHOOK_SECRET": "s",
    "GITEA_URL": "http://gitea",
    "GITEA_TOKEN": "t",
    "GITEA_WEBHOOK_SECRET": "s",
    "AGENT_COMMAND": "true",
}

Answer = Callable[[str], int]
Foreign = Callable[[Answer], str]


@pytest.fixture(autouse=True)
def all_set(nothing_set: None, monkeypatch: pytest.MonkeyPatch) -> None:
    port, prefect_port = free_ports(2)
    for name, value in (SETTINGS | {"PORT": str(port), "PREFECT_PORT": str(prefect_port)}).items():
        monkeypatch.setenv(f"ORCH_{name}", value)


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    """Starts a server that answers each path of what claims to be Prefect's API with a status; its address."""
    servers = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = b'"3.8.8"'
                self.send_response(answer(self.path))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/api"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def refusal(*words: str) -> str:
    result = CliRunner().invoke(cli.app, words or ("up",))
    assert isinstance(result.exception, SystemExit), result.exception
    assert (result.exit_code, result.stdout) == (1, "")
    return result.stderr


@pytest.mark.parametrize("words", [("up",), ("status",), ("status", "--json"), ("approve", "SHOP-1")])
def test_a_database_that_does_not_answer_is_named_without_its_password(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCH_DATABASE_URL", "postgresql+psycopg://orch:s3cret@127.0.0.1:1/orch?passfile=s3cret")
    said = refusal(*words)
    assert said.startswith("orch: Orch's database at postgresql+psycopg://orch:***@127.0.0.1:1/orch does not answer: ")
    assert said.endswith("Start it, or correct ORCH_DATABASE_URL.\n")
    assert "s3cret" not in said


@pytest.mark.parametrize("words", [("up",), ("status",), ("approve", "SHOP-1")])
def test_a_file_that_is_no_database_is_named(words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "orch").mkdir()
    (tmp_path / "orch" / "orch.db").write_bytes(b"not a database, " * 100)
    said = refusal(*words)
    assert f"What is at sqlite:///{tmp_path}/orch/orch.db cannot be read as a database" in said
    assert "Put a backup in its place, or correct ORCH_STATE_DIR" in said


@pytest.mark.parametrize("words", [("up",), ("status",)])
def test_an_address_that_is_none_is_said_to_be_none(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_DATABASE_URL", "postgresql+psycopg//orch:s3cret@host/orch")
    said = refusal(*words)
    assert said.startswith(
        "orch: ORCH_DATABASE_URL is not the address of a database; that is sqlite:////folder/orch.db"
    )
    assert "s3cret" not in said


def test_a_prefect_server_that_wants_a_secret_is_told_apart(foreign: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", foreign(lambda path: 200 if path == "/api/health" else 401))
    assert "(PREFECT_API_URL) answers 401: set PREFECT_API_AUTH_STRING" in refusal()
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "without-a-colon")
    assert "(PREFECT_API_URL) answers 401: set PREFECT_API_AUTH_STRING" in refusal()


def test_a_prefect_server_that_answers_nothing_but_errors_is_not_waited_for(
    foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.stack.THEIRS_WITHIN_S", 0.5)
    monkeypatch.setenv("PREFECT_API_URL", foreign(lambda _: 500))
    assert "(PREFECT_API_URL) answers nothing but errors: see its log" in refusal()


def test_a_prefect_server_that_fails_during_the_registration_is_named_with_the_call(
    foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = foreign(lambda path: 200 if path in ("/api/health", "/api/admin/version") else 500)
    monkeypatch.setenv("PREFECT_API_URL", url)
    said = refusal()
    assert f"The Prefect server at {url} answered 500 to GET /api/block_types/" in said
    assert "see its log" in said


def test_an_address_of_prefect_that_is_none_is_said_to_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:port/api")
    assert "PREFECT_API_URL is not an address: http://127.0.0.1:port/api" in refusal()
