"""`make bench-tick`: what one tick of the reconciler costs with so many live items.

On a sandbox and a Prefect server of its own, both in processes of their own: the CPU time is the tick's alone.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE, Popen

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.states import Suspended
from rich.console import Console
from rich.table import Table

from benchmarks.counting import counted_requests
from benchmarks.seeding import make_due, seed
from deployments.connections import ensure_blocks
from deployments.demo import PROJECT, sandbox_settings
from deployments.demo_scenarios import FOLDER
from deployments.free_ports import free_ports
from deployments.prefect_server import PrefectServer, auth_string
from deployments.processes import Child, Supervisor
from deployments.registration import register
from deployments.sandbox.client import SandboxClient
from flows.reconcile import tick
from pipeline.settings import Settings
from pipeline.store.engine import Store
from pipeline.store.schema import migrate
from tasks.services import Services, assemble

AT_ONCE = 10
"""Suspended runs that are made side by side."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One tick: HTTP requests by peer, and seconds."""

    items: int
    what: str
    requests: dict[str, int]
    cpu_s: float
    wall_s: float


def main(arguments: list[str] | None = None) -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tick", description=__doc__)
    parser.add_argument("--items", default="1000,10000", help="numbers of live items, rising")
    parser.add_argument("--suspended", type=int, default=300, help="how many of the first of them ask a person")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    given = parser.parse_args(arguments)
    numbers = [int(part) for part in given.items.split(",")]
    measured = asyncio.run(_measure(numbers, given.suspended))
    if given.json:
        sys.stdout.write(json.dumps([asdict(one) for one in measured]))
    else:
        Console().print(_table(measured))
    return 0


async def _measure(numbers: Sequence[int], suspended: int) -> list[Measured]:
    with tempfile.TemporaryDirectory(prefix="orch-bench-") as folder, _sandbox(Path(folder) / "sandbox") as sandbox:
        settings = sandbox_settings(sandbox, FOLDER / "happy.toml", Path(folder) / "orch", free_ports(1)[0])
        async with _prefect(Path(folder), settings) as server:
            root = await assemble(settings)
            runs = await _suspended_runs(suspended)
            names = {sandbox.plane_url: "plane", sandbox.gitea_url: "gitea", server.url: "prefect"}
            measured: list[Measured] = []
            there = 0
            for number in numbers:
                root.store.write(seed, PROJECT, number - there, runs, sandbox.repository().main, datetime.now(UTC))
                runs, there = [], number
                measured += await _ticks(root, number, names)
            return measured


async def _ticks(root: Services, number: int, names: dict[str, str]) -> list[Measured]:
    await _tick(root, number, "the first", names)
    idle = await _tick(root, number, "nothing due", names)
    root.store.write(make_due, 10, datetime.now(UTC))
    return [idle, await _tick(root, number, "10 wait for CI", names)]


async def _tick(root: Services, number: int, what: str, names: dict[str, str]) -> Measured:
    with counted_requests(names) as requests:
        cpu, wall = time.process_time(), time.monotonic()
        did = await tick(root)
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    failed = [sentence for sentence in did if "failed" in sentence or "could not" in sentence]
    if failed:
        raise SystemExit(f"The tick with {number} items did not do its work: {failed}")
    return Measured(number, what, dict(requests), cpu, wall)


def _table(measured: Sequence[Measured]) -> Table:
    table = Table("live items", "tick", "Plane", "Gitea", "Prefect", "CPU s", "wall s", title="One tick")
    for one in measured:
        numbers = [str(one.requests.get(peer, 0)) for peer in ("plane", "gitea", "prefect")]
        table.add_row(f"{one.items:,}", one.what, *numbers, f"{one.cpu_s:.2f}", f"{one.wall_s:.2f}")
    return table


@contextmanager
def _sandbox(root: Path) -> Iterator[SandboxClient]:
    command = (sys.executable, "-m", "deployments.sandbox", "--root", str(root), "--die-with-parent")
    with Popen(command, stdout=PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101  for the type checker: it was opened as a pipe
            with SandboxClient(json.loads(process.stdout.readline())["url"]) as client:
                yield client
        finally:
            process.terminate()


@asynccontextmanager
async def _prefect(folder: Path, settings: Settings) -> AsyncIterator[PrefectServer]:
    """A Prefect server that knows everything that `orch up` would tell it, and a migrated store."""
    settings.state_dir.mkdir(parents=True)
    migrate(Store(settings.store_url))
    server = PrefectServer(folder / "prefect", free_ports(1)[0], auth_string(folder / "auth"))
    async with Supervisor(folder / "logs") as supervisor:
        ready = Child(
            "prefect", server.command, server.environment(), ready=server.wait_until_healthy, ready_within_s=240
        )
        await supervisor.start(ready)
        with temporary_settings({PREFECT_API_URL: server.url, PREFECT_API_AUTH_STRING: server.auth}):
            telegram = await ensure_blocks(settings)
            async with get_client() as client:
                await register(client, registry=settings.registry(), agents_limit=1, telegram_block=telegram)
            yield server


async def _suspended_runs(number: int) -> list[str]:
    """Runs of the analysis that wait for a person, as Prefect has them."""
    async with get_client() as client:
        deployment = await client.read_deployment_by_name("analysis/analysis")
        room = asyncio.Semaphore(AT_ONCE)

        async def one() -> str:
            async with room:
                run = await client.create_flow_run_from_deployment(
                    deployment.id, state=Suspended(), parameters={"work_item": "-"}
                )
                return str(run.id)

        return list(await asyncio.gather(*(one() for _ in range(number))))


if __name__ == "__main__":
    sys.exit(main())
