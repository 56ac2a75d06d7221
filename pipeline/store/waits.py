"""What items wait for, and what people have decided. At most one open wait an item."""

from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from pipeline.model import Choice, Decision, Wait, WaitKind, WorkItem
from pipeline.stages import Stage
from pipeline.store.items import ENDED, lock, snapshot
from pipeline.store.known import as_known, known_item, one_of
from pipeline.store.tables import DecisionRow, SignalRow, WaitRow, WorkItemRow

BY_LABEL = "label:"
"""How the actor of a decision begins that a label has taken, its name after it."""


def open_wait(session: Session, item_id: int) -> Wait | None:
    """The item's open wait."""
    row = _open(session, item_id)
    return of_row(row) if row else None


def open_waits(session: Session) -> list[Wait]:
    """Every open wait, oldest first."""
    ours = (one_of(WaitRow.kind, WaitKind), one_of(WaitRow.stage, Stage))
    rows = session.exec(select(WaitRow).where(col(WaitRow.closed_at).is_(None), *ours).order_by(col(WaitRow.id))).all()
    return [of_row(row) for row in rows]


def item_of(session: Session, wait: Wait) -> int:
    """The id of the item that waits."""
    return session.exec(select(WaitRow.item_id).where(WaitRow.id == wait.id)).one()


def by_key(session: Session, key: str) -> tuple[Wait, WorkItem] | None:
    """A wait, open or closed, and the item that it was about, as that is now."""
    row = session.exec(select(WaitRow).where(WaitRow.key == key)).first()
    return (of_row(row), snapshot(session.get_one(WorkItemRow, row.item_id))) if row else None


def begin(
    session: Session,
    item: WorkItem,
    kind: WaitKind,
    *,
    key: str,
    sentence: str,
    now: datetime,
    commit: str | None = None,
    flow_run_id: str | None = None,
    deadline: datetime | None = None,
    look_again_at: datetime | None = None,
) -> Wait:
    """The item's wait for `kind`, begun now or, when it waits for exactly that already, kept.

    A wait of the same kind, commit and run is kept (its key names a suspension that may already exist); of a machine
    kind it keeps its start and deadline. Any other open wait is closed first. A wait for CI that has said something, and
    not all, goes on as the one before: people are reminded of it once.
    """
    lock(session, item.id)
    known = _open(session, item.id)
    if known is not None and _same(known, item, kind, commit, flow_run_id):
        known.sentence, known.look_again_at = sentence, look_again_at
        known.flow_run_id = flow_run_id
        session.add(known)
        session.flush()
        return of_row(known)
    if known is not None:
        _close(session, known, f"now waits for {kind}", now)
    before = _before(session, item, kind, commit)
    row = WaitRow(
        item_id=item.id,
        key=key,
        kind=kind,
        stage=item.stage,
        visit=item.visit,
        sentence=sentence,
        since=before.since if before else now,
        deadline=before.deadline if before else deadline,
        reminded_at=before.reminded_at if before else None,
        look_again_at=look_again_at,
        commit=commit,
        flow_run_id=flow_run_id,
    )
    session.add(row)
    session.flush()
    return of_row(row)


def asked_at(session: Session, item_id: int, kind: WaitKind, commit: str) -> datetime | None:
    """When the item first began to wait for `kind` about this commit; None when it never did."""
    asked = select(WaitRow.since).where(WaitRow.item_id == item_id, WaitRow.kind == kind, WaitRow.commit == commit)
    return session.exec(asked.order_by(col(WaitRow.id)).limit(1)).first()


def early(session: Session, item_id: int, kind: WaitKind, commit: str | None, now: datetime) -> Wait | None:
    """The item's open wait for exactly this, while its next look is not due yet."""
    wait = open_wait(session, item_id)
    if wait is None or (wait.kind, wait.commit) != (kind, commit) or wait.look_again_at is None:
        return None
    return wait if now < wait.look_again_at else None


def close(session: Session, item_id: int, because: str, now: datetime) -> None:
    """Close the item's open wait, if any. Idempotent."""
    row = _open(session, item_id)
    if row is not None:
        _close(session, row, because, now)


def request_wake(session: Session, item_id: int, now: datetime) -> Wait | None:
    """Note that the open wait's condition has come true; it stays noted until the run was really resumed."""
    row = _open(session, item_id)
    if row is None:
        return None
    row.wake_requested_at = row.wake_requested_at or now
    session.add(row)
    return of_row(row)


def look_later(session: Session, wait_id: int, now: datetime, seconds: float) -> None:
    """What the wait is for was looked at just now; the next look is due in so many seconds."""
    row = session.exec(select(WaitRow).where(WaitRow.id == wait_id).with_for_update()).one()
    row.look_again_at = now + timedelta(seconds=seconds)
    session.add(row)


def reminded(session: Session, wait_id: int, now: datetime) -> bool:
    """Mark the one reminder of an overdue wait as sent; False when it had been."""
    row = session.exec(select(WaitRow).where(WaitRow.id == wait_id).with_for_update()).one()
    if row.reminded_at is not None or row.closed_at is not None:
        return False
    row.reminded_at = now
    session.add(row)
    return True


def has_news(session: Session, item: WorkItem) -> bool:
    """Whether signals of the item still wait to be applied."""
    return (
        session.exec(
            select(SignalRow.id).where(SignalRow.item_key == item.key, col(SignalRow.consumed_at).is_(None)).limit(1)
        ).first()
        is not None
    )


def decide(session: Session, item: WorkItem, decision: Decision) -> bool:
    """Record a person's decision; False when the very same choice about the same commit stands already."""
    last = session.exec(
        select(DecisionRow)
        .where(DecisionRow.item_id == item.id, DecisionRow.kind == decision.kind, DecisionRow.commit == decision.commit)
        .order_by(col(DecisionRow.id).desc())
    ).first()
    if last is not None and last.choice == decision.choice and decision.kind is not WaitKind.ANSWER:
        return False
    session.add(
        DecisionRow(
            item_id=item.id,
            kind=decision.kind,
            choice=decision.choice,
            commit=decision.commit,
            actor=decision.actor,
            text=decision.text,
            at=decision.at,
        )
    )
    session.flush()
    return True


def lifted_by_labels(session: Session) -> list[tuple[WorkItem, Decision]]:
    """What labels have decided about items that are not ended, oldest first."""
    rows = session.exec(
        select(WorkItemRow, DecisionRow)
        .join(WorkItemRow, col(DecisionRow.item_id) == WorkItemRow.id)
        .where(col(DecisionRow.actor).startswith(BY_LABEL), col(WorkItemRow.stage).not_in(ENDED), known_item())
        .where(one_of(DecisionRow.kind, WaitKind), one_of(DecisionRow.choice, Choice))
        .order_by(col(DecisionRow.id))
    ).all()
    return [(snapshot(item), _decision(decision)) for item, decision in rows]


def decisions(session: Session, item_id: int) -> tuple[Decision, ...]:
    """All decisions about an item that this version can have asked for, oldest first."""
    ours = (one_of(DecisionRow.kind, WaitKind), one_of(DecisionRow.choice, Choice))
    rows = session.exec(
        select(DecisionRow).where(DecisionRow.item_id == item_id, *ours).order_by(col(DecisionRow.id))
    ).all()
    return tuple(_decision(row) for row in rows)


def _decision(row: DecisionRow) -> Decision:
    return Decision(WaitKind(row.kind), Choice(row.choice), row.commit, row.actor, row.text, row.at)


def _open(session: Session, item_id: int) -> WaitRow | None:
    return session.exec(select(WaitRow).where(WaitRow.item_id == item_id, col(WaitRow.closed_at).is_(None))).first()


def _same(row: WaitRow, item: WorkItem, kind: WaitKind, commit: str | None, run: str | None) -> bool:
    same = (row.kind, row.commit, row.stage, row.visit) == (kind, commit, item.stage, item.visit)
    return same and (not kind.human or row.flow_run_id == run)


def _before(session: Session, item: WorkItem, kind: WaitKind, commit: str | None) -> WaitRow | None:
    """The item's closed wait for the same CI, if that is what it waits for again."""
    if kind is not WaitKind.CI:
        return None
    same = (WaitRow.item_id == item.id, WaitRow.kind == kind, WaitRow.commit == commit)
    there = (WaitRow.stage == item.stage, WaitRow.visit == item.visit)
    return session.exec(select(WaitRow).where(*same, *there).order_by(col(WaitRow.id).desc()).limit(1)).first()


def _close(session: Session, row: WaitRow, because: str, now: datetime) -> None:
    row.closed_at, row.closed_because = now, because
    session.add(row)
    session.flush()


def of_row(row: WaitRow) -> Wait:
    """A row as the rest of Orch sees it. Raises `FromLaterVersion`."""
    assert row.id is not None  # noqa: S101  rows are read, not new
    return Wait(
        id=row.id,
        key=row.key,
        kind=as_known(WaitKind, row.kind, f"What the wait {row.key} is for"),
        stage=as_known(Stage, row.stage, f"The stage of the wait {row.key}"),
        visit=row.visit,
        sentence=row.sentence,
        since=row.since,
        deadline=row.deadline,
        look_again_at=row.look_again_at,
        commit=row.commit,
        flow_run_id=row.flow_run_id,
        wake_requested_at=row.wake_requested_at,
        closed_at=row.closed_at,
    )
