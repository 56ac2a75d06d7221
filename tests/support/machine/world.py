"""The world that the state machine lives in: Orch's flows as they are, on a real SQLite file, one step at a time.

Only what is outside of Orch is made up. A test decides who goes on, who dies, what arrives, and what never does.
"""

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prefect.client.schemas.objects import StateType

from flows import (
    analysis,
    architecture,
    deploy,
    deploy_staging,
    development,
    intake,
    reconcile,
    review,
    stop,
    testing,
    wake,
)
from pipeline.branches import branch_name
from pipeline.errors import OrchError
from pipeline.model import Delivery, InboundSignal, ProcessIdentity, TestRun, WorkItem
from pipeline.settings import Settings
from pipeline.signals import STAGE_ENTERED, WAIT_ANSWERED, WAKE, Signal
from pipeline.stages import WORKED, Stage
from pipeline.store import evidence, items, leases, outbox
from pipeline.store.engine import Store
from tasks import due_items, inbox, stop_listener
from tests.support.machine.actors import Actor, SteppedStore
from tests.support.machine.outside import MadeUpAgent, MadeUpForge, MadeUpTracker, Production, made_up_gates
from tests.support.machine.repository import Chance, MadeUpWorkspace, Repository
from tests.support.machine.runs import MadeUpPrefect, MadeUpRun, replaced
from tests.support.services import ClockedServices, migrated, services_of

KEYS = ("SHOP-1", "SHOP-2")
HERE, ELSEWHERE = socket.gethostname(), "another host"
OWN = inbox.Own(frozenset({"bot"}), "orch-bot")
TICK = (
    due_items.stop_due,
    due_items.heal_due,
    reconcile._queues,
    reconcile._signals,
    reconcile._starts,
    reconcile._overdue,
)
"""The parts of a tick that look at nothing but the store and Prefect."""

FLOWS: dict[str, Callable[[str], Awaitable[Any]]] = {
    flow.name: flow.fn
    for flow in (
        *(analysis.analysis, architecture.architecture, development.development, review.review, testing.testing),
        *(deploy_staging.deploy_staging, deploy.deploy, intake.intake, wake.wake, stop.stop),
    )
}
STARTED_BY = {
    STAGE_ENTERED: None,
    WAKE: "wake",
    Signal.START_REQUESTED.event: "intake",
    Signal.STOP_REQUESTED.event: "stop",
}
"""What the automations start for an event; every other signal wakes."""


@dataclass(frozen=True, kw_only=True)
class Root(ClockedServices):
    """Services of the made-up world."""

    repository: Repository
    living: dict[int, Actor]
    boots: list[str] = field(default_factory=lambda: ["boot"])

    def workspace(self, project: object) -> Any:
        return MadeUpWorkspace(self.repository)

    def alive(self, process: ProcessIdentity) -> bool | None:
        return process.pgid in self.living if process.host == HERE else None

    def went_with_its_host(self, process: ProcessIdentity) -> bool:
        return process.host == HERE and process.boot != self.boots[-1]

    @property
    def sandbox(self) -> Any:
        return SimpleNamespace(stands=lambda: False)


class World:
    """Everything that there is."""

    def __init__(self, folder: Path, seed: int, **project: object) -> None:
        self.chance = Chance(seed)
        self.repository = Repository(self.chance)
        self.production = Production(self.repository)
        self.living: dict[int, Actor] = {}
        settings = _settings(folder, project)
        migrated(settings).dispose()
        self.store = SteppedStore(settings.store_url)
        made = services_of(settings, self.store)
        inherited = {f.name: getattr(made, f.name) for f in fields(made)} | {
            "forge": MadeUpForge(self.repository),
            "tracker": MadeUpTracker(),
            "agent": MadeUpAgent(self.repository),
        }
        self.root = Root(**inherited, repository=self.repository, living=self.living)
        self.project = self.root.project("SHOP")
        self.prefect = MadeUpPrefect(self.root.now)
        self.said_by_orch: list[str] = []
        self._pids, self._heard, self._stack = 100_000, 0, ExitStack()

    def __enter__(self) -> "World":
        others = {
            "tasks.services._made": [self.root],
            "tasks.stands.run_hook": self.production.run_hook,
            "tasks.stands.probe": self.production.probe,
            "tasks.gates.GATES": made_up_gates(self.repository),
            "deployments.operator._now": self.root.now,
        }
        self._stack.enter_context(replaced(self.prefect, self._end_process, others))
        handler = _Errors(self.said_by_orch)
        logging.getLogger("orch").addHandler(handler)
        self._stack.callback(logging.getLogger("orch").removeHandler, handler)
        return self

    def __exit__(self, *_: object) -> None:
        for actor in list(self.living.values()):
            self.kill(actor)
        self._stack.close()
        self.store.dispose()

    # --- what there is in the beginning

    def begin_at(self, key: str, stage: Stage) -> None:
        """An item that has come to `stage`, with its branch unless it has just begun."""
        new = items.NewItem(key, "SHOP", f"card-{key}", "It", branch_name(key, "It"))
        said: dict[str, Any] = {"actor": "ada", "reason": "", "run": None, "now": self.root.now()}
        item, _created = self.write(items.create, new, **said)
        for there in WORKED[1 : WORKED.index(stage) + 1]:
            item = self.write(items.move, item, there, token=None, **said)
        if stage is not Stage.ANALYSIS:
            tip = self.repository.branches[new.branch] = self.repository.commit(("c0",), f"{key}:so far")
            self.repository.reviewed.add(tip)
            self.write(items.update, item, None, said["now"], tip=tip, head=tip)
            if stage is Stage.DEPLOY:
                self._validated(item, tip)

    def _validated(self, item: WorkItem, tip: str) -> None:
        """What the merge gate leaves behind."""
        now = self.root.now()
        ran = TestRun(tip, True, "tests", 1.0, Path("log"), ())
        self.write(evidence.tests_ran, item.id, f"{evidence.MERGE_PURPOSE}c0", ran, now)
        self.write(items.update, item, None, now, validated=tip, validated_base="c0")
        self.repository.green.add(tip)

    # --- the store, for the test itself

    def write(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.store.written += 1
        return Store.write(self.store, work, *args, **kwargs)

    def read(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return Store.read(self.store, work, *args, **kwargs)

    def item(self, key: str) -> WorkItem:
        found = self.read(items.latest, key)
        assert isinstance(found, WorkItem)
        return found

    # --- processes

    @property
    def actors(self) -> list[Actor]:
        return list(self.living.values())

    def start(self, flow: str, key: str) -> None:
        """Have a run of a flow scheduled, as an automation or a person does."""
        asyncio.run(self.prefect.start(flow, {"work_item": key}))

    def resume(self, run: MadeUpRun) -> None:
        """A person resumes a suspended run in Prefect."""
        asyncio.run(self.prefect.resume(run.id))

    def take(self, run: MadeUpRun, host: str = HERE) -> Actor:
        """A worker begins a scheduled run."""
        self.prefect.put(run, StateType.RUNNING)
        return self._begin(host, run.id, f"{run.flow} {run.key}", lambda: FLOWS[run.flow](run.key))

    def tick(self) -> Actor:
        """A process that looks after everything, as the schedule has it."""
        return self._begin(HERE, "", "tick", self._tick)

    async def _tick(self) -> None:
        for part in TICK:
            try:
                await part(self.root)
            except OrchError:
                continue

    def _begin(self, host: str, run_id: str, name: str, work: Callable[[], Any]) -> Actor:
        self._pids += 1
        actor = self.living[self._pids] = Actor(self._pids, host, self.root.boots[-1], run_id, name, work)
        actor.began = self.root.now()
        return actor

    def step(self, actor: Actor) -> None:
        """Let it go on up to its next read, write or effect; the end of a run is the end of its process."""
        self.root.clock.forward(0.001)
        try:
            actor.step()
        finally:
            if actor.over:
                self._ended(actor, StateType.CRASHED if actor.cuts_its_next_write else StateType.COMPLETED)

    def kill(self, actor: Actor, *, seen: bool = True) -> None:
        """It is gone as after kill -9; whether its worker has `seen` that is another matter."""
        actor.die()
        self._ended(actor, StateType.CRASHED if seen else StateType.RUNNING)

    def restart_host(self) -> None:
        """This host goes down, with all that runs on it, and comes up again."""
        for actor in self.actors:
            if actor.host == HERE:
                self.kill(actor, seen=False)
        self.root.boots.append(f"boot {len(self.root.boots)}")

    def _ended(self, actor: Actor, state: StateType) -> None:
        self.living.pop(actor.pid, None)
        run = self.prefect.runs.get(actor.run_id)
        if run is not None and run.state is StateType.RUNNING:
            self.prefect.put(run, state)

    def _end_process(self, _root: object, process: ProcessIdentity) -> None:
        """What `tasks.ownership.end_process` does: nothing to what runs on another host."""
        if process.host == HERE and process.pgid in self.living:
            self.kill(self.living[process.pgid])

    def listen(self) -> None:
        """The runs hear that their items are stopped."""
        for actor in self.actors:
            for owner in self.read(leases.owners):
                if owner.process.pgid == actor.pid and self._is_to_end(owner):
                    self.kill(actor)

    def _is_to_end(self, owner: leases.Owner) -> bool:
        item = next(item for item in self.read(items.all_items) if item.id == owner.item_id)
        lease = leases.Lease(owner.item_id, owner.token, 0, owner.flow_run_id, owner.expires_at)
        return owner.stage in WORKED and self.read(stop_listener._to_be_ended, item, lease) is not None

    def pass_time(self, seconds: float) -> None:
        """Time goes by; living processes renew their leases meanwhile, as their threads do, and workers look around."""
        self.root.clock.forward(seconds)
        for actor in self.actors:
            run = self.prefect.runs.get(actor.run_id)
            if run is not None and run.state is StateType.CANCELLING and not actor.silent:
                self.kill(actor)
        for owner in self.read(leases.owners):
            if owner.process.pgid in self.living and not self.living[owner.process.pgid].silent:
                lease = leases.Lease(owner.item_id, owner.token, 0, owner.flow_run_id, owner.expires_at)
                self.write(leases.renew, lease, now=self.root.now(), ttl=self.root.settings.lease_ttl_s)

    # --- what comes from outside, and what goes there

    def hear(self, key: str, signal: Signal, *, again: int | None = None, **payload: Any) -> int:
        """A delivery that means something to the item; its number, by which it can come again."""
        self._heard += again is None
        number = again or self._heard
        payload = {**payload, "sequence_id": int(key.rpartition("-")[2])}
        actor = f"person {number}"
        said = InboundSignal(self.project.repository, f"card-{key}", signal, None, actor, actor, payload)
        inbox.receive(self.root, Delivery("plane", "made up", f"digest-{number}", (said,)), "", OWN)
        return number

    def post(self, *, times: int) -> None:
        """Send the letters: events come `times` times."""
        for letter in self.write(outbox.claim, self.root.now()):
            if letter.kind is outbox.Kind.EVENT:
                for _ in range(times):
                    asyncio.run(self._announced(dict(letter.payload)))
            self.write(outbox.sent, letter.id, self.root.now())

    async def _announced(self, event: dict[str, Any]) -> None:
        if event["event"] == WAIT_ANSWERED:
            await self.prefect.resume(str(event["resume"]))
        else:
            flow = STARTED_BY.get(event["event"], "wake") or event["stage"]
            await self.prefect.start(flow, {"work_item": event["work_item"]})


class _Errors(logging.Handler):
    """What Orch has logged as an error: nothing that it expects."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.said = said

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.getMessage()}: {record.exc_info and record.exc_info[1]!r}")


def _settings(folder: Path, project: dict[str, object]) -> Settings:
    defaults = {name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
    shop = {
        "key": "SHOP",
        "plane_project": "00000000-0000-4000-8000-000000000001",
        "repository": "acme/shop",
        "test_command": ["true"],
        "deploy_hook": ["deploy"],
        "health_probe": ["probe"],
        "verify_within_s": 0,
        **project,
    }
    own = {
        "state_dir": folder,
        "agent_command": ("true",),
        "projects_json": json.dumps([shop]),
        "task_deps_source": "db",
        "auto_label_enabled": False,
        "reconcile_skip_blocked_enabled": False,
        **{
            f"max_{role}_retries": 2 for role in ("analyst", "architect", "developer", "reviewer", "tester", "deployer")
        },
    }
    return Settings.model_validate({**defaults, **own})
