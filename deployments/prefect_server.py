"""How Orch starts its own Prefect server and workers: commands, environments, secret, health.

Nothing here imports Prefect: `check_versions` must be able to speak before a broken installation does.
"""

import asyncio
import base64
import errno
import importlib.metadata
import os
import re
import secrets
import socket
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from pipeline.errors import CouldNotRun, Refused, SettingsError

HOST = "127.0.0.1"
"""The server is for this machine only; whoever exposes it puts a proxy in front."""

PREFECT_VERSION = (3, 8)
FASTAPI_BROKEN_FROM = (0, 154)
"""Measured: with FastAPI 0.154 `prefect deploy` of Prefect 3.8.8 gets a 422; from 0.155 its server does not import."""

SQLALCHEMY_BROKEN_FROM = (2, 1)
"""Measured: with SQLAlchemy 2.1 the scheduler of Prefect 3.8.8 raises at every loop, so that no schedule ever runs."""

REMEDY = "install Orch with its constraints.txt (pip install -c constraints.txt)."

USER = "orch"
"""The name part of the server's basic authentication; any name would do, Prefect compares the whole string."""

INHERITED = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TERM|TZ|TMPDIR|LANG|LANGUAGE|LC_.*|VIRTUAL_ENV|PYTHON(PATH|WARNINGS|UTF8)"
    r"|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|(HTTP|HTTPS|NO|ALL)_PROXY|(http|https|no|all)_proxy|XDG_.*",
)
"""What the server takes over from the environment that Orch was started in."""

TUNED = re.compile(r"PREFECT_(SERVER|LOGGING|REDIS|WORKER|FLOWS|TASKS|CLIENT|RESULTS|DEBUG|TEST|EVENTS)_.*")
"""The operator's own Prefect settings, which win over the defaults below. Which server, which profile and which secret
are not among them: a developer's PREFECT_API_URL or PREFECT_PROFILE must not lead Orch to another server."""

QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}

SERVER_DEFAULTS = {
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_CONCURRENCY_MAXIMUM_CONCURRENCY_SLOT_WAIT_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_UI_ENABLED": "true",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}
"""The lease storage is the one that matters: in memory (Prefect's default) a restarted server leaks held merge locks."""

CLIENT_DEFAULTS = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_WORKER_PREFETCH_SECONDS": "2",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
}
"""A prefetched run holds a slot of its pool until it is due, hence 2 seconds rather than Prefect's 10."""

HEALTH_POLL_S = 0.1


def check_versions(installed: Callable[[str], str] = importlib.metadata.version) -> None:
    """Raise `SettingsError` where the installed Prefect or FastAPI is known not to work. Call it before anything else.

    `installed` answers a distribution's version and raises `PackageNotFoundError` where there is none.
    """
    prefect = _installed("prefect", installed)
    if _major_minor(prefect) != PREFECT_VERSION:
        raise SettingsError(f"Prefect {prefect} is installed, Orch needs 3.8.x; {REMEDY}")
    fastapi = _installed("fastapi", installed)
    if _major_minor(fastapi) >= FASTAPI_BROKEN_FROM:
        raise SettingsError(f"FastAPI {fastapi} is installed, with which Prefect 3.8 breaks; {REMEDY}")
    sqlalchemy = _installed("sqlalchemy", installed)
    if _major_minor(sqlalchemy) >= SQLALCHEMY_BROKEN_FROM:
        raise SettingsError(f"SQLAlchemy {sqlalchemy} is installed, with which Prefect's schedules never run; {REMEDY}")


def require_free_port(port: int, setting: str) -> None:
    """Raise `SettingsError` naming `setting` when another program listens on `port` of the loopback interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            reason = "is taken by another program" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
            raise SettingsError(
                f"Port {port} on {HOST} {reason}. Stop that program, or set {setting} to a free port."
            ) from error


def auth_string(secret_file: Path) -> str:
    """The server's secret as `user:password`: read from `secret_file`, which is made (mode 0600) when it is missing.

    Idempotent, and safe when two processes start at once: both get the same secret. Raises `SettingsError` when the
    file can be read by others or does not hold such a string.
    """
    try:
        return _read_secret(secret_file)
    except FileNotFoundError:
        _write_secret(secret_file, f"{USER}:{secrets.token_urlsafe(32)}")
        return _read_secret(secret_file)


@dataclass(frozen=True, slots=True)
class PrefectServer:
    """Orch's own Prefect server, as it is started and as it is reached.

    `home` is Prefect's folder (database, leases, results); `auth` is the string of `auth_string`, which a person also
    types into the UI's login dialog. `database_url` is SQLAlchemy's address of Prefect's own database, SQLite in `home`
    by default.
    """

    home: Path
    port: int
    auth: str
    database_url: str | None = None

    @property
    def url(self) -> str:
        """Address of the API, without a slash at the end."""
        return f"http://{HOST}:{self.port}/api"

    @property
    def ui_url(self) -> str:
        """Where a person looks at runs."""
        return f"http://{HOST}:{self.port}"

    @property
    def command(self) -> tuple[str, ...]:
        """The argument list of the server's process."""
        return (
            *(sys.executable, "-m", "deployments.prefect_main"),
            *("server", "start", "--host", HOST, "--port", str(self.port)),
        )

    def environment(self, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The whole environment of the server's process; none of Orch's own settings or secrets reach it."""
        database = self.database_url or f"sqlite+aiosqlite:///{self.home / 'prefect.db'}"
        return (
            {name: value for name, value in inherited.items() if INHERITED.fullmatch(name)}
            | SERVER_DEFAULTS
            | {name: value for name, value in inherited.items() if TUNED.fullmatch(name)}
            | QUIET
            | {
                "PREFECT_HOME": str(self.home),
                "PREFECT_API_URL": self.url,
                "PREFECT_SERVER_API_HOST": HOST,
                "PREFECT_SERVER_API_PORT": str(self.port),
                "PREFECT_SERVER_API_AUTH_STRING": self.auth,
                "PREFECT_API_DATABASE_CONNECTION_URL": database,
                "PYTHONUNBUFFERED": "1",
            }
        )

    def client_environment(self) -> dict[str, str]:
        """What a process needs to talk to this server; to be laid over the environment it gets otherwise."""
        return client_environment(self.url, self.auth, self.home)

    async def wait_until_healthy(self) -> None:
        """See `wait_until_healthy`."""
        await wait_until_healthy(self.url, self.auth)


def client_environment(url: str, auth: str, home: Path, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a worker, the receiver or a command needs to talk to the Prefect server at `url`.

    `home` keeps clients away from the user's own Prefect profile, which could name another server; an empty `auth` is
    for a server without authentication.
    """
    return (
        CLIENT_DEFAULTS
        | {name: value for name, value in inherited.items() if name in CLIENT_DEFAULTS}
        | QUIET
        | ({"PREFECT_API_AUTH_STRING": auth} if auth else {})
        | {"PREFECT_HOME": str(home), "PREFECT_API_URL": url, "PYTHONUNBUFFERED": "1"}
    )


def their_url(environment: Mapping[str, str] = os.environ) -> str:
    """Address of the API of the user's own Prefect server; empty when Orch starts one. Raises `SettingsError`."""
    url = environment.get("PREFECT_API_URL", "").rstrip("/")
    try:
        scheme = httpx.URL(url).scheme
    except httpx.InvalidURL:
        scheme = ""
    if url and scheme not in ("http", "https"):
        raise SettingsError(f"PREFECT_API_URL is not an address: {url}. It is like http://127.0.0.1:4200/api.")
    return url


def worker_command(pool: str, name: str) -> tuple[str, ...]:
    """The argument list of a stock process worker for `pool`.

    With the type given and the install policy `never` it starts without asking Prefect's collection registry on the
    internet (read in Prefect 3.8.8, `cli/worker.py`), and it never makes a pool without a limit.
    """
    return (
        *(sys.executable, "-m", "prefect", "worker", "start", "--type", "process"),
        *("--pool", pool, "--name", name, "--install-policy", "never", "--no-create-pool-if-not-found"),
    )


async def wait_until_healthy(url: str, auth: str) -> None:
    """Return when the Prefect server at `url` answers a request that needs `auth`; wait for it as long as it takes.

    `auth` is sent as it is, as Prefect's own client does; an empty one is for a server without authentication.
    Raises `Refused` when a server answers that does not take this secret, and `CouldNotRun` when it is not a 3.8.
    `/health` would not do: Prefect answers it without authentication.
    """
    credentials = {"Authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"} if auth else {}
    async with httpx.AsyncClient(headers=credentials, trust_env=False, timeout=5) as client:
        while True:
            try:
                response = await client.get(f"{url}/admin/version")
            except httpx.TransportError:
                await asyncio.sleep(HEALTH_POLL_S)
                continue
            if response.status_code in (401, 403):
                raise Refused(
                    f"The Prefect server at {url} does not take Orch's secret: another server runs there, or it was"
                    " started with another PREFECT_SERVER_API_AUTH_STRING. Stop it and start Orch again.",
                    status=response.status_code,
                    path="/admin/version",
                )
            if response.is_success:
                return _require_version(url, response)
            await asyncio.sleep(HEALTH_POLL_S)


def _installed(package: str, installed: Callable[[str], str]) -> str:
    try:
        return installed(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise SettingsError(f"{package} is not installed; {REMEDY}") from error


def _require_version(url: str, response: httpx.Response) -> None:
    version = response.text.strip().strip('"')
    if _major_minor(version) != PREFECT_VERSION:
        raise CouldNotRun(f"The server at {url} is Prefect {version[:20]!r}; Orch works with 3.8.x.")


def _major_minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _read_secret(path: Path) -> str:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SettingsError(f"{path} can be read by other users; delete it, and Orch makes a new secret.")
    secret = path.read_text().strip()
    if not all(secret.partition(":")):
        raise SettingsError(f"{path} does not hold `user:password`; delete it, and Orch makes a new secret.")
    return secret


def _write_secret(path: Path, secret: str) -> None:
    """Make the file complete or not at all; of two that try at once the first wins, and the other's is dropped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secret + "\n")
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
