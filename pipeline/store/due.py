"""What is due at a tick, found by the database itself: nothing here loads items that nothing has to be done about."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from pipeline.model import Wait, WaitKind, WorkItem
from pipeline.stages import WORKED, Stage
from pipeline.store import freezes, items, leases, waits
from pipeline.store.known import known_item
from pipeline.store.tables import DecisionRow, LeaseRow, TicketRow, WaitRow, WorkItemRow

HUMAN = tuple(kind.value for kind in WaitKind if kind.human)


@dataclass(frozen=True, slots=True)
class Standing:
    """An item with what it waits for and who works on it."""

    item: WorkItem
    wait: Wait | None = None
    owner: leases.Owner | None = None


def standing(session: Session, key: str) -> Standing | None:
    """How the item that is not cancelled stands."""
    item = items.find(session, key)
    return Standing(item, waits.open_wait(session, item.id), leases.owner(session, item.id)) if item else None


def stopping(session: Session, *, limit: int) -> list[WorkItem]:
    """Items that are to be stopped and are not yet."""
    query = select(WorkItemRow).where(_live(), col(WorkItemRow.cancel_requested_at).is_not(None))
    return [items.snapshot(row) for row in session.exec(query.order_by(col(WorkItemRow.id)).limit(limit)).all()]


def stopping_since(session: Session, before: datetime, *, limit: int) -> list[WorkItem]:
    """Items that were to be stopped before that time and are not yet, the latest last."""
    asked = col(WorkItemRow.cancel_requested_at)
    query = select(WorkItemRow).where(_live(), asked <= before).order_by(asked).limit(limit)
    return [items.snapshot(row) for row in session.exec(query).all()]


def owned(session: Session) -> list[Standing]:
    """Every item that a run owns or owned when it died, held ones too: as many as runs go on at once."""
    rows = session.exec(
        select(LeaseRow, WorkItemRow).join(WorkItemRow, col(WorkItemRow.id) == LeaseRow.item_id).where(_live())
    ).all()
    holders = {holder.item_id: holder for holder in leases.owners(session)}
    return [
        Standing(items.snapshot(item), waits.open_wait(session, lease.item_id), holders[lease.item_id])
        for lease, item in rows
    ]


def abandoned(session: Session, now: datetime, graces: Mapping[Stage, timedelta], *, limit: int) -> list[Standing]:
    """Items that nobody works on, that wait for nothing, and that have stood so for longer than their stage's grace."""
    query = (
        select(WorkItemRow)
        .where(_movable(), _early_enough(now), ~_owned(), ~_waits())
        .where(or_(*(and_(col(WorkItemRow.stage) == stage.value, _quiet(now - graces[stage])) for stage in WORKED)))
        .order_by(col(WorkItemRow.entered_at))
        .limit(limit)
    )
    return [Standing(items.snapshot(row)) for row in session.exec(query).all()]


def _quiet(before: datetime) -> ColumnElement[bool]:
    """One whose run died waits for its back-off alone: it is nobody's turn but the tick's."""
    return or_(col(WorkItemRow.entered_at) <= before, col(WorkItemRow.failures) > 0)


def looking_again(session: Session, now: datetime, *, limit: int) -> list[Standing]:
    """Items whose machine is to be looked at again: it is time, or their merge turn has come."""
    mine = aliased(TicketRow)
    ahead = select(TicketRow.id).where(
        mine.item_id == WorkItemRow.id, TicketRow.project == mine.project, col(TicketRow.id) < col(mine.id)
    )
    woken = select(TicketRow.id).where(TicketRow.item_id == WorkItemRow.id, col(TicketRow.woken_at).is_not(None))
    first = or_(col(WaitRow.kind) != WaitKind.MERGE_TURN.value, ~ahead.exists())
    turn = and_(col(WaitRow.kind) == WaitKind.MERGE_TURN.value, woken.exists())
    return _waiting(
        session,
        col(WaitRow.kind).not_in(HUMAN),
        or_(col(WaitRow.look_again_at) <= now, turn),
        first,
        _early_enough(now),
        order=col(WaitRow.look_again_at).asc(),
        limit=limit,
    )


def decided(session: Session, *, limit: int) -> list[Standing]:
    """Items whose person has decided and whose run has not heard of it."""
    return _waiting(
        session,
        col(WaitRow.kind).in_(HUMAN),
        col(WaitRow.wake_requested_at).is_not(None),
        order=col(WaitRow.wake_requested_at).asc(),
        limit=limit,
    )


def unchecked(session: Session, *, limit: int) -> list[Standing]:
    """Items that a person is asked about, those first whose suspended run nobody has looked after for longest."""
    return _waiting(
        session, col(WaitRow.kind).in_(HUMAN), order=col(WaitRow.checked_at).asc().nulls_first(), limit=limit
    )


def answered(session: Session, wait_ids: list[int]) -> frozenset[int]:
    """Those of these waits that a person has decided about, as `tasks.people.already_decided` says of one."""
    decision = select(DecisionRow.id).where(
        DecisionRow.item_id == WaitRow.item_id,
        DecisionRow.kind == WaitRow.kind,
        DecisionRow.commit == WaitRow.commit,
        or_(col(WaitRow.kind) != WaitKind.ANSWER.value, col(DecisionRow.at) >= WaitRow.since),
    )
    found = session.exec(select(WaitRow.id).where(col(WaitRow.id).in_(wait_ids), decision.exists())).all()
    return frozenset(number for number in found if number is not None)


def wanted(session: Session, run_ids: list[str]) -> frozenset[str]:
    """Those of these runs that an open wait is waited in."""
    query = select(WaitRow.flow_run_id).where(col(WaitRow.flow_run_id).in_(run_ids), col(WaitRow.closed_at).is_(None))
    return frozenset(run for run in session.exec(query).all() if run is not None)


def asked_of_people(session: Session) -> int:
    """How many items a person is asked about."""
    query = select(func.count()).select_from(WaitRow).where(col(WaitRow.closed_at).is_(None))
    return session.exec(query.where(col(WaitRow.kind).in_(HUMAN))).one()


def checked(session: Session, wait_ids: list[int], now: datetime) -> None:
    """The suspended runs of these waits were looked after."""
    for row in session.exec(select(WaitRow).where(col(WaitRow.id).in_(wait_ids))).all():
        row.checked_at = now
        session.add(row)


def overdue(session: Session, now: datetime, *, limit: int) -> list[tuple[Wait, WorkItem]]:
    """Waits past their deadline that nobody was told of. Not of items that a run is at just now: it may be the end of it."""
    rows = session.exec(
        select(WaitRow, WorkItemRow)
        .join(WorkItemRow, col(WorkItemRow.id) == WaitRow.item_id)
        .where(~_owned())
        .where(col(WaitRow.closed_at).is_(None), col(WaitRow.reminded_at).is_(None), col(WaitRow.deadline) <= now)
        .where(known_item())
        .order_by(col(WaitRow.deadline))
        .limit(limit)
    ).all()
    return [(waits.of_row(wait), items.snapshot(item)) for wait, item in rows]


def _waiting(
    session: Session, *conditions: ColumnElement[bool], order: ColumnElement[datetime | None], limit: int
) -> list[Standing]:
    rows = session.exec(
        select(WaitRow, WorkItemRow)
        .join(WorkItemRow, col(WorkItemRow.id) == WaitRow.item_id)
        .where(col(WaitRow.closed_at).is_(None), _movable(), ~_owned(), *conditions)
        .order_by(order)
        .limit(limit)
    ).all()
    return [Standing(items.snapshot(item), waits.of_row(wait)) for wait, item in rows]


def _live() -> ColumnElement[bool]:
    return and_(col(WorkItemRow.stage).in_([stage.value for stage in WORKED]), known_item())


def _movable() -> ColumnElement[bool]:
    """One that is escalated or held is left alone before anything else is looked at; so is a broken project's."""
    broken = col(WorkItemRow.project).in_(freezes.broken_projects())
    return and_(_live(), col(WorkItemRow.hold).is_(None), col(WorkItemRow.cancel_requested_at).is_(None), ~broken)


def _early_enough(now: datetime) -> ColumnElement[bool]:
    return or_(col(WorkItemRow.not_before).is_(None), col(WorkItemRow.not_before) <= now)


def _owned() -> ColumnElement[bool]:
    return select(LeaseRow.item_id).where(LeaseRow.item_id == WorkItemRow.id).exists()


def _waits() -> ColumnElement[bool]:
    return select(WaitRow.id).where(WaitRow.item_id == WorkItemRow.id, col(WaitRow.closed_at).is_(None)).exists()
