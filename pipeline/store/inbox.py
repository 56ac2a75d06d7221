"""The inbox: what outside events mean to items. What is stored here is the truth; events are hints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select

from pipeline.signals import Signal
from pipeline.store.known import as_known, one_of
from pipeline.store.tables import SignalRow


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
    published_at: datetime | None


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
    """Signals that nobody has applied yet, in order of arrival; those that only a later version knows are left out."""
    open_ones = select(SignalRow).where(col(SignalRow.consumed_at).is_(None), one_of(SignalRow.signal, Signal))
    query = open_ones.order_by(col(SignalRow.id)).limit(limit)
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
    """Count one announcement of the signal, or one start of what applies it."""
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


LONGEST_PAUSE = timedelta(minutes=30)
"""However long a signal could not be applied, it is tried again after this."""


def tried_again(stored: StoredSignal, ages_s: Sequence[float], now: datetime) -> bool:
    """Whether an overdue signal is to be tried once more: its age doubles between two tries, up to `LONGEST_PAUSE`."""
    if not overdue(stored, ages_s, now):
        return False
    last = stored.published_at
    return last is None or now - last >= min(last - stored.received_at, LONGEST_PAUSE)


def _stored(row: SignalRow) -> StoredSignal:
    return StoredSignal(
        id=row.id or 0,
        project=row.project,
        item_key=row.item_key,
        signal=as_known(Signal, row.signal, f"A signal of {row.item_key}"),
        actor=row.actor,
        payload=dict(row.payload),
        received_at=row.received_at,
        published=row.published,
        published_at=row.published_at,
    )
