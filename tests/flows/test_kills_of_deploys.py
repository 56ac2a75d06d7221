"""`kill -9` while an item is staged, deployed, watched, rolled back and reverted: every effect happens once.

By default an evenly spread choice of the checkpoints; `ORCH_KILL_EVERY=1` kills at each of them.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from sqlmodel import Session, select

from deployments.demo import PROJECT, REPOSITORY
from deployments.prefect_server import PrefectServer
from deployments.sandbox.stand_settings import stand_settings
from flows.reconcile import reconcile
from pipeline.model import WorkItem
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import evidence, journal, leases, queue, transitions, waits
from pipeline.store.engine import Store
from pipeline.store.outbox import Kind
from pipeline.store.tables import OutboxRow
from tests.flows.test_kills import chosen
from tests.support.kills import Stand, standing, within
from tests.support.shop_items import item_at

pytestmark = [pytest.mark.long, pytest.mark.timeout(within(1800))]

WATCHED = {"monitor_window_s": 1, "monitor_interval_s": 0.5, "verify_within_s": 6, "revert_when_degraded": True}


@dataclass(frozen=True, slots=True)
class Case:
    """A stage of an item that is staged and deployed; `degrades` has production turn unhealthy with its commit."""

    stage: Stage
    kills: int
    degrades: bool = False


CASES = {
    "staging": Case(Stage.DEPLOY_STAGING, 3),
    "deploy, verification and window": Case(Stage.DEPLOY, 4),
    "rollback and revert": Case(Stage.DEPLOY, 4, degrades=True),
}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Iterator[Stand]:
    """One item in production, whose revision a rollback brings back, and another with a snapshot before each stage."""
    folder = tmp_path_factory.mktemp("deploys")
    with standing(folder, prefect_server, project=lambda s: stand_settings(s.url, REPOSITORY) | WATCHED) as made:
        made.sandbox.ci("off")
        made.register_deployments()
        _bring_an_item_to_staging(made, "apples")
        for stage in (Stage.DEPLOY_STAGING, Stage.DEPLOY):
            if stage is Stage.DEPLOY:
                made.tell(Signal.DEPLOY_CONFIRMED)
            made.finish(stage)
        assert made.item.stage is Stage.DONE, made.item.hold_reason
        _bring_an_item_to_staging(made, "bells")
        made.deliver_all()
        made.snapshot(Stage.DEPLOY_STAGING)
        made.finish(Stage.DEPLOY_STAGING)
        made.tell(Signal.DEPLOY_CONFIRMED)
        made.deliver_all()
        made.snapshot(Stage.DEPLOY)
        yield made


def _bring_an_item_to_staging(stand: Stand, name: str) -> None:
    store = Store(stand.settings.store_url)
    try:
        stand.key = item_at(SimpleNamespace(sandbox=stand.sandbox, store=store), name, Stage.DEPLOY_STAGING)
    finally:
        store.dispose()


@pytest.mark.parametrize("name", CASES)
def test_a_deploy_that_is_killed_at_a_checkpoint_goes_on_and_does_nothing_twice(stand: Stand, name: str) -> None:
    case = CASES[name]
    _back(stand, case)
    passed = [checkpoint for run in stand.finish(case.stage) for checkpoint in run.passed]
    calm = _seen(stand)
    assert (calm["stands"], calm["open effects"]) == (_ends(case), [])
    failures, numbers = [], chosen(len(passed), case.kills)
    for number in numbers:
        _back(stand, case)
        killed = stand.finish(case.stage, kill_at=number)[-1]
        stand.finish(case.stage)
        if stand.read(leases.owners):  # of a run that died when nothing was left to be done: the tick buries it
            stand.run(lambda _key, **more: reconcile(**more))
        now = _seen(stand)
        where = killed.passed[-1] if killed.killed else "never reached"
        differs = [f"{k} {now[k]}, not {calm[k]}" for k in calm if now[k] != calm[k]]
        failures += [f"{number} {where}: {one} ({stand.item.hold_reason})" for one in differs]
    sys.stdout.write(f"{name}: {len(passed)} checkpoints, killed at {numbers}\n")
    assert not failures, "\n".join(failures)


def _back(stand: Stand, case: Case) -> None:
    """As it was before the stage; a fault of the stand is the sandbox's, so it is broken again."""
    stand.restore(case.stage)
    if case.degrades:
        stand.sandbox.break_stand("production", "unhealthy", revision=stand.item.validated)


def _ends(case: Case) -> tuple[str, bool]:
    """Where the stage leaves the item, and whether it is held there."""
    if case.degrades:
        return str(Stage.DEPLOY), True
    return str(Stage.DEPLOY if case.stage is Stage.DEPLOY_STAGING else Stage.DONE), False


def _seen(stand: Stand) -> dict[str, Any]:
    """Everything that must be the same however often the run was killed; no commits' names, for those differ."""
    stand.deliver_all()
    item, state = stand.item, stand.sandbox.state()
    repository, production = state.repositories[REPOSITORY], state.stands["production"]
    names = {item.landed: "landed", item.validated: "validated"}
    hooks = [(d.stand, d.hook, names.get(d.revision, "other")) for s in state.stands.values() for d in s.deploys]
    return {
        "stands": (str(item.stage), item.hold is not None),
        "attempts": (item.attempts, item.failures),
        "landed is validated": item.landed in (None, item.validated),
        "landed is deployed": item.deployed in (None, item.landed),
        "tips of main": len(repository.main_tips),
        "pull requests": [(pull.title, pull.merged) for pull in repository.pulls],
        "branches": len(repository.branches),
        "hooks": Counter(hooks),
        "production runs": names.get(production.revision, "other"),
        "comments": len(state.card(stand.key).comments),
        "card": state.card(stand.key).state,
        "processes": [line for line in stand.processes() if "deployments.sandbox.service" not in line],
        **stand.read(lambda session: _stored(session, item)),
    }


def _stored(session: Session, item: WorkItem) -> dict[str, Any]:
    effects = journal.of_item(session, item.id)
    letters = session.exec(select(OutboxRow)).all()
    topics = Counter(":".join((letter.dedupe or "").split(":")[:2]) for letter in letters if letter.dedupe)
    del topics["message:recovered"]
    return {
        "moves": [str(move.to_stage) for move in transitions.history(session, item.id)],
        "effects": Counter(effect.name for effect in effects),
        "open effects": [effect.key for effect in effects if effect.open],
        "tested is validated": evidence.tested_for_landing(session, item.id) == item.validated,
        "held": [*leases.owners(session), *queue.tickets(session, PROJECT), *waits.open_waits(session)],
        "said": topics,
        "unsent": [row.last_error for row in letters if row.sent_at is None and row.kind != Kind.EVENT],
    }
