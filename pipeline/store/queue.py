"""The merge queue: tickets in order of arrival, one project at a time. The Prefect limit is the lock, this the order."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from pipeline.errors import StaleWrite
from pipeline.model import WaitKind, WorkItem
from pipeline.store import outbox
from pipeline.store.tables import TicketRow, WaitRow, WorkItemRow

COME_WITHIN = timedelta(seconds=60)
"""A ticket that was woken and has not come for so long goes to the end."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A place in the queue; `first` tells whether it is this item's turn."""

    id: int
    item_id: int
    since: datetime
    woken_at: datetime | None
    deferrals: int
    first: bool
    ahead: int


def take(session: Session, item: WorkItem, now: datetime) -> Ticket:
    """The item's ticket, taken now unless it has one."""
    row = session.exec(select(TicketRow).where(TicketRow.item_id == item.id)).first()
    if row is None:
        row = TicketRow(project=item.project, item_id=item.id, since=now)
    row.woken_at = None  # it has come
    session.add(row)
    session.flush()
    return _ticket(session, row)


def defer(session: Session, item: WorkItem) -> int:
    """Count one deferral of the item's ticket; the deferrals in a row so far.

    Raises `StaleWrite` when it has none any more: the item was held or moved meanwhile.
    """
    row = session.exec(select(TicketRow).where(TicketRow.item_id == item.id).with_for_update()).first()
    if row is None:
        raise StaleWrite(f"{item.key} does not queue any more; it was held or moved while this run waited.")
    row.deferrals += 1
    session.add(row)
    return row.deferrals


def leave(session: Session, item: WorkItem, now: datetime) -> None:
    """Give the ticket back and wake the next one, in this one transaction. Idempotent."""
    row = session.exec(select(TicketRow).where(TicketRow.item_id == item.id)).first()
    if row is None:
        return
    session.delete(row)
    session.flush()
    wake_head(session, item.project, now)


def keep(session: Session, item: WorkItem, now: datetime) -> None:
    """Have the item stay first, because it comes back at once; should it not, it goes to the end as if woken in vain."""
    row = session.exec(select(TicketRow).where(TicketRow.item_id == item.id)).first()
    if row is not None:
        row.woken_at = now
        session.add(row)


def wake_head(session: Session, project: str, now: datetime) -> str | None:
    """Wake the project's first ticket; one that was woken in vain goes to the end first. The woken item's key."""
    head = _head(session, project)
    if head is not None and head.woken_at is not None and now - head.woken_at > COME_WITHIN:
        session.delete(head)
        session.flush()
        session.add(TicketRow(project=project, item_id=head.item_id, since=head.since, deferrals=head.deferrals))
        session.flush()
        head = _head(session, project)
    if head is None:
        return None
    if head.woken_at is not None:
        return None
    head.woken_at = now
    session.add(head)
    key = session.exec(select(WorkItemRow.key).where(WorkItemRow.id == head.item_id)).one()
    outbox.wake(session, key, now)
    return key


def wake_kept_out(session: Session, project: str, now: datetime) -> None:
    """Wake whoever came in turn and was sent away without a ticket, because a deploy was under way."""
    ticket = select(TicketRow.id).where(TicketRow.item_id == WaitRow.item_id).exists()
    keys = session.exec(
        select(WorkItemRow.key)
        .join(WaitRow, col(WaitRow.item_id) == WorkItemRow.id)
        .where(WorkItemRow.project == project)
        .where(WaitRow.kind == WaitKind.MERGE_TURN, col(WaitRow.closed_at).is_(None), ~ticket)
        .order_by(col(WaitRow.id))
    ).all()
    for key in keys:
        outbox.wake(session, key, now)


def tickets(session: Session, project: str) -> list[Ticket]:
    """The project's queue, first come first."""
    rows = session.exec(select(TicketRow).where(TicketRow.project == project).order_by(col(TicketRow.id))).all()
    return [_ticket(session, row) for row in rows]


def queued(session: Session, project: str) -> set[int]:
    """Ids of the items that queue in the project."""
    return set(session.exec(select(TicketRow.item_id).where(TicketRow.project == project)).all())


def projects(session: Session) -> list[str]:
    """Projects that somebody queues in."""
    return list(session.exec(select(TicketRow.project).distinct()).all())


def _head(session: Session, project: str) -> TicketRow | None:
    return session.exec(
        select(TicketRow).where(TicketRow.project == project).order_by(col(TicketRow.id)).limit(1)
    ).first()


def _ticket(session: Session, row: TicketRow) -> Ticket:
    assert row.id is not None  # noqa: S101  flushed before
    ahead = session.exec(select(TicketRow.id).where(TicketRow.project == row.project, col(TicketRow.id) < row.id)).all()
    return Ticket(row.id, row.item_id, row.since, row.woken_at, row.deferrals, not ahead, len(ahead))
