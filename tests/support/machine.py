"""The state machine without Prefect and without a network: stage runs as they write the store, one step at a time.

A run is a generator that stops before every write and every effect, so that a test decides who goes on, who dies and
what arrives in between. All that is written goes through the very functions that the flows call; only what is outside
of Orch (the repository, the tests' verdicts, the agents, production) is made up here.
"""

import json
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pipeline.errors import LeaseLost, StaleWrite
from pipeline.model import ProcessIdentity, TestRun, WorkItem
from pipeline.settings import Settings
from pipeline.signals import Signal
from pipeline.stages import WORKED, Stage
from pipeline.store import evidence, inbox, items, leases, reactions
from tests.support.services import ClockedServices, migrated, services_of

Steps = Generator[str, None, None]
KEYS = ("SHOP-1", "SHOP-2")
PROJECT = {
    "key": "SHOP",
    "plane_project": "00000000-0000-4000-8000-000000000001",
    "repository": "acme/shop",
    "test_command": ["true"],
    "deploy_hook": ["true"],
    "health_probe": ["true"],
}


@dataclass(frozen=True, kw_only=True)
class Root(ClockedServices):
    """Services among whose processes the test decides who lives."""

    living: set[int]

    def alive(self, process: ProcessIdentity) -> bool | None:
        return process.pgid in self.living


class Repository:
    """The default branch and the task branches: commits with their parents and the set of changes that they contain."""

    def __init__(self) -> None:
        self.trees: dict[str, frozenset[str]] = {"c0": frozenset()}
        self.parents: dict[str, tuple[str, ...]] = {"c0": ()}
        self.main = "c0"
        self.branches: dict[str, str] = {}
        self.landed: list[str] = []
        self.green: set[str] = set()

    def commit(self, parents: tuple[str, ...], *changes: str) -> str:
        name = f"c{len(self.trees)}"
        self.parents[name] = parents
        self.trees[name] = frozenset().union(*(self.trees[p] for p in parents), changes)
        return name

    def rebased(self, tip: str, onto: str) -> str:
        if self.contains(tip, onto):
            return tip
        missing = self.trees[tip] - self.trees[onto]
        return self.commit((onto,), *missing) if missing else onto

    def contains(self, commit: str, other: str) -> bool:
        return commit == other or any(self.contains(parent, other) for parent in self.parents[commit])

    def land(self, commit: str, expected: str) -> bool:
        """What the forge does: from exactly the expected commit, or not at all."""
        if self.main != expected:
            return False
        self.main = commit
        self.landed.append(commit)
        return True


@dataclass
class Actor:
    """One process: a run of a stage, or of STOP."""

    pid: int
    name: str
    steps: Steps


@dataclass
class World:
    """Everything that there is. `calm` makes every verdict green, `ci_speaks` ends CI's silence."""

    folder: Path
    chance: random.Random
    repository: Repository = field(default_factory=Repository)
    actors: list[Actor] = field(default_factory=list)
    deploys: list[str] = field(default_factory=list)
    serving: str = "c0"
    calm: bool = False
    ci_speaks: bool = False
    fail_next_write: bool = False
    _pids: int = 100_000

    def __post_init__(self) -> None:
        settings = _settings(self.folder)
        made = services_of(settings, migrated(settings))
        inherited = {f.name: getattr(made, f.name) for f in fields(made)}
        self.root = Root(**inherited, living=set())
        self.project = self.root.project("SHOP")

    def begin_at(self, key: str, stage: Stage) -> None:
        """An item that has come to `stage`, with its branch unless it has just begun."""
        new = items.NewItem(key, "SHOP", f"card-{key}", "It", f"feature/{key}")
        said: dict[str, Any] = {"actor": "ada", "reason": "", "run": None, "now": self.root.now()}
        item, _created = self.root.store.write(items.create, new, **said)
        for there in WORKED[1 : WORKED.index(stage) + 1]:
            item = self.root.store.write(items.move, item, there, token=None, **said)
        if stage is not Stage.ANALYSIS:
            tip = self.repository.branches[key] = self.repository.commit(("c0",), f"{key} so far")
            self.root.store.write(items.update, item, None, said["now"], tip=tip, head=tip)
            if stage is Stage.DEPLOY:
                self._validated(item, tip)

    def _validated(self, item: WorkItem, tip: str) -> None:
        """What the merge gate leaves behind."""
        now = self.root.now()
        ran = TestRun(tip, True, "tests", 1.0, Path("log"), ())
        self.root.store.write(evidence.tests_ran, item.id, f"{evidence.MERGE_PURPOSE}c0", ran, now)
        self.root.store.write(items.update, item, None, now, validated=tip, validated_base="c0")
        self.repository.green.add(tip)

    # --- the store

    def write(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A write; one that was told to fail is rolled back together with its process."""
        if not self.fail_next_write:
            return self.root.store.write(work, *args, **kwargs)
        self.fail_next_write = False

        def cut_off(session: Any) -> None:
            work(session, *args, **kwargs)
            raise Died

        return self.root.store.write(cut_off)

    def read(self, work: Callable[..., Any], *args: Any) -> Any:
        return self.root.store.read(work, *args)

    def item(self, key: str) -> WorkItem | None:
        found = self.read(items.latest, key)
        assert found is None or isinstance(found, WorkItem)
        return found

    # --- processes

    def start(self, name: str, make: Callable[[int], Steps]) -> Actor:
        self._pids += 1
        self.root.living.add(self._pids)
        actor = Actor(self._pids, name, make(self._pids))
        self.actors.append(actor)
        return actor

    def step(self, actor: Actor) -> None:
        """Let it go on up to its next write or effect; the end of a run is the end of its process."""
        self.root.clock.forward(0.001)
        try:
            next(actor.steps)
        except (StopIteration, Died):
            self.kill(actor)

    def kill(self, actor: Actor) -> None:
        """It is gone as after kill -9: nothing of it runs any more."""
        actor.steps.close()
        self.root.living.discard(actor.pid)
        if actor in self.actors:
            self.actors.remove(actor)

    def pass_time(self, seconds: float) -> None:
        """Time goes by; living processes renew their leases meanwhile, as their threads do."""
        self.root.clock.forward(seconds)
        for owner in self.read(leases.owners):
            if self.root.alive(owner.process):
                lease = leases.Lease(owner.item_id, owner.token, 0, owner.flow_run_id, owner.expires_at)
                self.root.store.write(leases.renew, lease, now=self.root.now(), ttl=30)

    # --- what comes from outside

    def hear(self, key: str, signal: Signal, **payload: Any) -> None:
        """What the receiver does with a delivery that means something to the item."""
        self.root.store.write(self._heard, key, signal, payload)

    def _heard(self, session: Any, key: str, signal: Signal, payload: dict[str, Any]) -> None:
        now = self.root.now()
        stored = inbox.signal(
            session, delivery_id=None, project="SHOP", item_key=key, signal=signal, actor="a person", payload=payload,
            now=now,
        )  # fmt: skip
        if signal.value in AT_ONCE:
            reactions.apply(session, stored, now, self.root.texts)

    def drain(self, key: str) -> None:
        for stored in self.read(inbox.unconsumed, key):
            try:
                self.root.store.write(reactions.apply, stored, self.root.now(), self.root.texts)
            except (StaleWrite, LeaseLost):
                continue

    # --- verdicts

    def red(self, one_in: int) -> bool:
        return not self.calm and self.chance.randrange(one_in) == 0


AT_ONCE = {"approved", "rejected", "deploy_confirmed", "answer_given", "stop_requested"}


class Died(BaseException):
    """The process was killed within a transaction."""


def _settings(folder: Path) -> Settings:
    defaults = {name: field.get_default(call_default_factory=True) for name, field in Settings.model_fields.items()}
    return Settings.model_validate(
        {**defaults, "state_dir": folder, "agent_command": ("true",), "projects_json": json.dumps([PROJECT])}
    )
