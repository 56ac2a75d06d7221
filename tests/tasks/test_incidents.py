"""Incidents of the systems that Orch's users come from, each by its number: what happened there cannot happen here."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from deployments.sandbox.client import SandboxClient
from flows import intake, reconcile
from pipeline.errors import LeaseLost, StaleWrite
from pipeline.model import Hold, Pass, ProcessIdentity, WaitKind, WorkItem
from pipeline.signals import STAGE_ENTERED, Signal
from pipeline.stages import Stage
from pipeline.states import shown_for
from pipeline.store import due, inbox, items, leases, outbox, reactions, waits
from pipeline.store.leases import Lease
from tasks import healing, looks, polling, republishing
from tests.support.deliveries import gitea_says, plane_says
from tests.support.hooks import gitea_status, plane_moved
from tests.support.services import Desk, open_desk


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """A desk that knows the project's states."""
    await desk.root.states.of(desk.project)
    return desk


def messages(desk: Desk) -> list[str]:
    return [str(row.dedupe) for row in desk.letters if row.kind in (outbox.Kind.MESSAGE, outbox.Kind.COMMENT)]


# --- ORCH-44: a webhook was lost, and with it what the person had done


async def test_orch_44_a_start_and_an_approval_that_no_webhook_brought_are_heard_once(desk: Desk) -> None:
    key = desk.sandbox.create_card("Print a receipt", "Long enough to be worth analysing.")
    desk.sandbox.move_card(key, "To Analyse")
    assert desk.deliveries == []
    await polled_twice(desk)
    assert [(row.item_key, row.signal) for row in desk.signals] == [(key, Signal.START_REQUESTED)]
    item = desk.item(card=desk.sandbox.card(key))
    desk.asks(item, WaitKind.APPROVAL, commit="c" * 40)
    desk.sandbox.move_card(key, "Approved")
    await polled_twice(desk)
    [decision] = desk.store.read(waits.decisions, item.id)
    assert (decision.kind, decision.choice, decision.commit) == ("approval", "approve", "c" * 40)
    assert [row.signal for row in desk.signals] == [Signal.START_REQUESTED, Signal.APPROVED]


async def polled_twice(desk: Desk) -> None:
    for _ in range(2):
        desk.clock.forward(30)
        await polling.poll_board(desk.root, desk.project)


# --- ORCH-53 AC-4: a card that was moved once became two items


async def test_orch_53_a_start_that_webhooks_reconciler_and_hand_race_for_makes_one_item(desk: Desk) -> None:
    card = desk.card()
    for _ in range(3):
        plane_says(desk, plane_moved(desk, card, "To Analyse"))
    read = await desk.root.tracker.item(desk.project, card.id)
    candidate = intake._candidate(desk.root, desk.project, card.key, read)

    def start(_: int) -> bool:
        return desk.store.write(intake._create, desk.root, candidate, Pass("complete"))[1]

    with ThreadPoolExecutor(8) as racers:
        created = list(racers.map(start, range(8)))
    assert sum(created) == 1
    assert [t.to_stage for t in desk.transitions] == [Stage.ANALYSIS]
    assert [row.payload["event"] for row in desk.letters if row.kind == outbox.Kind.EVENT].count(STAGE_ENTERED) == 1
    assert desk.store.read(inbox.unconsumed, card.key) == []


# --- ORCH-111: two owners of one transition


def test_orch_111_of_two_owners_of_one_transition_only_the_later_one_writes(desk: Desk) -> None:
    item = desk.item(Stage.DEVELOPMENT)
    stale, owner = owned(desk, item, "run-1", alive=True), owned(desk, item, "run-2", alive=False)
    advance(desk, item, owner)
    for late in (stale, owner):
        with pytest.raises((StaleWrite, LeaseLost)):
            advance(desk, item, late)
    assert [t.to_stage for t in desk.transitions][-2:] == [Stage.DEVELOPMENT, Stage.REVIEW]
    assert [t.flow_run_id for t in desk.transitions if t.to_stage == Stage.REVIEW] == ["run-2"]


def test_orch_111_the_owner_that_lost_its_item_writes_nothing_even_when_it_comes_first(desk: Desk) -> None:
    item = desk.item(Stage.DEVELOPMENT)
    stale, owner = owned(desk, item, "run-1", alive=True), owned(desk, item, "run-2", alive=False)
    with pytest.raises(LeaseLost):
        advance(desk, item, stale)
    assert desk.again(item).stage is Stage.DEVELOPMENT
    advance(desk, item, owner)
    assert desk.again(item).stage is Stage.REVIEW


def owned(desk: Desk, item: WorkItem, run: str, *, alive: bool) -> Lease:
    """Have a run own the item; `alive` tells whether whoever owned it before still lives."""
    lease = desk.store.write(
        leases.claim, item.id, flow_run_id=run, stage=item.stage, token=f"token-{run}",
        process=ProcessIdentity("here", "boot", 1, 1.0), now=desk.clock.now, ttl=30, alive=lambda _: alive,
    )  # fmt: skip
    assert isinstance(lease, Lease)
    return lease


def advance(desk: Desk, item: WorkItem, lease: Lease) -> None:
    desk.store.write(
        items.move,  # type: ignore[arg-type]  # mypy: a ParamSpec with **changes
        item,
        Stage.REVIEW,
        actor="orch",
        reason="green",
        run=lease.flow_run_id,
        token=lease.token,
        now=desk.clock.now,
    )


# --- ET-013: an escalated item was started again and again


async def test_et_013_an_escalated_item_is_left_alone_by_ticks_and_by_whatever_is_heard(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(Stage.REVIEW, card, tip="a" * 40, head="a" * 40)
    desk.store.write(
        reactions.hold, item, Hold.ESCALATED, "The reviewer's last attempt.", desk.clock.now, desk.root.texts
    )
    before, told, sent = desk.again(item), messages(desk), len(desk.letters)
    for night in range(20):
        desk.clock.forward(3600)
        gitea_reports(desk, item, night)
        hear(desk, item, Signal.PUSHED, after=f"{night:040x}", pusher="ada")
        hear(desk, item, Signal.REVIEW_SUBMITTED, kind="rejected", reviewer="ada")
        await republishing.publish_again(desk.root)
        assert await looked_at(desk, item) is None
        desk.store.write(reconcile._remind, desk.root)
    after = desk.again(item)
    assert (after.stage, after.hold, after.version, after.attempts) == (
        Stage.REVIEW,
        Hold.ESCALATED,
        before.version,
        {},
    )
    assert messages(desk) == told
    assert [row for row in desk.letters[sent:] if row.payload.get("event") == STAGE_ENTERED] == []


async def looked_at(desk: Desk, item: WorkItem) -> str | None:
    """What a tick would do about the item."""
    standing = desk.store.read(due.standing, item.key)
    assert standing is not None
    return await healing.heal_one(desk.root, standing, looks.Observed({}, {}))


def gitea_reports(desk: Desk, item: WorkItem, number: int) -> None:
    body = gitea_status(item.tip or "", item.branch, state="success" if number % 2 else "failure") + b" " * number
    gitea_says(desk, body)


def hear(desk: Desk, item: WorkItem, signal: Signal, **payload: object) -> None:
    stored = desk.store.write(
        inbox.signal, delivery_id=None, project="SHOP", item_key=item.key, signal=signal, actor="ada", payload=payload,
        now=desk.clock.now,
    )  # fmt: skip
    desk.store.write(reactions.apply, stored, desk.clock.now, desk.root.texts)


# --- ET-002: an item that was done long ago was announced every night


async def test_et_002_an_item_that_is_done_is_never_announced_again(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY, tip="a" * 40, head="a" * 40, landed="a" * 40, validated="a" * 40)
    desk.store.write(
        waits.begin, item, WaitKind.MONITOR, key="monitor", sentence="watched", now=desk.clock.now,
        deadline=desk.clock.now + timedelta(hours=1),
    )  # fmt: skip
    desk.move(desk.again(item), Stage.DONE)
    desk.store.write(reactions.say, item.key, "done", f"done:{item.id}", desk.clock.now)
    told, version = messages(desk), desk.again(item).version
    for night in range(30):
        desk.clock.forward(24 * 3600)
        gitea_reports(desk, item, night)
        hear(desk, item, Signal.PR_MERGED, merged_by="ada")
        hear(desk, item, Signal.PR_CLOSED, closed_by="orch-bot")
        await republishing.publish_again(desk.root)
        assert await looked_at(desk, item) is None
        desk.store.write(reconcile._remind, desk.root)
    assert messages(desk) == told
    assert desk.again(item).version == version
    assert desk.store.read(inbox.unconsumed, item.key) == []


# --- ORCH-10: a state's id was looked up in another project's list


async def test_orch_10_a_state_means_what_it_means_in_its_own_project(sandbox: SandboxClient, tmp_path: Path) -> None:
    if "OTHER" not in {project.key for project in sandbox.state().projects}:
        sandbox.add_project("OTHER", "acme/other")
    async with open_desk(sandbox, tmp_path) as desk:
        known = desk.project
        theirs = sandbox.state().project("OTHER")
        other = known.model_copy(update={"key": "OTHER", "plane_project": theirs.id, "repository": "acme/other"})
        root = replace(desk.root, projects=type(desk.root.projects)((known, other)))
        here, there = await root.states.of(known), await root.states.of(other)
        assert not {state.id for state in here.states} & {state.id for state in there.states}
        for name, foreign in theirs.states.items():
            assert not here.knows(foreign), name
        card = desk.card()
        item = desk.item(card=card)
        desk.asks(item, WaitKind.APPROVAL)
        plane_says(desk, plane_moved(desk, card, "Approved", state_id=theirs.states["Approved"]))
        assert desk.store.read(waits.decisions, item.id) == ()
        shown = shown_for(item, desk.wait_of(item))
        assert here.id_of(shown) in desk.states().values()
        assert there.id_of(shown) in theirs.states.values()
