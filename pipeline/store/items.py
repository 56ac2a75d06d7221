"""Work items: created once under any race, moved only by compare-and-swap, every move recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_
from sqlmodel import Session, col, select

from pipeline.errors import StaleWrite
from pipeline.model import Hold, WorkItem
from pipeline.stages import Role, Stage, Status, allowed
from pipeline.store import dependencies, leases, places, transitions
from pipeline.store.known import STATUSES, as_known, known_item
from pipeline.store.tables import TicketRow, WaitRow, WorkItemRow

ENDED = (Stage.DONE.value, Stage.CANCELLED.value)

MERGING = (Stage.DEPLOY_STAGING, Stage.DEPLOY)
"""Stages at which an item may have a place in the merge queue."""


@dataclass(frozen=True, slots=True)
class NewItem:
    """What a work item starts from."""

    key: str
    project: str
    tracker_id: str
    title: str
    branch: str
    priority: str = "none"


def snapshot(row: WorkItemRow) -> WorkItem:
    """A row as the rest of Orch sees it. Raises `FromLaterVersion`."""
    assert row.id is not None  # noqa: S101  rows are read, not new
    return WorkItem(
        id=row.id,
        key=row.key,
        project=row.project,
        tracker_id=row.tracker_id,
        title=row.title,
        branch=row.branch,
        stage=as_known(Stage, row.stage, f"The stage of {row.key}"),
        version=row.version,
        attempts=dict(row.attempts),
        visits=dict(row.visits),
        created_at=row.created_at,
        entered_at=row.entered_at,
        priority=row.priority,
        failures=row.failures,
        not_before=row.not_before,
        hold=as_known(Hold, row.hold, f"The hold of {row.key}") if row.hold else None,
        hold_reason=row.hold_reason,
        held_at=row.held_at,
        feedback=row.feedback,
        pull_number=row.pull_number,
        head=row.head,
        tip=row.tip,
        pushing=row.pushing,
        validated=row.validated,
        validated_base=row.validated_base,
        approved=row.approved,
        confirmed=row.confirmed,
        landed=row.landed,
        deployed=row.deployed,
        monitor_until=row.monitor_until,
        shown=Status(row.shown) if row.shown in STATUSES else None,  # it is shown anew where it cannot be told
        cancel_requested_at=row.cancel_requested_at,
        cancelled_at=row.cancelled_at,
    )


def lock(session: Session, item_id: int) -> WorkItemRow:
    """The item's row, locked against other writers until the transaction ends."""
    return session.exec(
        select(WorkItemRow).where(WorkItemRow.id == item_id).with_for_update().execution_options(populate_existing=True)
    ).one()


def find(session: Session, key: str) -> WorkItem | None:
    """The item with this key that is not cancelled."""
    row = session.exec(
        select(WorkItemRow).where(WorkItemRow.key == key, col(WorkItemRow.cancelled_at).is_(None))
    ).first()
    return snapshot(row) if row else None


def latest(session: Session, key: str) -> WorkItem | None:
    """The item with this key; when all are cancelled, the last of them."""
    rows = session.exec(select(WorkItemRow).where(WorkItemRow.key == key).order_by(col(WorkItemRow.id))).all()
    if not rows:
        return None
    live = [row for row in rows if row.cancelled_at is None]
    return snapshot((live or rows)[-1])


def by_branch(session: Session, project: str, branch: str) -> WorkItem | None:
    """The item whose task branch this is and that is not cancelled."""
    row = session.exec(
        select(WorkItemRow).where(
            WorkItemRow.project == project, WorkItemRow.branch == branch, col(WorkItemRow.cancelled_at).is_(None)
        )
    ).first()
    return snapshot(row) if row else None


def by_tracker_id(session: Session, project: str, tracker_id: str) -> WorkItem | None:
    """The latest item that was made of this card, cancelled or not."""
    row = session.exec(
        select(WorkItemRow)
        .where(WorkItemRow.project == project, WorkItemRow.tracker_id == tracker_id)
        .order_by(col(WorkItemRow.id).desc())
    ).first()
    return snapshot(row) if row else None


def by_commit(session: Session, project: str, commit: str) -> WorkItem | None:
    """The live item whose head, pushed tip or validated commit this is."""
    row = session.exec(
        select(WorkItemRow).where(
            WorkItemRow.project == project,
            col(WorkItemRow.stage).not_in(ENDED),
            or_(col(WorkItemRow.head) == commit, col(WorkItemRow.tip) == commit, col(WorkItemRow.validated) == commit),
        )
    ).first()
    return snapshot(row) if row else None


def live(session: Session) -> list[WorkItem]:
    """Every item that is neither done nor cancelled, nor set aside, oldest first."""
    rows = session.exec(
        select(WorkItemRow).where(col(WorkItemRow.stage).not_in(ENDED), known_item()).order_by(col(WorkItemRow.id))
    ).all()
    return [snapshot(row) for row in rows]


def in_development(session: Session, project: str, *, limit: int) -> list[str]:
    """Keys of a project's items that stand at development and are not held, at most `limit`."""
    at = (WorkItemRow.project == project, WorkItemRow.stage == Stage.DEVELOPMENT.value, col(WorkItemRow.hold).is_(None))
    return list(session.exec(select(WorkItemRow.key).where(*at, known_item()).limit(limit)).all())


def all_items(session: Session, *, limit: int = 200) -> list[WorkItem]:
    """The latest `limit` items that are not set aside, newest first."""
    rows = session.exec(select(WorkItemRow).where(known_item()).order_by(col(WorkItemRow.id).desc()).limit(limit)).all()
    return [snapshot(row) for row in rows]


def create(
    session: Session, new: NewItem, *, actor: str, reason: str, run: str | None, now: datetime
) -> tuple[WorkItem, bool]:
    """Create the item at its first stage unless a live one has its key; (item, whether it was created now).

    Of any number of racing callers exactly one creates: a unique key refuses the others' insert, and their repeated
    transaction finds the winner's row.
    """
    known = find(session, new.key)
    if known is not None:
        return known, False
    row = WorkItemRow(
        key=new.key,
        project=new.project,
        tracker_id=new.tracker_id,
        title=new.title,
        branch=new.branch,
        priority=new.priority,
        stage=Stage.ANALYSIS,
        visits={Stage.ANALYSIS.value: 1},
        created_at=now,
        entered_at=now,
    )
    session.add(row)
    session.flush()
    transitions.record(session, row, None, actor=actor, reason=reason, run=run, now=now)
    return snapshot(row), True


def move(
    session: Session,
    item: WorkItem,
    to: Stage,
    *,
    actor: str,
    reason: str,
    run: str | None,
    token: str | None,
    now: datetime,
    spend: Role | None = None,
    **changes: Any,
) -> WorkItem:
    """Move `item` from exactly the stage and version it was read at; records the transition and closes its wait.

    Raises `StaleWrite` when somebody moved it first and `LeaseLost` when `token` does not own it any more; without a
    token the item must have no live owner. `spend` counts one attempt of that role. Entering a stage clears the hold,
    and an ended item is given up at once: whoever waited for it, or for its place, is woken.
    """
    if not allowed(item.stage, to):
        raise StaleWrite(f"{item.key} cannot go from {item.stage} to {to}: the table has no such move.")
    row = lock(session, item.id)
    if (row.stage, row.version) != (item.stage, item.version):
        raise StaleWrite(f"{item.key} is at {row.stage} (version {row.version}) now; this run had seen {item.stage}.")
    if row.cancel_requested_at is not None and to not in (Stage.CANCELLED, Stage.DONE):
        raise StaleWrite(f"{item.key} is being stopped.")
    leases.check(session, item, token, now)
    here = row.stage
    row.stage = to
    row.version += 1
    row.entered_at = now
    row.visits = {**row.visits, to.value: row.visits.get(to.value, 0) + 1}
    row.hold, row.hold_reason, row.held_at, row.failures, row.not_before = None, "", None, 0, None
    if spend is not None:
        row.attempts = {**row.attempts, spend.value: row.attempts.get(spend.value, 0) + 1}
    if to is Stage.CANCELLED:
        row.cancelled_at = now
    _apply(row, changes)
    _close_waits(session, row, f"the item went on to {to}", now)
    if to not in MERGING:
        _drop_ticket(session, item.id)
    transitions.record(session, row, here, actor=actor, reason=reason, run=run, now=now)
    if to.terminal:
        session.flush()
        leases.drop(session, item.id)  # a run that dies before it gives an ended item back is never followed by another
        places.give_back(session, item.id, item.project, now)
        dependencies.wake_dependents(session, item.key, now)
    return snapshot(row)


def update(session: Session, /, item: WorkItem, token: str | None, now: datetime, **changes: Any) -> WorkItem:
    """Write columns that are not the stage. Raises `LeaseLost` when `token` does not own the item any more."""
    row = lock(session, item.id)
    leases.check(session, item, token, now)
    _apply(row, changes)
    session.add(row)
    session.flush()
    return snapshot(row)


def hold(session: Session, item_id: int, kind: Hold, reason: str, now: datetime) -> WorkItem:
    """Hold the item: nothing but a person moves it on. Idempotent; its wait is closed and its merge ticket given up."""
    row = lock(session, item_id)
    row.hold = row.hold if row.hold == Hold.ESCALATED else kind
    row.hold_reason = reason
    row.held_at = row.held_at or now
    row.version += 1  # whoever was working on it has seen another item
    row.failures, row.not_before = 0, None
    _close_waits(session, row, f"held: {reason}", now)
    _drop_ticket(session, item_id)
    session.add(row)
    return snapshot(row)


def unhold(session: Session, item_id: int, *, reset: Role | None) -> WorkItem:
    """Let a held item go on where it stands; `reset` forgives that role's attempts."""
    row = lock(session, item_id)
    row.hold, row.hold_reason, row.held_at, row.failures, row.not_before = None, "", None, 0, None
    if reset is not None:
        row.attempts = {role: count for role, count in row.attempts.items() if role != reset.value}
    session.add(row)
    return snapshot(row)


def _apply(row: WorkItemRow, changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        if name not in WorkItemRow.model_fields:
            raise AttributeError(f"work items have no column {name}")
        setattr(row, name, value)


def _close_waits(session: Session, row: WorkItemRow, because: str, now: datetime) -> None:
    open_waits: Sequence[WaitRow] = session.exec(
        select(WaitRow).where(WaitRow.item_id == row.id, col(WaitRow.closed_at).is_(None))
    ).all()
    for wait in open_waits:
        wait.closed_at, wait.closed_because = now, because
        session.add(wait)


def _drop_ticket(session: Session, item_id: int) -> None:
    for ticket in session.exec(select(TicketRow).where(TicketRow.item_id == item_id)).all():
        session.delete(ticket)
