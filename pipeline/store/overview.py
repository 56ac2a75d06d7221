"""How much there is of everything, counted by the database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func
from sqlmodel import Session, col, select

from pipeline.store import items, leases, outbox
from pipeline.store.leases import Alive
from pipeline.store.tables import DeliveryRow, SignalRow, WaitRow, WorkItemRow


@dataclass(frozen=True, slots=True)
class Overview:
    """Numbers of live items by stage, hold and wait, and of what is under way."""

    stages: dict[str, int]
    holds: dict[str, int]
    waits: dict[str, int]
    deliveries: int
    pending_deliveries: int
    unconsumed_signals: int
    unsent_letters: int
    leases: int
    dead_leases: int


def overview(session: Session, now: datetime, alive: Alive) -> Overview:
    """The numbers as they are."""
    live = col(WorkItemRow.stage).not_in(items.ENDED)
    holders = leases.owners(session)
    return Overview(
        stages=_by(session, col(WorkItemRow.stage), live),
        holds=_by(session, col(WorkItemRow.hold), live, col(WorkItemRow.hold).is_not(None)),
        waits=_by(session, col(WaitRow.kind), col(WaitRow.closed_at).is_(None)),
        deliveries=_number(session, DeliveryRow),
        pending_deliveries=_number(session, DeliveryRow, col(DeliveryRow.resolved_at).is_(None)),
        unconsumed_signals=_number(session, SignalRow, col(SignalRow.consumed_at).is_(None)),
        unsent_letters=outbox.unsent(session),
        leases=len(holders),
        dead_leases=sum(not leases.lives(holder, now, alive) for holder in holders),
    )


def _by(session: Session, column: Any, *conditions: ColumnElement[bool]) -> dict[str, int]:
    query = select(column, func.count()).where(*conditions).group_by(column).order_by(column)
    return {str(name): number for name, number in session.exec(query).all()}


def _number(session: Session, table: type[DeliveryRow] | type[SignalRow], *conditions: ColumnElement[bool]) -> int:
    return session.exec(select(func.count()).select_from(table).where(*conditions)).one()
