"""`kill -9` at every checkpoint of the flows that start, wake, stop and heal: run again, all is as if nothing had been.

By default an evenly spread choice of the checkpoints; `ORCH_KILL_EVERY=1` kills at each of them.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlmodel import Session, col, select

from deployments.definitions import read_definitions
from deployments.demo import PROJECT
from deployments.prefect_server import PrefectServer
from flows.intake import intake
from flows.reconcile import reconcile
from flows.stop import stop
from flows.wake import wake
from pipeline.model import WaitKind
from pipeline.signals import STAGE_ENTERED, Signal
from pipeline.stages import WORKED, Stage
from pipeline.store import evidence, inbox, items, leases, outbox, queue, transitions, waits
from pipeline.store.engine import Store
from pipeline.store.tables import OutboxRow, SignalRow, WorkItemRow
from tests.flows.test_kills import CASES, chosen, taken_out
from tests.support.kills import DESCRIPTION, Stand, standing, within

TICKS = 4
"""How many runs may be needed until all is as it should be."""


def a_card_was_moved(stand: Stand) -> None:
    """A person has moved a card, and no webhook told: the sandbox sends none here."""
    stand.key = stand.sandbox.create_card("Print a receipt", DESCRIPTION)
    stand.sandbox.move_card(stand.key, "To Analyse")


def news_came_for_one_that_waits(stand: Stand) -> None:
    """An item waits for CI, and CI has spoken."""
    a_card_was_moved(stand)
    _write(stand, _waiting_with_news, stand.key, stand.sandbox.card(stand.key).id)


def one_that_was_worked_on_is_to_be_stopped(stand: Stand) -> None:
    """An item at development, with its worktree and what its stages left behind, that a person has stopped."""
    a_card_was_moved(stand)
    stand.run(intake)
    stand.bring_to(Stage.ARCHITECTURE)
    stand.tell(Signal.STOP_REQUESTED)


@dataclass(frozen=True, slots=True)
class Control:
    """A flow, what it finds, how many kills are the default, and whether it is left to `make test-long`."""

    flow: Callable[..., Any]
    finds: Callable[[Stand], None]
    kills: int
    long: bool = False


CONTROL = {
    "intake": Control(intake, a_card_was_moved, 1),
    "wake": Control(wake, news_came_for_one_that_waits, 1, long=True),
    "stop": Control(stop, one_that_was_worked_on_is_to_be_stopped, 1),
    "reconcile": Control(lambda _key, **more: reconcile(**more), a_card_was_moved, 2, long=True),
}


def test_every_deployed_flow_is_killed_somewhere() -> None:
    """The flows come from the deployments; who adds one adds its case."""
    assert {d.name for d in read_definitions()} == {str(case.stage) for case in CASES.values()} | set(CONTROL)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("control"), prefect_server) as made:
        made.register_deployments()
        made.snapshot("nothing")
        yield made


@pytest.mark.timeout(within(600))
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if case.long else []) for name, case in CONTROL.items()]
)
def test_a_control_flow_that_is_killed_at_a_checkpoint_is_made_good_by_its_next_run(stand: Stand, name: str) -> None:
    case = CONTROL[name]
    stand.restore("nothing")
    case.finds(stand)
    stand.snapshot(name)
    passed = stand.run(case.flow).passed
    calm = seen_after(stand, case)
    failures = []
    for number in chosen(len(passed), case.kills):
        stand.restore(name)
        killed = stand.run(case.flow, kill_at=number)
        in_doubt = stand.read(taken_out)
        now = seen_after(stand, case)
        if sent_at_least_once(calm["messages"], now["messages"], in_doubt):
            now["messages"] = calm["messages"]
        where = killed.passed[-1] if killed.killed else "never reached"
        failures += [f"{number} {where}: {k} {now[k]}, not {calm[k]}" for k in calm if now[k] != calm[k]]
    assert not failures, "\n".join(failures)
    assert passed, "the flow does nothing that could be interrupted"


def sent_at_least_once(calm: Counter[str], now: Counter[str], in_doubt: int) -> bool:
    """Whether all messages went, and no more of them twice than nobody can know of: Telegram tells no message's identity."""
    return now >= calm and (now - calm).total() <= in_doubt and now.keys() == calm.keys()


def seen_after(stand: Stand, case: Control) -> dict[str, Any]:
    """How things are once the flow has been run again and everything was sent."""
    for _ in range(TICKS):
        if not stand.run(case.flow).passed:
            break
    stand.deliver_all()
    stand.run(case.flow)  # sending may hear what somebody said, as every look at the card does
    stand.deliver_all()
    card = stand.sandbox.card(stand.key)
    worktree = stand.settings.state_dir / "worktrees" / PROJECT / stand.key
    return {
        **stand.read(lambda session: _stored(session, stand.key)),
        "card": card.state,
        "comments": [comment.external_id for comment in card.comments],
        "messages": Counter(message.text for message in stand.sandbox.state().telegram.messages),
        "worktree": worktree.exists(),
        "processes": stand.processes(),
    }


def _stored(session: Session, key: str) -> dict[str, Any]:
    rows = session.exec(select(WorkItemRow).where(WorkItemRow.key == key)).all()
    signals = session.exec(select(SignalRow).order_by(col(SignalRow.id))).all()
    letters = session.exec(select(OutboxRow)).all()
    return {
        "items": [(row.stage, row.cancelled_at is not None) for row in rows],
        "moves": [str(move.to_stage) for row in rows for move in transitions.history(session, row.id or 0)],
        "signals": [(row.signal, row.consumed_at is not None, row.consequence) for row in signals],
        "announced": [row.payload["stage"] for row in letters if row.payload.get("event") == STAGE_ENTERED],
        "unsent": [row.last_error for row in letters if row.sent_at is None and row.kind != outbox.Kind.EVENT],
        "owners": leases.owners(session),
        "tickets": queue.tickets(session, PROJECT),
        "waits": [wait.kind for wait in waits.open_waits(session)],
        "agents": [len(evidence.unfinished_agent_runs(session, row.id or 0)) for row in rows],
    }


def _waiting_with_news(session: Session, key: str, card: str) -> None:
    now = datetime.now(UTC)
    new = items.NewItem(key, PROJECT, card, "Print a receipt", f"feature/{key}")
    said: dict[str, Any] = {"actor": "ada", "reason": "worked", "run": None, "now": now}
    item, _created = items.create(session, new, **said)
    for there in WORKED[1 : WORKED.index(Stage.DEVELOPMENT) + 1]:
        item = items.move(session, item, there, token=None, **said)
    waits.begin(session, item, WaitKind.CI, key=f"ci-{key}", sentence="Waiting for CI.", now=now)
    inbox.signal(
        session, delivery_id=None, project=PROJECT, item_key=key, signal=Signal.CI_FINISHED, actor="ci", payload={},
        now=now,
    )  # fmt: skip


def _write(stand: Stand, work: Callable[..., None], *args: Any) -> None:
    store = Store(stand.settings.store_url)
    try:
        store.write(work, *args)
    finally:
        store.dispose()
