"""The inbox: webhooks as they arrived, and the signals they mean. What is stored here is the truth; events are hints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select

from pipeline.signals import Signal
from pipeline.store.tables import DeliveryRow, SignalRow


@dataclass(frozen=True, slots=True)
class StoredSignal:
    """A signal of an item, consumed or not."""

    id: int
    project: str
    item_key: str
    signal: Signal
    actor: str
    payload: Mapping[str, Any]
    received_at: datetime
    published: int


@dataclass(frozen=True, slots=True)
class PendingDelivery:
    """A delivery that is stored and not understood yet, because the project's states were not known."""

    id: int
    source: str
    inbound: tuple[Mapping[str, Any], ...]
    received_at: datetime


def deliver(
    session: Session,
    *,
    digest: str,
    source: str,
    event: str,
    body: str,
    inbound: Sequence[Mapping[str, Any]],
    now: datetime,
) -> int | None:
    """Store a delivery; its id, or None when one with this digest is here already."""
    if session.exec(select(DeliveryRow.id).where(DeliveryRow.digest == digest)).first() is not None:
        return None
    row = DeliveryRow(
        digest=digest,
        source=source,
        event=event,
        body=body,
        received_at=now,
        inbound=[dict(entry) for entry in inbound],
    )
    session.add(row)
    session.flush()
    return row.id


def resolved(session: Session, delivery_id: int, note: str, now: datetime) -> bool:
    """Mark a delivery as understood; False when somebody else has resolved it meanwhile."""
    row = session.exec(select(DeliveryRow).where(DeliveryRow.id == delivery_id).with_for_update()).one()
    if row.resolved_at is not None:
        return False
    row.resolved_at, row.note = now, note
    session.add(row)
    return True


def pending(session: Session, *, limit: int = 100) -> list[PendingDelivery]:
    """Deliveries that are stored and not resolved, oldest first."""
    rows = session.exec(
        select(DeliveryRow).where(col(DeliveryRow.resolved_at).is_(None)).order_by(col(DeliveryRow.id)).limit(limit)
    ).all()
    return [PendingDelivery(row.id or 0, row.source, tuple(row.inbound), row.received_at) for row in rows]


def signal(
    session: Session,
    *,
    delivery_id: int | None,
    project: str,
    item_key: str,
    signal: Signal,
    actor: str,
    payload: Mapping[str, Any],
    now: datetime,
) -> StoredSignal:
    """Store one signal, unconsumed."""
    row = SignalRow(
        delivery_id=delivery_id,
        project=project,
        item_key=item_key,
        signal=signal,
        actor=actor,
        payload=dict(payload),
        received_at=now,
    )
    session.add(row)
    session.flush()
    return _stored(row)


def unconsumed(session: Session, item_key: str | None = None, *, limit: int = 500) -> list[StoredSignal]:
    """Signals that nobody has applied yet, in order of arrival."""
    query = select(SignalRow).where(col(SignalRow.consumed_at).is_(None)).order_by(col(SignalRow.id)).limit(limit)
    if item_key is not None:
        query = query.where(SignalRow.item_key == item_key)
    return [_stored(row) for row in session.exec(query).all()]


def heard(session: Session, item_key: str, signal: Signal, *, since: datetime | None = None) -> list[StoredSignal]:
    """The item's signals of one kind, applied or not, oldest first."""
    query = select(SignalRow).where(SignalRow.item_key == item_key, SignalRow.signal == signal.value)
    if since is not None:
        query = query.where(SignalRow.received_at >= since)
    return [_stored(row) for row in session.exec(query.order_by(col(SignalRow.id))).all()]


def comment_heard(session: Session, item_key: str, comment_id: str) -> bool:
    """Whether a comment is among the item's answers already."""
    answers = heard(session, item_key, Signal.ANSWER_GIVEN)
    return any(stored.payload.get("comment_id") == comment_id for stored in answers)


def consume(session: Session, signal_id: int, consequence: str, now: datetime) -> bool:
    """Mark the signal applied, with what followed, in the transaction that applies it; False when it was already."""
    row = session.exec(select(SignalRow).where(SignalRow.id == signal_id).with_for_update()).one()
    if row.consumed_at is not None:
        return False
    row.consumed_at, row.consequence = now, consequence
    session.add(row)
    return True


def published(session: Session, signal_id: int, now: datetime) -> None:
    """Count one announcement of the signal."""
    row = session.exec(select(SignalRow).where(SignalRow.id == signal_id).with_for_update()).one()
    row.published += 1
    row.published_at = now
    session.add(row)


def due_again(stored: StoredSignal, ages_s: Sequence[float], now: datetime) -> bool:
    """Whether an unconsumed signal is old enough for its next announcement."""
    return 0 < stored.published <= len(ages_s) and now - stored.received_at >= timedelta(
        seconds=ages_s[stored.published - 1]
    )


def overdue(stored: StoredSignal, ages_s: Sequence[float], now: datetime) -> bool:
    """Whether announcing has been tried often enough: the tick applies the signal itself."""
    return now - stored.received_at >= timedelta(seconds=ages_s[-1] if ages_s else 0)


def _stored(row: SignalRow) -> StoredSignal:
    return StoredSignal(
        id=row.id or 0,
        project=row.project,
        item_key=row.item_key,
        signal=Signal(row.signal),
        actor=row.actor,
        payload=dict(row.payload),
        received_at=row.received_at,
        published=row.published,
    )
