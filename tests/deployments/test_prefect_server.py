import importlib.metadata
import os
import socket
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from prefect.client.orchestration import PrefectClient

from deployments.prefect_server import (
    PrefectServer,
    auth_string,
    check_versions,
    client_environment,
    require_free_port,
    wait_until_healthy,
)
from pipeline.errors import CouldNotRun, Refused, SettingsError

GOOD = {"prefect": "3.8.8", "fastapi": "0.139.0", "sqlalchemy": "2.0.58"}


def versions(**other: str) -> Callable[[str], str]:
    return (GOOD | other).__getitem__


def test_the_installed_versions_are_good():
    check_versions()


@pytest.mark.parametrize(
    ("installed", "sentence"),
    [
        ({"prefect": "3.9.1"}, "Prefect 3.9.1 is installed, Orch needs 3.8.x; install Orch with its constraints.txt"),
        ({"prefect": "2.20.0"}, "Prefect 2.20.0 is installed"),
        ({"fastapi": "0.154.0"}, "FastAPI 0.154.0 is installed, with which Prefect 3.8 breaks"),
        ({"fastapi": "1.0"}, "FastAPI 1.0 is installed"),
        ({"sqlalchemy": "2.1.9"}, "schedules never run"),
    ],
)
def test_a_version_that_is_known_to_break_is_refused_in_one_sentence(installed: dict[str, str], sentence: str):
    with pytest.raises(SettingsError, match=sentence):
        check_versions(versions(**installed))


def test_a_missing_package_is_named():
    def nothing(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    with pytest.raises(SettingsError, match="prefect is not installed"):
        check_versions(nothing)


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path):
    path = tmp_path / "state" / "auth"
    secret = auth_string(path)
    assert auth_string(path) == secret
    assert secret.startswith("orch:")
    assert len(secret) > 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_processes_that_start_at_once_get_the_same_secret(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(auth_string, [tmp_path / "auth"] * 32))) == 1


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path):
    path = tmp_path / "auth"
    auth_string(path)
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="can be read by other users; delete it"):
        auth_string(path)


def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path):
    path = tmp_path / "auth"
    path.touch(0o600)
    with pytest.raises(SettingsError, match="does not hold"):
        auth_string(path)


def test_a_taken_port_is_named_together_with_the_setting(free_port: int):
    require_free_port(free_port, "ORCH_PREFECT_PORT")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        with pytest.raises(SettingsError, match=f"Port {free_port} .* taken .* set ORCH_PREFECT_PORT"):
            require_free_port(free_port, "ORCH_PREFECT_PORT")


def test_the_server_gets_none_of_orchs_secrets_and_no_other_servers_address(tmp_path: Path):
    server = PrefectServer(tmp_path, 4200, "orch:secret")
    environment = server.environment(
        {
            "PATH": "/bin",
            "ORCH_PLANE_TOKEN": "plane",
            "AWS_SECRET_ACCESS_KEY": "cloud",
            "PREFECT_API_URL": "https://elsewhere/api",
            "PREFECT_API_KEY": "key",
            "PREFECT_PROFILE": "work",
            "PREFECT_SERVER_LOGGING_LEVEL": "DEBUG",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        }
    )
    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert environment["PREFECT_SERVER_API_AUTH_STRING"] == "orch:secret"
    assert environment["PREFECT_SERVER_LOGGING_LEVEL"] == "DEBUG"
    assert environment["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"] == "prefect_redis.lease_storage"
    assert environment["PREFECT_API_DATABASE_CONNECTION_URL"] == f"sqlite+aiosqlite:///{tmp_path}/prefect.db"
    assert environment.keys().isdisjoint(
        {"ORCH_PLANE_TOKEN", "AWS_SECRET_ACCESS_KEY", "PREFECT_API_KEY", "PREFECT_PROFILE"}
    )


def test_held_locks_survive_a_restart_because_leases_are_files(tmp_path: Path):
    environment = PrefectServer(tmp_path, 4200, "orch:secret").environment({})
    assert environment["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"].endswith(".filesystem")
    assert environment["PREFECT_HOME"] == str(tmp_path)


def test_clients_keep_to_their_server_and_may_poll_at_the_operators_pace(tmp_path: Path):
    environment = client_environment(
        "http://prefect/api", "orch:secret", tmp_path, {"PREFECT_WORKER_QUERY_SECONDS": "5", "PREFECT_PROFILE": "work"}
    )
    assert environment["PREFECT_API_URL"] == "http://prefect/api"
    assert environment["PREFECT_API_AUTH_STRING"] == "orch:secret"
    assert environment["PREFECT_WORKER_QUERY_SECONDS"] == "5"
    assert "PREFECT_PROFILE" not in environment


async def test_a_healthy_server_lets_only_those_in_who_know_the_secret(
    client: PrefectClient, prefect_server: PrefectServer
):
    await prefect_server.wait_until_healthy()
    assert (await client.read_flows()) is not None
    async with httpx.AsyncClient() as anonymous:
        response = await anonymous.post(f"{prefect_server.url}/flows/filter")
        page = await anonymous.get(prefect_server.ui_url)
    assert response.status_code == 401
    assert (page.status_code, "<html" in page.text.lower()) == (200, True)


async def test_another_servers_secret_is_said_at_once(client: PrefectClient, prefect_server: PrefectServer):
    with pytest.raises(Refused, match="does not take Orch's secret") as refusal:
        await wait_until_healthy(prefect_server.url, "orch:wrong")
    assert "orch:wrong" not in str(refusal.value)


async def test_a_server_of_another_version_is_refused(free_port: int):
    class Old(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'"2.20.1"')

        def log_message(self, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", free_port), Old) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(CouldNotRun, match=r"is Prefect '2.20.1'"):
            await wait_until_healthy(f"http://127.0.0.1:{free_port}/api", "orch:secret")
        server.shutdown()


def test_the_servers_files_are_in_its_home(prefect_server: PrefectServer, client: PrefectClient):
    assert prefect_server.database_url is not None or (prefect_server.home / "prefect.db").is_file()
    assert os.access(prefect_server.home / "auth", os.R_OK)
