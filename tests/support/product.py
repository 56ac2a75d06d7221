"""The whole product around a test: a sandbox, the receiver and a warm worker on the session's Prefect server."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from sqlmodel import Session

from blocks import CodingAgent, GiteaServer, PlaneWorkspace, TelegramNotification
from deployments.connections import ensure_blocks
from deployments.demo import sandbox_settings, set_telegram_webhook
from deployments.demo_scenarios import FOLDER
from deployments.free_ports import free_ports
from deployments.prefect_server import PrefectServer, wait_until_healthy
from deployments.registration import register
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from deployments.sandbox.running import running_sandbox
from deployments.stack import as_environment, base_environment
from pipeline.model import Wait, WorkItem
from pipeline.settings import Settings
from pipeline.stages import Stage
from pipeline.store import items, transitions, waits
from pipeline.store.engine import Store
from pipeline.store.schema import migrate
from tasks.services import BLOCK
from tests.support.prefect_address import talking_to

ROOT = Path(__file__).parents[2]
DESCRIPTION = "A description that is long enough to be worth analysing."


@dataclass
class Product:
    """What a test holds in its hands."""

    folder: Path
    sandbox: SandboxClient
    settings: Settings
    store: Store
    server: PrefectServer
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    # --- what people do

    def start_item(
        self, title: str = "Print a receipt", description: str = DESCRIPTION, *, project: str = "SHOP"
    ) -> str:
        """Write a card and move it to To Analyse; its key."""
        key = self.sandbox.create_card(title, description, project=project)
        self.sandbox.move_card(key, "To Analyse")
        return key

    def decide_for(self, key: str, *, within_s: float = 90, until: Stage = Stage.DONE) -> WorkItem:
        """Play the person until the item stands at `until`."""
        return self.decide_for_all([key], within_s=within_s, until=until)[0]

    def decide_for_all(self, keys: Sequence[str], *, within_s: float, until: Stage = Stage.DONE) -> list[WorkItem]:
        """Play the person until all these items stand at `until`."""
        decided: set[int] = set()
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            found = [self.item(key) for key in keys]
            if all(item is not None and item.stage is until for item in found):
                return [item for item in found if item is not None]
            for item in found:
                self._decide(item, until, decided)
            time.sleep(0.1)
        standing = [(self.item(key), self.wait(key)) for key in keys]
        raise AssertionError(f"{keys} did not all reach {until}: {standing}\n{self.logs()}")

    def _decide(self, item: WorkItem | None, until: Stage, decided: set[int]) -> None:
        if item is None or item.stage is until:
            return
        if item.hold is not None:
            raise AssertionError(f"{item.key} is held: {item.hold_reason}")
        wait = self.wait(item.key)
        if wait is not None and wait.kind.human and wait.id not in decided and self._is_shown(item):
            decided.add(wait.id)
            self.sandbox.move_card(item.key, "Approved" if wait.stage is Stage.ANALYSIS else "Confirm Deploy")

    def _is_shown(self, item: WorkItem) -> bool:
        """Whether the card says that a person is asked: who moves it while Orch does is heard by the webhook alone."""
        return self.sandbox.card(item.key).state == ("In Review" if item.stage is Stage.ANALYSIS else "Awaiting Deploy")

    # --- what can be seen

    def item(self, key: str) -> WorkItem | None:
        """The item as it is."""
        return self.store.read(items.latest, key)

    def wait(self, key: str) -> Wait | None:
        """Its open wait."""
        item = self.item(key)
        return self.store.read(waits.open_wait, item.id) if item else None

    def moves(self, key: str) -> list[str]:
        """The stages it has entered, in order."""
        item = self.item(key)
        assert item is not None
        return [str(t.to_stage) for t in self.store.read(transitions.history, item.id)]

    def until(self, seen: Callable[[], Any], *, within_s: float = 150, what: str = "") -> Any:
        """Wait until `seen` gives something true, and give that."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if found := seen():
                return found
            time.sleep(0.1)
        raise AssertionError(f"never seen: {what or seen}\n{self.logs()}")

    def read(self, work: Callable[[Session], Any]) -> Any:
        """Read the store."""
        return self.store.read(work)

    def prefect(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        """Ask the Prefect server."""

        async def ask() -> Any:
            async with get_client() as client:
                return await work(client)

        with self.talking():
            return asyncio.run(ask())

    def run_of(self, run_id: str) -> Any:
        """One flow run."""
        return self.prefect(lambda client: client.read_flow_run(run_id))

    def start_run(self, flow: str, **parameters: Any) -> str:
        """What `prefect deployment run flow/flow` does."""

        async def start(client: Any) -> str:
            deployment = await client.read_deployment_by_name(f"{flow}/{flow}")
            return str((await client.create_flow_run_from_deployment(deployment.id, parameters=parameters)).id)

        return str(self.prefect(start))

    def ended(self, run_id: str, *, within_s: float = 150) -> Any:
        """The run's final state."""
        run = self.until(
            lambda: (r := self.run_of(run_id)).state.is_final() and r, within_s=within_s, what=f"end of {run_id}"
        )
        return run.state

    def tick(self) -> Any:
        """One tick of the reconciler, as its schedule would start it."""
        return self.ended(self.start_run("reconcile"))

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Prefect's client in this process talks to the session's server."""
        with talking_to(self.server.url, self.server.auth):
            yield

    def logs(self) -> str:
        """The ends of the latest logs, for a failing test."""
        files = sorted(self.folder.glob("logs/*.log"), key=lambda f: f.stat().st_mtime)[-4:]
        return "\n".join(
            f"--- {file.name}\n" + "\n".join(file.read_text(errors="replace").splitlines()[-25:]) for file in files
        )

    # --- what runs

    @property
    def environment(self) -> dict[str, str]:
        """What the product's processes get."""
        return {
            **base_environment(),
            **self.server.client_environment(),
            **as_environment(self.settings),
            "PYTHONPATH": str(ROOT),
        }

    def spawn(self, name: str, *command: str) -> None:
        """Start one of the product's processes; its log is in the folder."""
        with (self.folder / "logs" / f"{name}.log").open("ab") as log:
            self.children[name] = subprocess.Popen(
                command, env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def start_receiver(self) -> None:
        """Start the receiver and wait until it answers."""
        self.spawn("receiver", sys.executable, "-m", "deployments.receiver")
        self.until(lambda: _answers(f"{self.url}/healthz"), what="the receiver")

    def start_worker(self) -> None:
        """Start the warm worker."""
        self.spawn("worker", sys.executable, "-m", "tests.support.warm_worker", str(self.folder / "logs"))

    @property
    def url(self) -> str:
        """The receiver's address."""
        return f"http://{self.settings.host}:{self.settings.port}"

    def plan_kill(self, flow: str, at: int | str) -> None:
        """Have the next run of `flow` kill itself after its `at`-th checkpoint, or the next to pass the one named so."""
        (self.folder / "logs" / "kill.json").write_text(json.dumps({"flow": flow, "at": at}))

    @property
    def kill_pending(self) -> bool:
        """Whether the planned victim has not begun yet."""
        return (self.folder / "logs" / "kill.json").exists()

    def stop(self, name: str) -> None:
        """End one of the product's processes."""
        child = self.children.pop(name)
        child.terminate()
        child.wait(20)


@contextmanager
def running_product(
    folder: Path,
    server: PrefectServer,
    *,
    scenario: Path = FOLDER / "happy.toml",
    projects: Sequence[str] = (),
    registry: Callable[[SandboxClient], str] | None = None,
    through: Callable[[str], str] = lambda url: url,
    **changes: Any,
) -> Iterator[Product]:
    """Everything up and registered, on a fresh sandbox; all gone afterwards.

    `registry` makes the project registry's JSON; without it SHOP and `projects` are registered without any stand.
    `through` makes the address at which Orch reaches the neighbours of their own.
    """
    (folder / "logs").mkdir(parents=True)
    asyncio.run(wait_until_healthy(server.url, server.auth))
    with running_sandbox(folder / "sandbox") as sandbox:
        for project in projects:
            sandbox.add_project(project, repository_of(project))
        projects_json = registry(sandbox) if registry else registry_of(sandbox, ("SHOP", *projects))
        peers = {
            "plane_url": sandbox.plane_url,
            "gitea_url": sandbox.gitea_url,
            "telegram_api_url": sandbox.telegram_url,
        }
        addresses = {name: through(url) for name, url in peers.items()}
        changes = {"crash_backoff_s": (0, 0, 0), "projects_json": projects_json, **addresses, **changes}
        settings = sandbox_settings(sandbox, scenario, folder / "orch", free_ports(1)[0], **changes)
        url = f"http://127.0.0.1:{settings.port}/webhooks"
        sandbox.plane_webhook(f"{url}/plane", settings.plane_webhook_secret.get_secret_value())
        for project in ("SHOP", *projects):
            secret = settings.gitea_webhook_secret.get_secret_value()
            sandbox.gitea_webhook(f"{url}/gitea", secret, repository=repository_of(project))
        asyncio.run(set_telegram_webhook(settings))
        product = Product(folder, sandbox, settings, Store(settings.store_url), server)
        migrate(product.store)
        with product.talking():
            asyncio.run(_registered(settings))
        try:
            product.start_worker()
            product.start_receiver()
            yield product
        finally:
            for name in reversed(list(product.children)):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    product.stop(name)
            with product.talking():
                asyncio.run(_cleared())
            product.store.dispose()


def repository_of(project: str) -> str:
    """The sandbox repository of a project."""
    return f"acme/{project.lower()}"


def registry_of(sandbox: SandboxClient, keys: Sequence[str], **more: Any) -> str:
    """The registry of these sandbox projects as JSON."""
    ids = {project.key: project.id for project in sandbox.state().projects}
    common = {"test_command": list(Options().test_command), "test_timeout_s": 60, **more}
    return json.dumps(
        [{"key": key, "plane_project": ids[key], "repository": repository_of(key), **common} for key in keys]
    )


async def _registered(settings: Settings) -> None:
    """Register as `orch up` does; blocks of an earlier product on the same server are replaced."""
    for block in (PlaneWorkspace, GiteaServer, CodingAgent, TelegramNotification):
        with contextlib.suppress(ValueError):
            await block.adelete(BLOCK)
    telegram = await ensure_blocks(settings)
    async with get_client() as client:
        await register(
            client,
            registry=settings.registry(),
            agents_limit=settings.max_concurrency,
            control_limit=settings.control_concurrency,
            telegram_block=telegram,
        )


async def _cleared() -> None:
    """Cancel what still runs or waits in Prefect, and take the schedule off, so that the next product starts clean."""
    async with get_client() as client:
        for run in await client.read_flow_runs(limit=200):
            if run.state is not None and not run.state.is_final():
                await client.delete_flow_run(run.id)
        for automation in await client.read_automations():
            await client.delete_automation(automation.id)
        for deployment in await client.read_deployments():
            await client.delete_deployment(deployment.id)
        for limit in await client.read_global_concurrency_limits():
            await client.delete_global_concurrency_limit_by_name(limit.name)


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, timeout=2).status_code < 500
    return False


os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
