"""A worker that forks its runs from a warm process: the stock process worker's behaviour at a tenth of its start-up.

It polls both work pools as a stock worker does (the server applies the pools' limits), proposes Pending, forks, and
reports a run whose process was killed as crashed, at once. Everything that a run does is the production code.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import Abort, Pause
from prefect.flow_engine import run_flow
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.settings import get_current_settings

from deployments.definitions import read_definitions
from deployments.pools import AGENTS, CONTROL
from tests.support.checkpoints import kill_as_planned

POLL_S = 0.5
"""Every poll writes to the server's SQLite file, and a write between another request's read and its write fails that one."""


class WarmWorker:
    """Polls, forks and reaps until told to stop."""

    def __init__(self, folder: Path) -> None:
        settings = get_current_settings().api
        secret = settings.auth_string.get_secret_value() if settings.auth_string else ""
        user, _, password = secret.partition(":")
        self.api = httpx.Client(base_url=f"{settings.url}/", auth=(user, password), timeout=30)
        self.folder = folder
        self.flows = {d.name: load_flow_from_entrypoint(d.entrypoint) for d in read_definitions()}
        self.names: dict[str, str] = {}
        self.children: dict[int, str] = {}

    def forever(self) -> None:
        """Work until TERM."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    self._reap()
                    self._poll()
                time.sleep(POLL_S)
        finally:
            for pid in self.children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _poll(self) -> None:
        for pool in (AGENTS, CONTROL):
            answer = self.api.post(f"work_pools/{pool}/get_scheduled_flow_runs", json={"scheduled_before": _now()})
            for found in answer.json() if answer.is_success else []:
                self._start(found["flow_run"])

    def _start(self, run: dict[str, str]) -> None:
        state = {"state": {"type": "PENDING", "name": "Pending"}}
        answer = self.api.post(f"flow_runs/{run['id']}/set_state", json=state)
        if answer.json().get("status") != "ACCEPT":
            return
        flow = self.flows[self._flow_name(run["flow_id"])]
        pid = os.fork()
        if pid == 0:
            self._child(flow, run["id"])
        self.children[pid] = run["id"]

    def _flow_name(self, flow_id: str) -> str:
        if flow_id not in self.names:
            self.names[flow_id] = self.api.get(f"flows/{flow_id}").json()["name"]
        return self.names[flow_id]

    def _child(self, flow: Flow[..., object], run_id: str) -> None:
        """One run, in a session of its own, with a log file for its output."""
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log = os.open(self.folder / f"{flow.name}-{run_id}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["PREFECT__FLOW_RUN_ID"] = run_id
        code = 0
        try:
            run = FlowRun.model_validate(
                httpx.Client(base_url=self.api.base_url, auth=self.api.auth).get(f"flow_runs/{run_id}").json()
            )
            kill_as_planned(self.folder / "kill.json", flow.name)
            asyncio.run(run_flow(flow, flow_run=run, return_type="state"))  # type: ignore[arg-type]
        except (Pause, Abort):
            pass
        except BaseException:  # noqa: BLE001  whatever it is, it is in the log and the exit code
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        os._exit(code)

    def _reap(self) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            run_id = self.children.pop(pid, None)
            if run_id is not None and os.WIFSIGNALED(status):
                message = f"killed by signal {os.WTERMSIG(status)}"
                state = {"state": {"type": "CRASHED", "name": "Crashed", "message": message}, "force": False}
                self.api.post(f"flow_runs/{UUID(run_id)}/set_state", json=state)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    worker = WarmWorker(parser.parse_args().folder)
    worker.forever()
