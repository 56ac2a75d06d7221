"""The people: they write cards, approve, reject, confirm, stop, and each thing once; a person who has to say it again was
not heard."""

import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deployments import operator
from deployments.sandbox.client import SandboxClient
from pipeline.errors import OrchError
from pipeline.model import Wait, WaitKind, WorkItem
from pipeline.settings import Settings
from pipeline.stages import WORKED, Stage
from pipeline.store import freezes, items, leases, waits
from pipeline.store.engine import Store
from tests.chaos.shop import DESCRIPTION, REPOSITORIES, thing

PATIENCE_S = 600
"""How long a person waits for what he said to be taken before he says it again, which counts as a loss."""

STOPPED = 0.4
"""The share of items that a person stops, at a stage that is drawn, while a run is at work there."""

MOVES = {WaitKind.APPROVAL: "Approved", WaitKind.CONFIRMATION: "Confirm Deploy"}


@dataclass
class Said:
    """What a person did on the board, and when: until it has shown, it may be lost."""

    key: str
    what: str
    at: float
    wait: int | None = None
    dropped: bool = False
    repeated: int = 0


@dataclass
class People:
    """Everything that people have done, and what has not shown yet."""

    sandbox: SandboxClient
    settings: Settings
    store: Store
    chance: random.Random
    at_once: int
    things: int
    keys: list[str] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    stopped: set[str] = field(default_factory=set)
    retried: list[str] = field(default_factory=list)
    thawed: int = 0
    losses: list[str] = field(default_factory=list)
    healed_s: list[float] = field(default_factory=list)
    _decided: set[int] = field(default_factory=set)
    _rejected: set[str] = field(default_factory=set)
    _names: dict[str, str] = field(default_factory=dict)
    _held_since: dict[str, float] = field(default_factory=dict)
    _to_stop: dict[str, Stage] = field(default_factory=dict)

    def name_of(self, key: str) -> str:
        """What the item sells."""
        return self._names[key]

    # --- one look

    def look(self, *, begin: bool, drop: bool = False) -> None:
        """Do what is due; `begin` allows for new cards and STOPs, `drop` loses the next webhook on the way."""
        known = {key: self.item(key) for key in self.keys}
        live = [key for key, item in known.items() if item is None or not item.stage.terminal]
        if begin and len(live) < self.at_once and len(self.keys) < self.things:
            self._write_a_card(drop=drop)
        for key, item in known.items():
            if item is None or item.stage.terminal:
                continue
            wait = self.store.read(waits.open_wait, item.id)
            if wait is not None and wait.kind.human and wait.id not in self._decided:
                self._decide(key, wait, drop=drop)
            elif begin and self._to_stop.get(key) is item.stage and self._is_worked_on(item):
                del self._to_stop[key]
                self.stopped.add(key)
                self._move(Said(key, "Stop", time.monotonic()))
        self._notice()

    def _is_worked_on(self, item: WorkItem) -> bool:
        return self.store.read(leases.owner, item.id) is not None

    def retry_what_is_held(self, after_s: float = 0.0) -> None:
        """Let go on, after a while, what is held: nobody is asked whether the reason was a good one, but it is noted."""
        for key in self.keys:
            item = self.item(key)
            if item is None or item.hold is None or item.stage.terminal:
                self._held_since.pop(key, None)
                continue
            since = self._held_since.setdefault(key, time.monotonic())
            if time.monotonic() - since < after_s:
                continue
            try:
                operator.retry(self.settings, key, "ada")
                self.retried.append(f"{key} at {item.stage}, {item.hold}: {item.hold_reason}")
            except OrchError:
                continue  # its run still holds it

    def thaw_what_is_frozen(self) -> None:
        """A project whose runs die again and again waits for a person; whoever looks sees why, and lets it go on."""
        for project in REPOSITORIES:
            self.thawed += self.store.write(freezes.thaw, project, datetime.now(UTC))

    def _write_a_card(self, *, drop: bool) -> None:
        number = len(self.keys)
        project = list(REPOSITORIES)[number % len(REPOSITORIES)]
        key = self.sandbox.create_card(f"Sell {thing(number)}", DESCRIPTION, project=project)
        self.keys.append(key)
        self._names[key] = thing(number)
        if self.chance.random() < STOPPED:
            self._to_stop[key] = self.chance.choice(WORKED)
        self._move(Said(key, "To Analyse", time.monotonic(), dropped=drop))

    def _decide(self, key: str, wait: Wait, *, drop: bool) -> None:
        self._decided.add(wait.id)
        if wait.kind not in MOVES:
            self.sandbox.comment(key, "accept")
            return
        rejects = wait.kind is WaitKind.APPROVAL and key not in self._rejected and self.chance.random() < 0.15
        if rejects:
            self._rejected.add(key)
        what = "Rejected" if rejects else MOVES[wait.kind]
        self._move(Said(key, what, time.monotonic(), wait.id, dropped=drop))

    def _move(self, said: Said) -> None:
        if said.dropped:
            self.sandbox.drop_webhooks(1, peer="plane")
        self.sandbox.move_card(said.key, said.what)
        self.said.append(said)

    # --- what has shown

    def _notice(self) -> None:
        now = time.monotonic()
        for said in list(self.said):
            if self._shows(said):
                self.said.remove(said)
                if said.dropped:
                    self.healed_s.append(now - said.at)
            elif now - said.at > PATIENCE_S * (said.repeated + 1):
                if not said.repeated:
                    self.losses.append(f"{said.key}: {said.what} was not heard within {PATIENCE_S} s")
                said.repeated += 1
                self.sandbox.move_card(said.key, "Backlog")
                self.sandbox.move_card(said.key, said.what)

    def _shows(self, said: Said) -> bool:
        item = self.item(said.key)
        if said.what == "To Analyse" or item is None:
            return item is not None
        if item.stage.terminal:
            return True
        if said.what == "Stop":
            return item.cancel_requested_at is not None or item.landed is not None
        wait = self.store.read(waits.open_wait, item.id)
        return wait is None or wait.id != said.wait or wait.wake_requested_at is not None

    def item(self, key: str) -> WorkItem | None:
        """The item as it is."""
        return self.store.read(items.latest, key)

    def unfinished(self) -> list[str]:
        """Keys whose item has not ended."""
        found = {key: self.item(key) for key in self.keys}
        return [key for key, item in found.items() if item is None or item.stage not in (Stage.DONE, Stage.CANCELLED)]
