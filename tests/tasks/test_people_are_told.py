"""The whole list of what people are told: each in every language, once, with the reason, and with a sound."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from sqlmodel import Session

from deployments.sandbox.client import SandboxClient
from flows import leaving, reconcile
from flows.run import Run
from pipeline.messages import CATALOGUES
from pipeline.model import Hold, WaitKind, WorkItem
from pipeline.outcomes import Ask
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import inbox, items, leases, reactions
from pipeline.store.leases import Lease
from pipeline.store.outbox import Kind
from tasks import labels, ownership, people, stopping
from tests.pipeline.store.helpers import claimed
from tests.support.services import Desk, open_desk

COMMIT = "c" * 40
REASON = "the reason <why> & wherefore"
ESCAPED = "the reason &lt;why&gt; &amp; wherefore"

Tell = Callable[[Desk, WorkItem], Awaitable[None]]


@pytest.fixture(params=sorted(CATALOGUES))
async def desk(request: pytest.FixtureRequest, sandbox: SandboxClient, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(sandbox, tmp_path, language=request.param) as opened:
        yield opened


def lease_of(desk: Desk, item: WorkItem) -> Lease:
    lease = claimed(desk.store, item, now=desk.clock.now)
    assert isinstance(lease, Lease)
    return lease


def asking(kind: WaitKind) -> Tell:
    async def ask(desk: Desk, item: WorkItem) -> None:
        lease = lease_of(desk, item)
        await people.begin(desk.root, ownership.Claimed(item, lease), Ask(kind, REASON, COMMIT), "run-1")
        desk.store.write(leases.release, item.id, lease.token)

    return ask


def holding(kind: Hold, text: str = "") -> Tell:
    async def hold(desk: Desk, item: WorkItem) -> None:
        desk.store.write(reactions.hold, item, kind, REASON, desk.clock.now, desk.root.texts, text=text)

    return hold


async def remind(desk: Desk, item: WorkItem) -> None:
    if desk.wait_of(item) is None:
        await asking(WaitKind.APPROVAL)(desk, item)
    desk.clock.forward(desk.settings.person_deadline_s)
    desk.store.write(reconcile._remind, desk.root)


async def recover(desk: Desk, item: WorkItem) -> None:
    """A run takes over from one that has died: its crash was counted when it began."""
    desk.clock.forward(max(desk.settings.crash_backoff_s))
    desk.store.write(items.update, item, None, desk.clock.now, failures=1)
    found = await asyncio.to_thread(ownership.claim, desk.root, item.key, item.stage, "run-2")
    assert isinstance(found, ownership.Claimed)
    desk.store.write(leases.release, item.id, found.lease.token)


async def let_a_label_decide(desk: Desk, item: WorkItem) -> None:
    desk.store.write(labels._decide, desk.root, item, Ask(WaitKind.APPROVAL, REASON, COMMIT), "autoApprove")


async def end(desk: Desk, item: WorkItem) -> None:
    if desk.again(item).stage is not Stage.DONE:
        desk.move(item, Stage.DONE, landed=COMMIT)
    run = Run(desk.root, item, desk.project, Lease(item.id, "t", 1, "run-1", desk.clock.now), "run-1")
    desk.store.write(leaving.announce, run, desk.again(item))


async def merge_by_hand(desk: Desk, item: WorkItem) -> None:
    def merged(session: Session) -> None:
        stored = inbox.signal(
            session, delivery_id=None, project=item.project, item_key=item.key, signal=Signal.PR_MERGED, actor="ada",
            payload={"merged_by": "ada"}, now=desk.clock.now,
        )  # fmt: skip
        reactions.apply(session, stored, desk.clock.now, desk.root.texts)

    desk.store.write(merged)


async def cancel(desk: Desk, item: WorkItem) -> None:
    if desk.again(item).stage is not Stage.CANCELLED:
        desk.store.write(items.update, item, None, desk.clock.now, cancel_requested_at=desk.clock.now)
        lease = await stopping.take_over(desk.root, desk.again(item))
        assert isinstance(lease, Lease)
        await stopping.cancel_item(desk.root, desk.again(item), lease, [])


THE_LIST: dict[str, tuple[Tell, str, Stage, str]] = {
    "approval asked": (asking(WaitKind.APPROVAL), "📝", Stage.ANALYSIS, COMMIT[:12]),
    "confirmation asked": (asking(WaitKind.CONFIRMATION), "🚀", Stage.DEPLOY, COMMIT[:12]),
    "question asked": (asking(WaitKind.ANSWER), "❓", Stage.ANALYSIS, ESCAPED),
    "budget used up": (asking(WaitKind.BUDGET), "💰", Stage.REVIEW, ESCAPED),
    "integrity finding": (asking(WaitKind.INTEGRITY), "🔎", Stage.REVIEW, ESCAPED),
    "escalated": (holding(Hold.ESCALATED), "🆘", Stage.REVIEW, ESCAPED),
    "blocked": (holding(Hold.BLOCKED), "⛔", Stage.REVIEW, ESCAPED),
    "needs input": (holding(Hold.NEEDS_INPUT), "✋", Stage.REVIEW, ESCAPED),
    "waiting past its deadline": (remind, "⏰", Stage.ANALYSIS, ESCAPED),
    "recovered from a crash or a stolen lease": (recover, "♻️", Stage.REVIEW, "review"),
    "auto label used": (let_a_label_decide, "🏷", Stage.ANALYSIS, "autoApprove"),
    "done": (end, "✅", Stage.DEPLOY, COMMIT),
    "done by hand": (merge_by_hand, "✅", Stage.REVIEW, "ada merged the pull request"),
    "cancelled": (cancel, "🛑", Stage.REVIEW, "review"),
    "deploy degraded or rolled back": (holding(Hold.BLOCKED, "degraded"), "🔥", Stage.DEPLOY, ESCAPED),
}


@pytest.mark.parametrize("what", THE_LIST)
async def test_people_are_told_once_with_the_reason(desk: Desk, what: str) -> None:
    tell, mark, at, reason = THE_LIST[what]
    item = desk.item(at, card=desk.card("Print <b> & fold"))
    for _ in range(2):
        await tell(desk, desk.again(item))
    messages = [row.payload["html"] for row in desk.letters if row.kind == Kind.MESSAGE]
    [html] = [html for html in messages if html.startswith(mark)]
    assert f"<b>{item.key}</b> Print &lt;b&gt; &amp; fold" in html
    assert reason in html


def test_each_of_them_looks_different_at_a_glance() -> None:
    marks = {what: mark for what, (_, mark, *_) in THE_LIST.items() if what != "done by hand"}
    assert len(set(marks.values())) == len(marks)


async def test_another_reason_or_another_visit_is_told_again(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    for why in ("one", "two", "one"):
        desk.store.write(reactions.hold, item, Hold.BLOCKED, why, desk.clock.now, desk.root.texts)
    again = desk.move(desk.again(item), Stage.REVIEW)
    desk.store.write(reactions.hold, again, Hold.BLOCKED, "one", desk.clock.now, desk.root.texts)
    assert [row.kind for row in desk.letters].count(Kind.MESSAGE) == 3


@pytest.mark.parametrize("kind", [WaitKind.INTEGRITY, WaitKind.BUDGET])
async def test_what_the_cards_state_does_not_say_is_written_on_it_once(desk: Desk, kind: WaitKind) -> None:
    item = desk.item(Stage.REVIEW)
    for _ in range(2):
        await asking(kind)(desk, desk.again(item))
    [comment] = [row.payload["html"] for row in desk.letters if row.kind == Kind.COMMENT]
    assert ESCAPED in comment


@pytest.mark.parametrize("kind", [WaitKind.APPROVAL, WaitKind.CONFIRMATION])
async def test_another_commit_is_asked_about_again(desk: Desk, kind: WaitKind) -> None:
    item = desk.item(Stage.ANALYSIS if kind is WaitKind.APPROVAL else Stage.DEPLOY)
    for commit in ("a" * 40, "b" * 40, "b" * 40):
        lease = lease_of(desk, item)
        await people.begin(desk.root, ownership.Claimed(desk.again(item), lease), Ask(kind, REASON, commit), commit)
        desk.store.write(leases.release, item.id, lease.token)
    assert [row.kind for row in desk.letters].count(Kind.MESSAGE) == 2
