"""Places in a project: who is past analysis, who waits to be, and who comes next.

A place is taken when an item first enters a stage past analysis and kept, held or not, until it is done or cancelled.
The slot numbers are what makes racing for the last place safe: two transactions that choose the same one collide.
"""

from collections.abc import Collection
from datetime import datetime

from sqlmodel import Session, col, select

from pipeline.entry import needs_place, rank
from pipeline.model import WaitKind, WorkItem
from pipeline.stages import WORKED
from pipeline.store import outbox
from pipeline.store.tables import PlaceRow, WaitRow, WorkItemRow

PAST = tuple(stage.value for stage in WORKED if needs_place(stage))


def has(session: Session, item_id: int) -> bool:
    """Whether the item has a place."""
    return session.get(PlaceRow, item_id) is not None


def active(session: Session, project: str) -> dict[int, str]:
    """The items that have a place, by its slot, in the order in which they took it."""
    rows = session.exec(
        select(PlaceRow.slot, WorkItemRow.key)
        .join(WorkItemRow, col(PlaceRow.item_id) == WorkItemRow.id)
        .where(PlaceRow.project == project)
        .order_by(col(PlaceRow.since), col(PlaceRow.item_id))
    ).all()
    return dict(rows)


def not_landed(session: Session) -> list[str]:
    """The items of all projects that have a place and have not landed: those that may still wait for others."""
    query = select(WorkItemRow.key).join(PlaceRow, col(PlaceRow.item_id) == WorkItemRow.id)
    return list(session.exec(query.where(col(WorkItemRow.landed).is_(None))).all())


def free_slot(taken: Collection[int]) -> int:
    """The lowest slot that is not taken."""
    return next(number for number in range(1, len(taken) + 2) if number not in taken)


def line(session: Session, project: str) -> list[WorkItemRow]:
    """The items that could take a place, the next one first: by priority, then by arrival past analysis.

    One that is held or being stopped does not stand in line.
    """
    placed = select(PlaceRow.item_id).where(PlaceRow.item_id == WorkItemRow.id).exists()
    rows = session.exec(
        select(WorkItemRow)
        .where(WorkItemRow.project == project, col(WorkItemRow.stage).in_(PAST), ~placed)
        .where(col(WorkItemRow.hold).is_(None), col(WorkItemRow.cancel_requested_at).is_(None))
    ).all()
    return sorted(rows, key=lambda row: (rank(row.priority), row.entered_at, row.id))


def take(session: Session, item: WorkItem, slot: int, now: datetime) -> None:
    """Give the item a place, in the slot that was free when it was decided that there is one. Idempotent.

    Raises `IntegrityError` when another transaction has taken it since; `Store.write` then does all of it again. The
    slot is not looked for here: by now another one may be free, and there would be one place too many.
    """
    if not has(session, item.id):
        session.add(PlaceRow(item_id=item.id, project=item.project, slot=slot, since=now))
        session.flush()


def give_back(session: Session, item_id: int, project: str, now: datetime) -> None:
    """The item has ended: its place goes, and the next in line that waits for one looks again. Idempotent."""
    place = session.get(PlaceRow, item_id)
    if place is None:
        return
    session.delete(place)
    session.flush()
    waiting = set(
        session.exec(
            select(WaitRow.item_id).where(WaitRow.kind == WaitKind.SERIAL, col(WaitRow.closed_at).is_(None))
        ).all()
    )
    following = next((row for row in line(session, project) if row.id in waiting), None)
    if following is not None:
        outbox.wake(session, following.key, now)
