"""The state machine under arbitrary signals, deaths at any write, racing runs, and lost and doubled events.

The flows run as they are, on a real SQLite file; what is outside of Orch is made up in `tests.support.machine`, and what
must hold is told in its `promises`.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlmodel import Session

from deployments import operator
from pipeline.errors import LeaseLost, Refused, StaleWrite
from pipeline.model import Hold, Wait, WaitKind, WorkItem
from pipeline.signals import Signal
from pipeline.stages import WORKED, Stage
from pipeline.store import dependencies, freezes, inbox, items, places, waits
from tests.support.machine.actors import Actor
from tests.support.machine.promises import Promises
from tests.support.machine.world import ELSEWHERE, HERE, KEYS, World

KEY = st.sampled_from(KEYS)
STAGE = st.sampled_from([Stage.ANALYSIS, Stage.REVIEW, Stage.DEPLOY_STAGING, Stage.DEPLOY])
SERIAL = {"max_active_items": 1}
WATCHED = {"monitor_window_s": 60, "rollback_hook": ["roll", "back"], "revert_when_degraded": True}
PERSON = {
    WaitKind.APPROVAL: Signal.APPROVED,
    WaitKind.CONFIRMATION: Signal.DEPLOY_CONFIRMED,
    WaitKind.ANSWER: Signal.ANSWER_GIVEN,
    WaitKind.INTEGRITY: Signal.ANSWER_GIVEN,
}
FORMS = {
    WaitKind.APPROVAL: {"decision": "approve"},
    WaitKind.CONFIRMATION: {"decision": "confirm"},
    WaitKind.ANSWER: {"answer": "the first"},
    WaitKind.INTEGRITY: {"decision": "accept"},
}


class Machine(RuleBasedStateMachine):
    """Two items of one project, a few processes, and a world that does not behave."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-", dir=SHM if SHM.is_dir() else None))

    @initialize(
        seed=st.integers(0, 2**32),
        where=st.tuples(STAGE, STAGE),
        project=st.sampled_from([{}, SERIAL, WATCHED, {**SERIAL, **WATCHED}]),
    )
    def begin(self, seed: int, where: tuple[Stage, Stage], project: dict[str, object]) -> None:
        """Items that have just begun, or have come some way already: what is far along is not met by chance alone."""
        self.world = World(self.folder, seed, **project).__enter__()
        self.promises = Promises(self.world)
        self.helped = dict.fromkeys(KEYS, 0)
        for key, stage in zip(KEYS, where, strict=True):
            self.world.begin_at(key, stage)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.comes_to_an_end()
            finally:
                self.world.__exit__()
        shutil.rmtree(self.folder)

    # --- processes

    @rule(key=KEY, where=st.sampled_from([None, None, None, *WORKED]))
    def a_run_is_scheduled(self, key: str, where: Stage | None) -> None:
        """The right stage's, mostly; events may come late, and any stage may be started by hand."""
        stage = where or self.world.item(key).stage
        if not stage.terminal:
            self.world.start(stage, key)

    @precondition(lambda self: len(self.world.living) < 5 and self.world.prefect.scheduled())
    @rule(number=st.integers(0, 9), host=st.sampled_from([HERE, HERE, ELSEWHERE]))
    def a_worker_begins_a_run(self, number: int, host: str) -> None:
        due = self.world.prefect.scheduled()
        self.world.take(due[number % len(due)], host)

    @precondition(lambda self: len(self.world.living) < 5)
    @rule(host=st.sampled_from([HERE, ELSEWHERE]))
    def all_runs_are_begun(self, host: str) -> None:
        for run in self.world.prefect.scheduled()[:3]:
            self.world.take(run, host)

    @precondition(lambda self: len(self.world.living) < 5)
    @rule()
    def a_tick_begins(self) -> None:
        self.world.tick()

    @precondition(lambda self: self.world.living)
    @rule(number=st.integers(0, 4), steps=st.sampled_from([1, 3, 10, 30, 100]))
    def a_process_goes_on(self, number: int, steps: int) -> None:
        self.go_on(self.actor(number), steps)

    @precondition(lambda self: self.world.living)
    @rule(steps=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 20)), min_size=4, max_size=12))
    def processes_race(self, steps: list[tuple[int, int]]) -> None:
        for number, length in steps:
            if self.world.living:
                self.go_on(self.actor(number), length)

    @precondition(lambda self: self.world.living)
    @rule(number=st.integers(0, 4), seen=st.booleans())
    def a_process_is_killed(self, number: int, seen: bool) -> None:
        self.world.kill(self.actor(number), seen=seen)

    @precondition(lambda self: self.world.living)
    @rule(number=st.integers(0, 4))
    def a_process_is_killed_within_a_write(self, number: int) -> None:
        actor = self.actor(number)
        actor.cuts_its_next_write = True
        self.go_on(actor, 40)

    @precondition(lambda self: self.world.living)
    @rule(number=st.integers(0, 4))
    def the_renewals_of_a_process_do_not_get_through(self, number: int) -> None:
        self.actor(number).silent = True

    @rule(one_in=st.integers(0, 3))
    def this_host_is_started_anew(self, one_in: int) -> None:
        if one_in == 0:
            self.world.restart_host()

    @rule()
    def the_runs_hear_of_stops(self) -> None:
        self.world.listen()

    # --- what happens outside

    @rule(times=st.sampled_from([0, 1, 1, 2]))
    def letters_are_sent(self, times: int) -> None:
        self.world.post(times=times)

    @rule(seconds=st.sampled_from([1, 40, 400]))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    @rule(away=st.booleans())
    def the_forge_goes_or_comes(self, away: bool) -> None:
        self.world.chance.away = away

    @rule(key=KEY, told=st.booleans())
    def somebody_pushes_to_the_task_branch(self, key: str, told: bool) -> None:
        repository, branch = self.world.repository, self.world.item(key).branch
        if (tip := repository.branches.get(branch)) is not None:
            repository.branches[branch] = repository.commit((tip,), f"{key}:by hand {len(repository.trees)}")
            if told:
                self.world.hear(key, Signal.PUSHED, after=repository.branches[branch], pusher="ada")

    @rule()
    def somebody_pushes_to_the_default_branch(self) -> None:
        repository = self.world.repository
        repository.main = repository.commit((repository.main,), f"by hand {len(repository.trees)}")

    @rule(key=KEY, told=st.booleans())
    def somebody_merges_the_pull_request(self, key: str, told: bool) -> None:
        repository, item = self.world.repository, self.world.item(key)
        if item.stage is Stage.DEPLOY and item.tip and not repository.contains(repository.main, item.tip):
            repository.main = repository.commit((repository.main, item.tip))
            if told:
                self.world.hear(key, Signal.PR_MERGED, merged_by="ada")

    # --- what people do

    @rule(key=KEY, signal=st.sampled_from(Signal), again=st.booleans())
    def something_is_heard(self, key: str, signal: Signal, again: bool) -> None:
        """Any signal at any time, perhaps twice; what it says need not be true."""
        if signal is not Signal.STOP_REQUESTED:
            said: dict[str, Any] = {"text": "accept it", "names_the_gate": True, "after": "c1", "kind": "rejected"}
            number = self.world.hear(key, signal, **said, reviewer="ada")
            if again:
                self.world.hear(key, signal, again=number, **said, reviewer="ada")

    @rule(key=KEY)
    def a_person_does_what_is_asked(self, key: str) -> None:
        self.decide(key)

    @rule(key=KEY)
    def a_person_fills_in_the_form(self, key: str) -> None:
        """In Prefect's own page, of any run that is suspended, needed or not."""
        for run in self.world.prefect.suspended(key):
            wait = self.wait(self.world.item(key))
            if wait is not None and wait.kind in FORMS and wait.key in run.keys:
                run.forms[wait.key] = FORMS[wait.kind]
            self.world.resume(run)

    @rule(key=KEY)
    def a_person_retries(self, key: str) -> None:
        self.retry(key)

    @rule(key=KEY, one_in=st.integers(0, 3))
    def a_person_stops_it(self, key: str, one_in: int) -> None:
        if one_in == 0:
            self.world.hear(key, Signal.STOP_REQUESTED)

    @rule(frozen=st.booleans())
    def a_person_freezes_or_thaws(self, frozen: bool) -> None:
        self.freeze(frozen)

    @rule(key=KEY)
    def a_person_has_it_wait_for_the_other(self, key: str) -> None:
        """Even where both then wait for each other."""
        [other] = set(KEYS) - {key}
        self.world.write(dependencies.add, key, other, dependencies.BY_HAND, self.world.root.now())

    # --- what must hold at every moment

    @invariant()
    def all_promises_are_kept(self) -> None:
        assert self.promises.look() == []

    # --- the end

    def comes_to_an_end(self) -> None:
        """Driven on by ticks alone, every item ends or says what a person has to do; and with that person all end."""
        self.world.chance.away = False
        self.drive(with_person=False)
        for key in KEYS:
            assert self.stated(self.world.item(key)), (self.world.item(key), self.wait(self.world.item(key)))
        self.world.chance.calm = True
        self.freeze(False)
        self.drive(with_person=True)
        for item in map(self.world.item, KEYS):
            assert item.stage.terminal, (item, self.wait(item))
            if item.stage is Stage.DONE and item.landed is not None:
                assert self.world.repository.contains(self.world.production.serving, item.landed)
        assert self.world.read(inbox.unconsumed) == []

    def stated(self, item: WorkItem) -> bool:
        """Whether it has ended, or it is said what it waits for and only a person can see to."""
        wait, read = self.wait(item), self.world.read
        if item.stage.terminal or item.hold_reason or read(freezes.breaker, item.project):
            return True
        if wait is None or not wait.sentence:
            return False
        others = {
            WaitKind.FREEZE: lambda: read(freezes.in_the_way, item.project),
            WaitKind.DEPENDENCY: lambda: read(dependencies.unfinished, item.key, ("db",)),
            WaitKind.SERIAL: lambda: read(places.active, item.project),
        }
        return wait.kind.human or bool(others.get(wait.kind, lambda: False)())

    def drive(self, *, with_person: bool) -> None:
        still = 0
        for _ in range(60):
            seen = self.world.read(_standing)
            for run in self.world.prefect.scheduled():
                self.world.take(run)
            for actor in [*self.world.actors, self.world.tick()]:
                while not actor.over:
                    self.world.step(actor)
            self.world.pass_time(700)
            self.all_promises_are_kept()
            if with_person:
                self.help()
            ci = any((wait := self.wait(self.world.item(key))) and wait.kind is WaitKind.CI for key in KEYS)
            still = still + 1 if self.world.read(_standing) == seen and not ci else 0  # CI may run for many looks
            if still == 4 or all(self.world.item(key).stage.terminal for key in KEYS):
                return

    def help(self) -> None:
        """What a person does who reads what is said: decides, thaws, retries, and gives up what does not get better."""
        for key in KEYS:
            item = self.world.item(key)
            self.world.write(freezes.thaw, item.project, self.world.root.now())
            self.decide(key)
            if item.hold is None:
                continue
            self.helped[key] += 1
            for on in KEYS:
                self.world.write(dependencies.remove, key, on, self.world.root.now())
            if self.helped[key] > 5:
                self.world.hear(key, Signal.STOP_REQUESTED)
            self.retry(key)

    # --- by what

    def actor(self, number: int) -> Actor:
        return self.world.actors[number % len(self.world.living)]

    def go_on(self, actor: Actor, steps: int) -> None:
        for _ in range(steps):
            if not actor.over:
                self.world.step(actor)

    def wait(self, item: WorkItem) -> Wait | None:
        found: Wait | None = self.world.read(waits.open_wait, item.id)
        return found

    def decide(self, key: str) -> None:
        wait = self.wait(self.world.item(key))
        if wait is not None and wait.kind.human:
            self.world.hear(key, PERSON[wait.kind], text="accept", names_the_gate=True)

    def retry(self, key: str) -> None:
        item = self.world.item(key)
        if item.hold in (Hold.BLOCKED, Hold.ESCALATED, Hold.NEEDS_INPUT) and item.cancelled_at is None:
            try:
                self.world.write(operator._retry, key, "ada")
            except (Refused, StaleWrite, LeaseLost):
                return  # its run still holds it, or it is being stopped

    def freeze(self, frozen: bool) -> None:
        now = self.world.root.now()
        if frozen:
            self.world.write(freezes.freeze, "SHOP", actor="ada", why="a fair", now=now)
            self.promises.frozen_at = self.promises.frozen_at or now
        else:
            while self.world.write(freezes.thaw, "SHOP", now):
                self.promises.frozen_at = None


def _standing(session: Session) -> list[tuple[int, str, str, bool]]:
    """What changes when anything gets on."""
    return [
        (item.version, item.stage, item.hold_reason, waits.open_wait(session, item.id) is None)
        for item in items.all_items(session)
    ]


SHM = Path("/dev/shm")
"""Memory where there is any for files: a story makes thousands of transactions."""

STORIES = int(os.environ.get("ORCH_MACHINE_STORIES", "100"))
"""How many stories the long test tells."""

COMMON: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.explicit, Phase.reuse, Phase.generate],  # to find the shortest story takes longer than to read one
}
TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=4, stateful_step_count=40, **COMMON)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_machine_holds_for_hundreds_of_stories() -> None:
    run_state_machine_as_test(Machine, settings=settings(max_examples=STORIES, stateful_step_count=60, **COMMON))
