"""Killing a stage's run at a checkpoint, from a snapshot taken just before that stage.

Runs are forked from this warm process and carry the flow out without deployment, worker or automation; the sandbox is
forked, too, so that the process that forks has no threads. A snapshot is the whole folder (sandbox, database, mirror,
worktrees); it is put back to the same path and the sandbox comes up on the same port, because git's worktrees and the
settings hold both.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
from prefect.client.orchestration import get_client
from sqlmodel import Session

from deployments.demo import PROJECT, REPOSITORY, sandbox_settings
from deployments.demo_scenarios import FOLDER
from deployments.free_ports import free_ports
from deployments.prefect_server import PrefectServer
from deployments.registration import register
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import GITEA_VERSION
from deployments.sandbox.views import StateView
from flows import testing as testing_stage
from flows.analysis import analysis
from flows.architecture import architecture
from flows.deploy import deploy
from flows.deploy_staging import deploy_staging
from flows.development import development
from flows.intake import intake
from flows.review import review
from pipeline.messages import Texts
from pipeline.model import WorkItem
from pipeline.settings import Settings
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import inbox, items, outbox, reactions
from pipeline.store.engine import Store
from pipeline.store.schema import migrate
from tasks import ownership
from tasks import services as composition
from tasks.outbox import deliver
from tasks.services import Services
from tests.support import checkpoints
from tests.support.forks import Later, fork, make_services, reap, start_sandbox, stop_sandbox, talking_to
from tests.support.merge_lock import renew_merge_limit

StageFlow = Callable[..., Any]

FLOWS: dict[Stage, StageFlow] = {
    Stage.ANALYSIS: analysis,
    Stage.ARCHITECTURE: architecture,
    Stage.DEVELOPMENT: development,
    Stage.REVIEW: review,
    Stage.TESTING: testing_stage.testing,
    Stage.DEPLOY_STAGING: deploy_staging,
    Stage.DEPLOY: deploy,
}
WAITS_FOR_CI = "Waiting for CI"

EVERY = os.environ.get("ORCH_KILL_EVERY") == "1"
"""Whether a flow is killed at each of its checkpoints, not at a choice of them."""


def within(seconds: float) -> float:
    """The time limit of a test of kills, in seconds."""
    return 12 * seconds if EVERY else seconds


RUNS = 12
"""How many runs a stage may take before it counts as stuck."""
DESCRIPTION = "Customers want a receipt on paper: every price, the discount, shipping and total."


@dataclass(frozen=True, slots=True)
class Ended:
    """How a forked run ended: killed or told to end by itself as planned, or in the state `name`.

    `passed` are its checkpoints.
    """

    killed: bool
    name: str
    message: str
    passed: tuple[str, ...]


@dataclass
class Stand:
    """One item on its way, in a folder that can be put back to an earlier moment."""

    folder: Path
    settings: Settings
    sandbox: SandboxClient
    sandbox_pid: int
    key: str = ""
    snapshots: dict[str, Path] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """What a snapshot holds."""
        return self.folder / "now"

    @property
    def log(self) -> Path:
        """The output of all forked processes."""
        return self.folder / "forked.log"

    def register_deployments(self) -> None:
        """Give what is started somewhere to be started; nobody carries it out here."""
        asyncio.run(_registered(self.settings))

    # --- the item

    @property
    def item(self) -> WorkItem:
        """The item as it is."""
        found = self.read(lambda session: items.latest(session, self.key))
        assert isinstance(found, WorkItem)
        return found

    def read(self, work: Callable[[Session], Any]) -> Any:
        """Read the store, leaving no connection open that a restored file would pull the rug from under."""
        store = Store(self.settings.store_url)
        try:
            return store.read(work)
        finally:
            store.dispose()

    def tell(self, signal: Signal) -> None:
        """What the receiver does when a person decides: the signal stored and applied in one transaction."""
        store = Store(self.settings.store_url)
        try:
            store.write(self._told, signal)
        finally:
            store.dispose()

    def _told(self, session: Session, signal: Signal) -> None:
        now = datetime.now(UTC)
        stored = inbox.signal(
            session, delivery_id=None, project=PROJECT, item_key=self.key, signal=signal, actor="a person",
            payload={}, now=now,
        )  # fmt: skip
        assert reactions.apply(session, stored, now, Texts("en")) is not None

    # --- runs

    def run(self, flow: StageFlow, *, kill_at: int = 0, at_checkpoint: Callable[[str], None] | None = None) -> Ended:
        """One run of a flow for the item in a process of its own, which kills itself after its `kill_at`-th checkpoint.

        `at_checkpoint` is called in that process, after each checkpoint.
        """
        told, passed = self.folder / "ended.json", self.folder / "passed"
        told.unlink(missing_ok=True)
        passed.write_text("")

        def carry_out() -> None:
            count = 0

            def checkpoint(name: str) -> None:
                nonlocal count
                count += 1
                with passed.open("a") as lines:
                    lines.write(f"{name}\n")
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
                if at_checkpoint is not None:
                    at_checkpoint(name)

            composition._made[:] = [make_services(self.settings)]
            checkpoints.watch(checkpoint)
            state = asyncio.run(flow(self.key, return_state=True))
            told.write_text(json.dumps([state.name, state.message]))

        number = reap(fork(carry_out, self.log))
        assert number in (0, signal.SIGKILL, signal.SIGTERM)
        name, message = json.loads(told.read_text()) if number == 0 else ("", "")
        return Ended(number != 0, name, message or "", tuple(passed.read_text().split("\n")[:-1]))

    def finish(self, stage: Stage, *, kill_at: int = 0) -> list[Ended]:
        """Run the stage again and again, as a wake or a tick does, until the item has left it, is held or stuck.

        `kill_at` counts the checkpoints through all runs; nothing is run after the one that was killed, and the merge
        lock that it may have held is free again.
        """
        ended: list[Ended] = []
        while (item := self.item).stage is stage and item.hold is None and len(ended) < RUNS:
            left = kill_at - sum(len(e.passed) for e in ended)
            ended.append(self.run(FLOWS[stage], kill_at=left, at_checkpoint=self._approve))
            if ended[-1].killed:
                asyncio.run(renew_merge_limit(self.settings))
                return ended
            if ended[-1].name == WAITS_FOR_CI:
                self.sandbox.ci("run")
                self.sandbox.wait_until(self._ci_has_spoken)
        return ended

    def _ci_has_spoken(self, seen: StateView) -> bool:
        statuses = seen.repositories[REPOSITORY].statuses
        return any(status.sha == self.item.tip and status.state != "pending" for status in statuses)

    def next_run_begins(self) -> None:
        """What the next stage's run does first: it claims the item, a dead owner's lease included. Given up at once."""
        root = make_services(self.settings)
        claimed = ownership.claim(root, self.key, self.item.stage, "the next run")
        assert isinstance(claimed, ownership.Claimed), claimed
        ownership.release(root.store, claimed, root.now(), in_order=True)
        root.store.dispose()

    def deliver_all(self) -> None:
        """Send what is left in the outbox, as ticks do once the claims of a dead sender have run out."""

        def send() -> None:
            asyncio.run(_send_all(make_services(self.settings, Later)))

        reap(fork(send, self.log))

    def bring_to(self, stage: Stage) -> None:
        """Have the stages before `stage` run undisturbed, with the people's decisions given ahead."""
        if not self.key:
            self.key = self.sandbox.create_card("Print a receipt", DESCRIPTION)
            self.sandbox.move_card(self.key, "To Analyse")
            self.run(intake)
        for here in FLOWS:
            if here is stage:
                break
            self.finish(here)
        self.deliver_all()
        assert (self.item.stage, self.item.hold) == (stage, None), self.item

    def _approve(self, checkpoint: str) -> None:
        """Without a deployment a run cannot suspend, so the approval comes while it still asks the gate before."""
        if checkpoint == "store: evidence.gate_answered" and self.item.stage is Stage.ANALYSIS:
            self.tell(Signal.APPROVED)

    # --- snapshots

    def snapshot(self, stage: str) -> None:
        """Remember everything as it is now, for `restore`."""
        self.sandbox.flush()
        self.snapshots[stage] = self.folder / f"before-{stage}"
        shutil.copytree(self.home, self.snapshots[stage], symlinks=True)

    def restore(self, stage: str, *, gitea: str = GITEA_VERSION) -> None:
        """Put everything back to the snapshot, with a Gitea of this version."""
        stop_sandbox(self.sandbox_pid, self.sandbox)
        shutil.rmtree(self.home)
        shutil.copytree(self.snapshots[stage], self.home, symlinks=True)
        port = httpx.URL(self.sandbox.url).port
        assert port is not None
        self.sandbox_pid, self.sandbox = start_sandbox(self.home / "sandbox", port, self.log, gitea)

    def processes(self) -> list[str]:
        """Command lines of processes that work somewhere in the folder: agents and tests that nobody has ended."""
        return [" ".join(process.cmdline()) for process in psutil.process_iter() if self._works_here(process)]

    def _works_here(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            return Path(process.cwd()).is_relative_to(self.folder)
        return False


async def _registered(settings: Settings) -> None:
    async with get_client() as client:
        await register(client, registry=settings.registry(), agents_limit=1, control_limit=1, telegram_block=None)


async def _send_all(root: Services) -> None:
    for _ in range(5):
        await deliver(root)
        if not await root.store.aread(outbox.unsent):
            return
        await asyncio.sleep(0.2)


@contextmanager
def standing(
    folder: Path, server: PrefectServer, *, project: Callable[[SandboxClient], Mapping[str, Any]] = lambda _: {}
) -> Iterator[Stand]:
    """A sandbox, an empty database and the merge lock; nothing of it is left running.

    `project` makes settings that are laid over the sandbox project's.
    """
    home, log = folder / "now", folder / "forked.log"
    home.mkdir(parents=True)
    pid, sandbox = start_sandbox(home / "sandbox", free_ports(1)[0], log)
    settings = sandbox_settings(
        sandbox, FOLDER / "happy.toml", home / "orch", 1, project=project(sandbox), crash_backoff_s=(0, 0, 0)
    )
    stand = Stand(folder, settings, sandbox, pid)
    store = Store(settings.store_url)
    migrate(store)
    store.dispose()
    with talking_to(server):
        asyncio.run(renew_merge_limit(settings))
        try:
            yield stand
        finally:
            stop_sandbox(stand.sandbox_pid, stand.sandbox)
