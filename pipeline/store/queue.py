"""The merge queue: tickets in order of arrival, one project at a time. The Prefect limit is the lock, this the order."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from pipeline.errors import StaleWrite
from pipeline.model import WorkItem
from pipeline.stages import Stage
from pipeline.store import journal, outbox
from pipeline.store.tables import TicketRow, WorkItemRow

COME_WITHIN = timedelta(seconds=60)
"""A ticket that was woken and has not come for so long goes to the end."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A place in the queue; `first` tells whether it is this item's turn.

    Who is kept out, because a deploy of another item is open and nothing lands before it has ended, keeps its place and
    its deferrals, and is in nobody's way.
    """

    id: int
    item_id: int
    since: datetime
    woken_at: datetime | None
    deferrals: int
    first: bool
    ahead: int


def take(session: Session, item: WorkItem, now: datetime) -> Ticket:
    """The item's ticket, taken now unless it has one. Whoever was woken in vain before it goes to the end."""
    _pass_over(session, item.project, now, besides=item.id)
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


def stay(session: Session, item: WorkItem, now: datetime) -> None:
    """Have the item keep its place, although it cannot go on now, and wake whoever can."""
    wake_head(session, item.project, now)


def wake_head(session: Session, project: str, now: datetime) -> str | None:
    """Wake the project's first ticket that is not kept out; the woken item's key.

    One that was woken in vain goes to the end first.
    """
    head = _pass_over(session, project, now)
    if head is None:
        return None
    if head.woken_at is not None:
        return None
    head.woken_at = now
    session.add(head)
    key = session.exec(select(WorkItemRow.key).where(WorkItemRow.id == head.item_id)).one()
    outbox.wake(session, key, now)
    return key


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


def _pass_over(session: Session, project: str, now: datetime, *, besides: int | None = None) -> TicketRow | None:
    """The head, once one that was woken in vain has gone to the end; not the item `besides`, which has come."""
    head = _head(session, project)
    if head is None or head.item_id == besides or head.woken_at is None or now - head.woken_at <= COME_WITHIN:
        return head
    session.delete(head)
    session.flush()
    session.add(TicketRow(project=project, item_id=head.item_id, since=head.since, deferrals=head.deferrals))
    session.flush()
    return _head(session, project)


def _head(session: Session, project: str) -> TicketRow | None:
    rows = session.exec(select(TicketRow).where(TicketRow.project == project).order_by(col(TicketRow.id))).all()
    kept_out = _kept_out(session, project)
    return next((row for row in rows if row.item_id not in kept_out), None)


def _kept_out(session: Session, project: str) -> set[int]:
    """Items that queue to land or to begin their deploy while a deploy of another item is open."""
    deploying = {effect.item_id for effect in journal.open_effects(session, project) if effect.name == journal.DEPLOY}
    if not deploying:
        return set()
    at_deploy = session.exec(
        select(TicketRow.item_id)
        .join(WorkItemRow, col(WorkItemRow.id) == TicketRow.item_id)
        .where(TicketRow.project == project, WorkItemRow.stage == Stage.DEPLOY)
    ).all()
    return {item_id for item_id in at_deploy if deploying - {item_id}}


def _ticket(session: Session, row: TicketRow) -> Ticket:
    assert row.id is not None  # noqa: S101  flushed before
    before = session.exec(
        select(TicketRow.item_id).where(TicketRow.project == row.project, col(TicketRow.id) < row.id)
    ).all()
    ahead = set(before) - _kept_out(session, row.project) if before else set()
    return Ticket(row.id, row.item_id, row.since, row.woken_at, row.deferrals, not ahead, len(ahead))
