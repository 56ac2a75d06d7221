"""Processes forked from this warm one: runs of flows and sandboxes, at a tenth of what starting Python would cost.

A child makes its own `Services`: HTTP clients and database connections do not survive a fork. The process that forks
must have no threads.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import httpx
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_LOGGING_TO_API_ENABLED,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    temporary_settings,
)

from blocks import CodingAgent, GiteaServer, PlaneWorkspace, TelegramNotification
from deployments.prefect_server import PrefectServer, wait_until_healthy
from deployments.sandbox import __main__ as sandbox_program
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import GITEA_VERSION
from pipeline.messages import Texts
from pipeline.settings import Settings
from pipeline.states import States
from pipeline.store.engine import Store
from tasks.services import Services

WARM = ("fastapi", "prefect.task_engine", "prefect.utilities.visualization")
"""What Prefect imports at the first run only; imported here once rather than in every fork."""

for _name in WARM:
    importlib.import_module(_name)


@dataclass(frozen=True)
class Later(Services):
    """Services that live some minutes from now: what a dead sender had claimed is free again."""

    def now(self) -> datetime:
        """The time, three minutes on."""
        return super().now() + timedelta(minutes=3)


def make_services(settings: Settings, kind: type[Services] = Services) -> Services:
    """What `tasks.services.assemble` makes, without asking Prefect for the blocks."""
    tracker = PlaneWorkspace(
        url=settings.plane_url, workspace=settings.plane_workspace, token=settings.plane_token
    ).get_client()
    telegram = TelegramNotification(
        token=settings.telegram_bot_token, chat_id=settings.telegram_chat_id, api_url=settings.telegram_api_url
    )
    agent = CodingAgent(command=list(settings.agent_command))
    return kind(
        settings=settings,
        store=Store(settings.store_url),
        projects=settings.registry(),
        texts=Texts(settings.language),
        tracker=tracker,
        forge=GiteaServer(url=settings.gitea_url, token=settings.gitea_token).get_client(),
        messenger=telegram.get_client(),
        agent=agent.get_client(),
        agent_block=agent,
        states=States(tracker, ttl_s=settings.plane_states_ttl_s, clock=time.monotonic),
    )


def fork(work: Callable[[], None], log: Path) -> int:
    """Run `work` in a child of its own session, its output in `log`; the child's process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(work, log)
    return pid


def _child(work: Callable[[], None], log: Path) -> NoReturn:
    code = 0
    logging.disable(logging.INFO)
    try:
        os.setsid()
        sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(sink, stream)
        sys.stdout = sys.stderr = os.fdopen(os.dup(sink), "w", buffering=1)
        work()
    except BaseException:  # noqa: BLE001  whatever it is, it is in the log and the exit code
        traceback.print_exc()
        code = 1
    os._exit(code)


def reap(pid: int) -> int:
    """Wait for a child; the number of the signal that ended it, 0 when none did. Raises when it failed."""
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status)
    if os.waitstatus_to_exitcode(status) != 0:
        raise AssertionError(f"the forked process {pid} failed; its traceback is in its log")
    return 0


def start_sandbox(root: Path, port: int, log: Path, gitea: str = GITEA_VERSION) -> tuple[int, SandboxClient]:
    """A sandbox in a process of its own; returns once it answers."""

    def serve() -> None:
        sandbox_program.main(["--root", str(root), "--port", str(port), "--gitea-version", gitea, "--die-with-parent"])

    pid = fork(serve, log)
    client = SandboxClient(f"http://127.0.0.1:{port}")
    for _ in range(500):
        with contextlib.suppress(httpx.TransportError):
            client.state()
            return pid, client
        time.sleep(0.02)
    raise AssertionError(f"the sandbox on port {port} does not come up: {log.read_text()[-2000:]}")


def stop_sandbox(pid: int, client: SandboxClient) -> None:
    """End a sandbox together with the tests that its CI runs."""
    client.close()
    os.kill(pid, signal.SIGTERM)
    reap(pid)


@contextmanager
def talking_to(server: PrefectServer) -> Iterator[None]:
    """Flows of this process and its children run against `server`."""
    asyncio.run(wait_until_healthy(server.url, server.auth))
    wanted = {
        PREFECT_API_URL: server.url,
        PREFECT_API_AUTH_STRING: server.auth,
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False,
        PREFECT_LOGGING_TO_API_ENABLED: False,
    }
    with temporary_settings(wanted):
        yield
