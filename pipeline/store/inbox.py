"""The inbox: webhooks as they arrived, and the signals they mean. What is stored here is the truth; events are hints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete
from sqlmodel import Session, col, select

from pipeline.signals import Signal
from pipeline.store import outbox
from pipeline.store.known import as_known, one_of
from pipeline.store.tables import DeliveryRow, SignalRow

SIGNALS = frozenset(signal.value for signal in Signal)


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


def last_delivery(session: Session, source: str) -> datetime | None:
    """When the latest stored delivery of a sender came; None when none ever did."""
    newest = select(DeliveryRow.received_at).where(DeliveryRow.source == source).order_by(col(DeliveryRow.id).desc())
    return session.exec(newest.limit(1)).first()


def undelivered(session: Session, actor: str, *, since: datetime, until: datetime) -> list[str]:
    """Projects with a signal of `actor`'s that came after `since`, up to `until`, and by no delivery; sorted."""
    query = select(SignalRow.project).where(
        col(SignalRow.delivery_id).is_(None),
        SignalRow.actor == actor,
        col(SignalRow.received_at) > since,
        col(SignalRow.received_at) <= until,
    )
    return sorted(session.exec(query.distinct()).all())


def resolved(session: Session, delivery_id: int, note: str, now: datetime) -> bool:
    """Mark a delivery as understood; False when somebody else has resolved it meanwhile."""
    row = session.exec(select(DeliveryRow).where(DeliveryRow.id == delivery_id).with_for_update()).one()
    if row.resolved_at is not None:
        return False
    row.resolved_at, row.note = now, note
    session.add(row)
    return True


def noted(session: Session, delivery_id: int, note: str) -> bool:
    """Say why a delivery stays pending, for `orch deliveries`; False when that was said."""
    row = session.get_one(DeliveryRow, delivery_id, with_for_update=True)
    if row.resolved_at is not None or row.note == note:
        return False
    row.note = note
    session.add(row)
    return True


def pending(session: Session, *, after: int = 0, limit: int = 100) -> list[PendingDelivery]:
    """Deliveries that are stored and not resolved, oldest first, from the one behind the id `after` on."""
    rows = session.exec(
        select(DeliveryRow)
        .where(col(DeliveryRow.resolved_at).is_(None), col(DeliveryRow.id) > after)
        .order_by(col(DeliveryRow.id))
        .limit(limit)
    ).all()
    return [PendingDelivery(row.id or 0, row.source, tuple(row.inbound), row.received_at) for row in rows]


GIVEN_UP = "ignored: "
"""How the note of a delivery begins that nobody will ever understand."""


@dataclass(frozen=True, slots=True)
class StoredDelivery:
    """A delivery as `orch deliveries` lists it; `applied` and `waiting` count its signals."""

    id: int
    source: str
    event: str
    received_at: datetime
    resolved_at: datetime | None
    note: str
    applied: int
    waiting: int

    @property
    def failed(self) -> bool:
        """Whether it was not understood, or what it means was not applied."""
        return self.resolved_at is None or self.note.startswith(GIVEN_UP) or self.waiting > 0


def deliveries(session: Session, *, failed: bool = False, limit: int = 50) -> list[StoredDelivery]:
    """The latest deliveries, newest first; with `failed` only those that led to nothing although they should have."""
    rows = session.exec(select(DeliveryRow).order_by(col(DeliveryRow.id).desc()).limit(1000 if failed else limit)).all()
    listed = [_listed(session, row) for row in rows]
    return [one for one in listed if one.failed or not failed][:limit]


def received_since(session: Session, since: datetime) -> list[int]:
    """The deliveries that came since, oldest first."""
    query = select(DeliveryRow.id).where(col(DeliveryRow.received_at) >= since).order_by(col(DeliveryRow.id))
    return [number for number in session.exec(query).all() if number is not None]


def replay(session: Session, delivery_id: int, now: datetime) -> str | None:
    """Apply a stored delivery again, as if it had come now; what follows, None for an unknown one. Idempotent.

    What was applied stays applied. Signals that still wait are announced again, and a delivery that led to none is
    understood anew, by the running Orch, as any that is pending.
    """
    row = session.exec(select(DeliveryRow).where(DeliveryRow.id == delivery_id).with_for_update()).first()
    if row is None:
        return None
    if row.resolved_at is None:
        return "is pending; the running Orch goes on trying to understand it"
    signals = session.exec(select(SignalRow).where(SignalRow.delivery_id == delivery_id)).all()
    waiting = [stored for stored in signals if stored.consumed_at is None]
    ours = [stored for stored in waiting if stored.signal in SIGNALS]
    for stored in ours:
        outbox.event(session, Signal(stored.signal).event, stored.item_key, now)
    if waiting:
        what = "is announced again" if ours else "waits for the later version of Orch that has stored it"
        return f"{what}: {', '.join(f'{stored.item_key} {stored.signal}' for stored in ours or waiting)}"
    if signals:
        return f"was applied before: {row.note}"
    row.resolved_at, row.note = None, f"to be understood anew (was: {row.note})"
    session.add(row)
    return "is understood anew by the running Orch"


def prune(session: Session, before: datetime, *, limit: int = 500) -> int:
    """Forget resolved deliveries that came `before`, with their signals, at most `limit` at once; how many.

    One with a signal that still waits is kept. A copy of a forgotten one that came now would count as new.
    """
    waiting = select(SignalRow.id).where(SignalRow.delivery_id == DeliveryRow.id, col(SignalRow.consumed_at).is_(None))
    old = session.exec(
        select(DeliveryRow.id)
        .where(col(DeliveryRow.received_at) < before, col(DeliveryRow.resolved_at).is_not(None), ~waiting.exists())
        .order_by(col(DeliveryRow.id))
        .limit(limit)
    ).all()
    if old:
        session.execute(delete(SignalRow).where(col(SignalRow.delivery_id).in_(old)))
        session.execute(delete(DeliveryRow).where(col(DeliveryRow.id).in_(old)))
    return len(old)


def _listed(session: Session, row: DeliveryRow) -> StoredDelivery:
    consumed = session.exec(select(SignalRow.consumed_at).where(SignalRow.delivery_id == row.id)).all()
    waiting = sum(at is None for at in consumed)
    return StoredDelivery(
        id=row.id or 0,
        source=row.source,
        event=row.event,
        received_at=row.received_at,
        resolved_at=row.resolved_at,
        note=row.note,
        applied=len(consumed) - waiting,
        waiting=waiting,
    )


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
