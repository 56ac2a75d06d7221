"""Webhooks as they arrived, and whether they have been understood; the signals that they mean are `pipeline.store.inbox`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete
from sqlmodel import Session, col, select

from pipeline.signals import Signal
from pipeline.store import outbox
from pipeline.store.tables import DeliveryRow, SignalRow

SIGNALS = frozenset(signal.value for signal in Signal)


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


def latest(session: Session, *, failed: bool = False, limit: int = 50) -> list[StoredDelivery]:
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
