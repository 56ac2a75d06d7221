"""The state machine under arbitrary signals, deaths at any write, racing runs, and lost and doubled events.

Everything that is written goes through the functions that the flows call, to a real SQLite file; the rest of the world
is made up in `tests.support.machine`.
"""

import random
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlmodel import Session, col, select

from deployments import operator
from pipeline.errors import LeaseLost, Refused, StaleWrite
from pipeline.model import Hold, Wait, WaitKind, WorkItem
from pipeline.signals import Signal
from pipeline.stages import WORKED, Stage, allowed
from pipeline.store import items, journal, waits
from pipeline.store.tables import OutboxRow, TicketRow, TransitionRow, WaitRow
from tests.support.machine import KEYS, Repository, World
from tests.support.machine_runs import run_of_stage, run_of_stop

KEY = st.sampled_from(KEYS)
STAGE = st.sampled_from([Stage.ANALYSIS, Stage.REVIEW, Stage.DEPLOY_STAGING, Stage.DEPLOY])
PERSON = {
    WaitKind.APPROVAL: Signal.APPROVED,
    WaitKind.CONFIRMATION: Signal.DEPLOY_CONFIRMED,
    WaitKind.ANSWER: Signal.ANSWER_GIVEN,
    WaitKind.INTEGRITY: Signal.ANSWER_GIVEN,
}


class Machine(RuleBasedStateMachine):
    """Two items of one project, up to four processes, and a world that does not behave."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))

    @initialize(chance=st.randoms(use_true_random=False), where=st.tuples(STAGE, STAGE))
    def begin(self, chance: random.Random, where: tuple[Stage, Stage]) -> None:
        """Items that have just begun, or have come some way already: what is far along is not met by chance alone."""
        self.world = World(self.folder, chance)
        for key, stage in zip(KEYS, where, strict=True):
            self.world.begin_at(key, stage)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.comes_to_an_end()
            self.world.root.store.dispose()
        shutil.rmtree(self.folder)

    # --- what may happen

    @rule(key=KEY, where=st.sampled_from([None, None, None, *WORKED]))
    def a_run_is_started(self, key: str, where: Stage | None) -> None:
        """The right stage's, mostly; events may come late, and any stage may be started by hand."""
        item = self.item(key)
        if len(self.world.actors) < 4 and (where or not item.stage.terminal):
            self.start(item, where or item.stage)

    @rule(number=st.integers(0, 3), steps=st.integers(1, 25))
    def a_run_goes_on(self, number: int, steps: int) -> None:
        actors = self.world.actors
        actor = actors[number % len(actors)] if actors else None
        for _ in range(steps):
            if actor is not None and actor in actors:
                self.world.step(actor)

    @precondition(lambda self: self.world.actors)
    @rule(number=st.integers(0, 3))
    def a_process_is_killed(self, number: int) -> None:
        self.world.kill(self.world.actors[number % len(self.world.actors)])

    @precondition(lambda self: self.world.actors)
    @rule(number=st.integers(0, 3))
    def a_process_is_killed_within_a_write(self, number: int) -> None:
        self.world.fail_next_write = True
        self.world.step(self.world.actors[number % len(self.world.actors)])
        self.world.fail_next_write = False

    @rule(key=KEY, signal=st.sampled_from(Signal), times=st.integers(1, 2))
    def something_is_heard(self, key: str, signal: Signal, times: int) -> None:
        """Any signal at any time, perhaps twice; what it says need not be true."""
        if signal is not Signal.STOP_REQUESTED:
            for _ in range(times):
                self.world.hear(key, signal, text="accept it", names_the_gate=True, after="c1", kind="rejected")

    @rule(key=KEY)
    def a_person_does_what_is_asked(self, key: str) -> None:
        self.decide(self.item(key))

    @rule(key=KEY, told=st.booleans())
    def somebody_pushes_to_the_task_branch(self, key: str, told: bool) -> None:
        repository = self.world.repository
        if (tip := repository.branches.get(key)) is not None:
            repository.branches[key] = repository.commit((tip,), f"{key} by hand {len(repository.trees)}")
            if told:
                self.world.hear(key, Signal.PUSHED, after=repository.branches[key], pusher="ada")

    @rule()
    def somebody_pushes_to_the_default_branch(self) -> None:
        repository = self.world.repository
        repository.main = repository.commit((repository.main,), f"by hand {len(repository.trees)}")

    @rule(key=KEY, told=st.booleans())
    def somebody_merges_the_pull_request(self, key: str, told: bool) -> None:
        repository, item = self.world.repository, self.item(key)
        if item.stage is Stage.DEPLOY and item.tip and not repository.contains(repository.main, item.tip):
            repository.main = repository.commit((repository.main, item.tip))
            if told:
                self.world.hear(key, Signal.PR_MERGED, merged_by="ada")

    @rule(key=KEY)
    def signals_are_applied(self, key: str) -> None:
        self.world.drain(key)

    @rule(seconds=st.sampled_from([1, 40, 400]))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    @rule(key=KEY)
    def a_person_retries(self, key: str) -> None:
        self.retry(key)

    @rule(key=KEY, one_in=st.integers(0, 4))
    def a_person_stops_it(self, key: str, one_in: int) -> None:
        if one_in == 0:
            self.world.hear(key, Signal.STOP_REQUESTED)

    @rule(key=KEY)
    def a_stop_is_carried_out(self, key: str) -> None:
        if self.item(key).cancel_requested_at is not None:
            self.world.start(f"stop {key}", run_of_stop(self.world, key))

    # --- what must hold at every moment

    @invariant()
    def all_promises_are_kept(self) -> None:
        """One look at the store a step; a sentence for each promise that is broken."""
        repository, found = self.world.repository, self.read(_look)
        broken = [sentence for seen in found.items for sentence in _broken(seen, repository)]
        broken += [f"{c} landed {n} times" for c, n in Counter(repository.landed).items() if n > 1]
        broken += [f"{d} deployed {n} times" for d, n in Counter(self.world.deploys).items() if n > 1]
        broken += [f"{c} landed untested" for c in set(repository.landed) - repository.green]
        broken += [f"{d} is said {n} times" for d, n in Counter(found.said).items() if n > 1]
        assert broken == []

    # --- the end

    def comes_to_an_end(self) -> None:
        """Driven on, every item ends or says what a person has to do; and with that person all end."""
        self.world.ci_speaks = True
        self.drive(with_person=False)
        for item in map(self.item, KEYS):
            wait = self.read(waits.open_wait, item.id)
            stated = item.hold_reason if item.hold else wait.sentence if wait and wait.kind.human else ""
            assert item.stage.terminal or stated, (item, wait)
        self.world.calm = True
        self.drive(with_person=True)
        for item in map(self.item, KEYS):
            assert item.stage.terminal, (item, self.read(waits.open_wait, item.id))
            if item.stage is Stage.DONE and item.landed is not None:
                assert self.world.repository.contains(self.world.serving, item.landed)

    def drive(self, *, with_person: bool) -> None:
        still = 0
        for _ in range(60):
            seen = self.read(_standing)
            for actor in list(self.world.actors):
                while actor in self.world.actors:
                    self.world.step(actor)
            self.world.pass_time(700)
            before = [self.item(key) for key in KEYS]
            for item in before:
                self.tick(item, with_person=with_person)
            self.all_promises_are_kept()
            still = still + 1 if self.read(_standing) == seen else 0
            if still == 3 or all(item.stage.terminal for item in before):
                return

    def tick(self, item: WorkItem, *, with_person: bool) -> None:
        """What the reconciler does, and a person who answers."""
        self.world.drain(item.key)
        if item.cancel_requested_at is not None and not item.stage.terminal:
            self.world.start(f"stop {item.key}", run_of_stop(self.world, item.key))
            return
        if with_person:
            self.retry(item.key)
            self.decide(self.item(item.key))
        if not (item := self.item(item.key)).stage.terminal:
            self.start(item, item.stage)

    # --- by what

    def item(self, key: str) -> WorkItem:
        found = self.world.item(key)
        assert found is not None
        return found

    def read(self, work: Any, *args: Any) -> Any:
        return self.world.read(work, *args)

    def start(self, item: WorkItem, stage: Stage) -> None:
        """A resumed run has the id of the one that waits."""
        wait: Wait | None = self.read(waits.open_wait, item.id)
        resumed = wait.flow_run_id if wait is not None and wait.kind.human else None
        run_id = resumed or f"run-{len(self.read(_transitions, item.id))}-{self.world.root.now().timestamp()}"
        self.world.start(f"{item.key} {stage}", run_of_stage(self.world, item.key, stage, run_id))

    def decide(self, item: WorkItem) -> None:
        wait = self.read(waits.open_wait, item.id)
        if wait is not None and wait.kind.human:
            self.world.hear(item.key, PERSON[wait.kind], text="accept", names_the_gate=True)

    def retry(self, key: str) -> None:
        item = self.item(key)
        if item.hold in (Hold.BLOCKED, Hold.ESCALATED, Hold.NEEDS_INPUT) and item.cancelled_at is None:
            try:
                self.world.write(operator._retry, key, "ada")
            except (Refused, StaleWrite, LeaseLost):
                return  # its run still holds it, or it is being stopped


def _standing(session: Session) -> list[tuple[int, str, str, bool]]:
    """What changes when anything gets on."""
    return [
        (item.version, item.stage, item.hold_reason, waits.open_wait(session, item.id) is None)
        for item in items.all_items(session)
    ]


def _transitions(session: Session, item_id: int) -> list[TransitionRow]:
    rows = select(TransitionRow).where(TransitionRow.item_id == item_id).order_by(col(TransitionRow.id))
    return list(session.exec(rows).all())


@dataclass(frozen=True, slots=True)
class Seen:
    """One item with everything that hangs on it."""

    item: WorkItem
    moves: list[TransitionRow]
    effects: list[journal.Effect]
    confirmed: set[str]
    waits: int
    tickets: int


@dataclass(frozen=True, slots=True)
class Look:
    """The store at one moment."""

    items: list[Seen]
    said: list[str]


def _look(session: Session) -> Look:
    open_waits = Counter(session.exec(select(WaitRow.item_id).where(col(WaitRow.closed_at).is_(None))).all())
    tickets = Counter(session.exec(select(TicketRow.item_id)).all())
    seen = [
        Seen(
            item,
            _transitions(session, item.id),
            journal.of_item(session, item.id),
            {d.commit for d in waits.decisions(session, item.id) if d.kind is WaitKind.CONFIRMATION},
            open_waits[item.id],
            tickets[item.id],
        )
        for item in items.all_items(session)
    ]
    return Look(seen, [d for d in session.exec(select(OutboxRow.dedupe)).all() if d is not None])


def _broken(seen: Seen, repository: Repository) -> list[str]:
    """What is not as it must be at every moment."""
    item, moves = seen.item, list(zip(seen.moves, seen.moves[1:], strict=False))
    asked, idle = item.cancel_requested_at, item.stage.terminal or item.hold is not None
    landed = {e.key.rpartition(":")[2] for e in seen.effects if e.name == "land" and not e.open}
    late = [e.key for e in seen.effects if asked and e.started_at > asked]
    went = [t.to_stage for t in seen.moves if asked and t.at > asked and t.to_stage not in ("cancelled", "done")]
    return [
        f"{item.key}: {sentence}"
        for sentence, kept in (
            ("its last transition is not where it stands", seen.moves[-1].to_stage == item.stage),
            ("a transition began elsewhere", all(b.from_stage == a.to_stage for a, b in moves)),
            ("two transitions of one version", all(b.version > a.version for a, b in moves)),
            ("off the table", all(allowed(Stage(a.to_stage), Stage(b.to_stage)) for a, b in moves)),
            (f"landed {item.landed}, validated {item.validated}", item.landed in (None, item.validated)),
            (f"landed {item.landed} untested", item.landed is None or item.landed in repository.green),
            ("landed and not on main", item.landed is None or repository.contains(repository.main, item.landed)),
            (f"landed {landed}, confirmed {seen.confirmed}", landed <= seen.confirmed),
            (f"begun after STOP: {late}", late == []),
            (f"moved to {went} after STOP", went == []),
            (f"{seen.waits} open waits", seen.waits <= 1),
            (f"ended or held, {seen.waits} waits, {seen.tickets} tickets", not idle or seen.waits + seen.tickets == 0),
        )
        if not kept
    ]


COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck)}
TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=6, stateful_step_count=40, **COMMON)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_machine_holds_for_hundreds_of_stories() -> None:
    run_state_machine_as_test(Machine, settings=settings(max_examples=300, stateful_step_count=60, **COMMON))
