"""Watching the demo's items in the store, telling what happens, and playing the person who decides."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from rich.console import Console
from sqlmodel import Session

from deployments.demo_scenarios import Scenario
from deployments.sandbox.client import SandboxClient
from pipeline.errors import CouldNotRun
from pipeline.model import Answer, Wait, WaitKind, WorkItem
from pipeline.store import evidence, items, transitions, waits
from pipeline.store.engine import Store
from pipeline.store.transitions import Transition

T = TypeVar("T")

LOOK_S = 0.3

MOVES = {WaitKind.APPROVAL: "Approved", WaitKind.CONFIRMATION: "Confirm Deploy"}
"""To which column the person moves a card that waits for them."""

SIGNS = {
    Answer.PASS: "[green]✓[/]",
    Answer.FAIL: "[red]✗[/]",
    Answer.PENDING: "[yellow]…[/]",
    Answer.NOT_APPLICABLE: "–",
}


@dataclass
class Person:
    """Decides whenever somebody is waited for, and says so."""

    sandbox: SandboxClient
    console: Console
    scenario: Scenario
    silent: bool = False
    _decided: set[int] = field(default_factory=set)
    _broken: bool = False

    def see(self, item: WorkItem, wait: Wait, *, others_are_done: bool) -> None:
        """Do what the scenario has the person, or production, do about an item that waits."""
        if self.scenario.degrades and wait.kind is WaitKind.MONITOR and not self._broken:
            self._broken = True
            self.console.print("[magenta]production[/] turns unhealthy")
            self.sandbox.break_stand("production", "unhealthy", revision=item.landed)
        if wait.kind.human and not self.scenario.holds_back(item, wait, others_are_done):
            self._decide(item, wait)

    def _decide(self, item: WorkItem, wait: Wait) -> None:
        """Answer an item that waits for a decision, once a wait."""
        if self.silent or wait.id in self._decided:
            return
        self._decided.add(wait.id)
        if wait.kind not in MOVES:
            self.console.print(f"[cyan]person[/]  reads {item.key} ({wait.sentence}) and comments: accept")
            self.sandbox.comment(item.key, "accept")
            return
        self.console.print(f"[cyan]person[/]  reads {item.key} ({wait.sentence}) and moves it to {MOVES[wait.kind]}")
        self.sandbox.move_card(item.key, MOVES[wait.kind])


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the store."""

    items: list[WorkItem]
    waits: dict[int, Wait | None]
    moves: dict[int, list[Transition]]
    gates: dict[str, list[evidence.RecordedGate]]


class Watch:
    """Tells what happens to the items with these keys; of all items when `keys` is None."""

    def __init__(self, store: Store, keys: list[str] | None, console: Console, person: Person) -> None:
        self._store = store
        self._keys = keys
        self._console = console
        self._person = person
        self._told: dict[str, int] = {}
        self._since = time.monotonic()

    async def until_all_have_ended(self, ended: Callable[[WorkItem], bool], *, within_s: float) -> None:
        """Return when every item has `ended`. Raises `CouldNotRun` when one is held otherwise or takes too long."""
        while time.monotonic() - self._since < within_s:
            seen = await self._look()
            if len(seen.items) == len(self._keys or []) and all(ended(item) for item in seen.items):
                return
            held = [item for item in seen.items if item.hold is not None and not ended(item)]
            if held:
                raise CouldNotRun(f"{held[0].key} is {held[0].hold}: {held[0].hold_reason}")
            await asyncio.sleep(LOOK_S)
        standing = ", ".join(f"{item.key} at {item.stage}" for item in seen.items) or "nothing was started"
        raise CouldNotRun(f"Not done after {within_s:.0f} s: {standing}.")

    async def forever(self) -> None:
        """Go on telling."""
        while True:
            await self._look()
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> Seen:
        seen = await self._store.aread(_see, self._keys)
        for item in seen.items:
            self._tell(item, seen)
            wait = seen.waits[item.id]
            if wait is not None:
                done = all(other.stage.terminal for other in seen.items if other.key != item.key)
                await asyncio.to_thread(self._person.see, item, wait, others_are_done=done)
        return seen

    def _tell(self, item: WorkItem, seen: Seen) -> None:
        for gate in self._new(f"gates {item.key}", seen.gates[item.key]):
            self._line(item, f"  {SIGNS[gate.result.answer]} {gate.gate}: {gate.result.sentence}")
        for move in self._new(f"moves {item.key}", seen.moves[item.id]):
            here = f"{move.from_stage} " if move.from_stage else ""
            took = f"  [dim]{move.seconds:.1f} s[/]" if move.from_stage else ""
            self._line(item, f"[bold]{here}→ {move.to_stage}[/]{took}")

    def _new(self, name: str, rows: list[T]) -> list[T]:
        told = self._told.get(name, 0)
        self._told[name] = len(rows)
        return rows[told:]

    def _line(self, item: WorkItem, text: str) -> None:
        seconds = int(time.monotonic() - self._since)
        self._console.print(f"[dim]{seconds // 60:02d}:{seconds % 60:02d}[/]  {item.key}  {text}")


def _see(session: Session, keys: list[str] | None) -> Seen:
    known = [item for item in reversed(items.all_items(session)) if keys is None or item.key in keys]
    return Seen(
        items=known,
        waits={item.id: waits.open_wait(session, item.id) for item in known},
        moves={item.id: transitions.history(session, item.id) for item in known},
        gates={item.key: evidence.gates_of(session, item.key) for item in known},
    )
