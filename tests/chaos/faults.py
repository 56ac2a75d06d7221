"""What goes wrong, drawn from the seed: processes die, webhooks are lost, neighbours fail, people move the branch."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deployments.sandbox.client import SandboxClient
from pipeline.model import WorkItem
from pipeline.settings import Settings
from pipeline.stages import WORKED, Stage
from pipeline.store import leases, waits
from pipeline.store.engine import Store
from pipeline.store.leases import Owner
from tests.chaos import processes
from tests.chaos.people import People
from tests.chaos.shop import REPOSITORIES

REST_S = 80.0
"""Seconds between two deaths of the same process: a supervisor gives up what dies more often than that, rightly."""

STARTS_S = 30.0
"""Seconds that a process of the product may need until it is there again."""

GARBAGE = "<html>502 Bad Gateway</html>"


@dataclass
class Killed:
    """A run that was killed while it owned an item; healed once another run owns it, has moved it on, or has left it waiting.

    It died `alone` when no process of the product itself died just before, or until it was healed.
    """

    key: str
    token: str
    version: int
    at: float
    alone: bool
    when: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass
class Faults:
    """Injects, counts, and watches how long the killed runs' items take to go on."""

    sandbox: SandboxClient
    settings: Settings
    store: Store
    people: People
    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    killed: list[Killed] = field(default_factory=list)
    healed_s: list[float] = field(default_factory=list)
    healed_alone_s: list[float] = field(default_factory=list)
    drops_next: bool = False
    _due: list[tuple[str, tuple[Stage, ...], float]] = field(default_factory=list)
    _died: dict[str, float] = field(default_factory=dict)

    def inject(self) -> str:
        """One fault; its name, empty when there was nothing to break."""
        name = self.chance.choices(NAMES, [OFTEN.get(name, 1) for name in NAMES])[0]
        if name in RUNS:
            self._due.append((name, RUNS[name], time.monotonic() + self.chance.uniform(0, 5)))
            return ""
        if not KINDS[name](self):
            return ""
        self.counts[name] += 1
        return name

    def end(self) -> None:
        """Nothing more goes wrong."""
        self._due.clear()
        self.sandbox.clear_faults()
        self.sandbox.flush()

    def watch(self) -> list[str]:
        """Kill the runs whose time has come, and note which killed runs' items have gone on; what was done and seen."""
        seen = []
        for planned in list(self._due):
            name, stages, at = planned
            if time.monotonic() >= at and self._kill_run(stages):
                self._due.remove(planned)
                self.counts[name] += 1
                seen.append(f"{name}: {self.killed[-1].key}")
        for one in list(self.killed):
            item = self.people.item(one.key)
            if item is None or item.version != one.version or self._another_was_there(item, one):
                self.killed.remove(one)
                seconds = time.monotonic() - one.at
                self.healed_s.append(seconds)
                self.healed_alone_s += [seconds] if one.alone else []
                seen.append(f"{one.key} goes on after {seconds:.0f} s{'' if one.alone else ', others died beside it'}")
        return seen

    def _another_was_there(self, item: WorkItem, dead: Killed) -> bool:
        owner = self.store.read(leases.owner, item.id)
        wait = self.store.read(waits.open_wait, item.id)
        return (owner is not None and owner.token != dead.token) or (wait is not None and wait.since > dead.when)

    # --- processes

    def _kill_run(self, stages: tuple[Stage, ...]) -> bool:
        """Kill a run that owns an item, at one of these stages; whether there was one."""
        dead = {one.token for one in self.killed}
        owners = [o for o in self.store.read(leases.owners) if o.stage in stages and o.token not in dead]
        return bool(owners) and self._kill(self.chance.choice(owners))

    def _kill(self, owner: Owner) -> bool:
        key = next((k for k in self.people.keys if (i := self.people.item(k)) and i.id == owner.item_id), None)
        item = self.people.item(key) if key else None
        if key is None or item is None or not processes.kill(owner.process.pgid):
            return False
        now = time.monotonic()
        alone = all(now - at > STARTS_S for at in self._died.values())
        self.killed.append(Killed(key, owner.token, item.version, now, alone))
        return True

    def kill_child(self, name: str) -> bool:
        """Kill one of the product's own processes, which is started again."""
        if time.monotonic() - self._died.get(name, 0.0) < REST_S:
            return False
        found = processes.child(name)
        self._died[name] = time.monotonic()
        for one in self.killed:
            one.alone = False
        return found is not None and processes.kill(found.pid)

    # --- webhooks, neighbours, people

    def drop(self) -> bool:
        """The next thing that a person does is not told."""
        self.drops_next = True
        return True

    def webhooks(self, how: str) -> bool:
        n = self.chance.randint(1, 5)
        match how:
            case "doubled":
                self.sandbox.duplicate_webhooks(n)
            case "reordered":
                self.sandbox.reorder_webhooks(n)
            case "late":
                self.sandbox.delay_webhooks(n, self.chance.uniform(1, 15))
        return True

    def neighbour(self, peer: str, how: str) -> bool:
        n = self.chance.randint(1, 6)
        match how:
            case "errors":
                self.sandbox.fail_next(peer, n, status=self.chance.choice((500, 502, 503)))  # type: ignore[arg-type]
            case "loses answers":
                self.sandbox.fail_next(peer, n, status=500, after=True)  # type: ignore[arg-type]
            case "garbage":
                self.sandbox.fail_next(peer, n, status=200, body=GARBAGE)  # type: ignore[arg-type]
            case "slow":
                self.sandbox.delay(peer, self.chance.uniform(1, 6), n)  # type: ignore[arg-type]
        return True

    def main_moves(self) -> bool:
        repository = self.chance.choice(list(REPOSITORIES.values()))
        number = sum(self.counts.values())
        self.sandbox.commit("main", {f"NOTES-{number}.md": "A person's note.\n"}, "A note", repository=repository)
        return True


KINDS: dict[str, Callable[[Faults], bool]] = {
    **{f"{name} killed": (lambda f, name=name: f.kill_child(name)) for name in processes.CHILDREN},  # type: ignore[misc]
    "webhook lost": lambda f: f.drop(),
    **{f"webhooks {how}": (lambda f, how=how: f.webhooks(how)) for how in ("doubled", "reordered", "late")},  # type: ignore[misc]
    **{
        f"{peer}: {how}": (lambda f, peer=peer, how=how: f.neighbour(peer, how))  # type: ignore[misc]
        for peer in ("plane", "gitea", "telegram")
        for how in ("errors", "loses answers", "garbage", "slow")
    },
    "main moved by a person": lambda f: f.main_moves(),
}

RUNS: dict[str, tuple[Stage, ...]] = {
    "run killed": WORKED,
    "merging run killed": (Stage.DEPLOY_STAGING, Stage.DEPLOY),
}
"""Kills of a run that owns an item, at one of these stages. None may be there when it is drawn, so the next one dies."""

OFTEN = {"run killed": 3, "merging run killed": 2, "webhook lost": 3}
"""What is drawn more often than the rest: what has to be healed, and is measured."""

NAMES = [*RUNS, *KINDS]
