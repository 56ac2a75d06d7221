"""The journal of effects: steps that cannot be undone, written down before and after they happen."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from pipeline.errors import LeaseLost, StaleWrite
from pipeline.model import WorkItem
from pipeline.store import items, leases
from pipeline.store.tables import EffectRow

DEPLOY = "deploy"
REMOVE_BRANCH = "remove-branch"
"""The one effect that belongs to stopping an item."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One journalled step. `open` means that it was started and nobody knows yet how it ended: observe it first."""

    key: str
    name: str
    item_id: int
    generation: int
    details: Mapping[str, Any]
    started_at: datetime
    open: bool
    outcome: str


def start(
    session: Session,
    /,
    item: WorkItem,
    name: str,
    lease: leases.Lease,
    *,
    subject: str,
    now: datetime,
    **details: Any,
) -> tuple[Effect, bool]:
    """Journal that `name` is about to be done to `subject`; (effect, whether this call is the first to say so).

    Of an item that is being stopped nothing is begun but the removal of its branch.
    Not first: the effect was begun before and must be observed, not repeated. Raises `LeaseLost` when another run owns
    the item, or has begun this effect under a later lease.
    """
    leases.check(session, item, lease.token, now)
    key = f"{name}:{item.id}:{subject}"
    row = session.exec(select(EffectRow).where(EffectRow.key == key).with_for_update()).first()
    if row is None and name != REMOVE_BRANCH and items.lock(session, item.id).cancel_requested_at is not None:
        raise StaleWrite(f"{item.key} is being stopped; nothing that cannot be undone is begun.")
    if row is not None:
        if row.generation > lease.generation:
            raise LeaseLost(f"{item.key}: a later run has begun to {name} {subject}.")
        row.generation = lease.generation
        session.add(row)
        return _effect(row), False
    row = EffectRow(
        key=key,
        item_id=item.id,
        project=item.project,
        name=name,
        generation=lease.generation,
        details=details,
        started_at=now,
    )
    session.add(row)
    session.flush()
    return _effect(row), True


def finish(session: Session, effect: Effect, outcome: str, now: datetime) -> None:
    """Journal how the effect ended. Idempotent: the first outcome stands."""
    row = session.exec(select(EffectRow).where(EffectRow.key == effect.key).with_for_update()).one()
    if row.done_at is None:
        row.done_at, row.outcome = now, outcome
        session.add(row)


def note(
    session: Session, /, item: WorkItem, effect: Effect, lease: leases.Lease, now: datetime, **details: Any
) -> None:
    """Add details to an effect that is open. Raises `LeaseLost` when another run owns the item."""
    leases.check(session, item, lease.token, now)
    row = session.exec(select(EffectRow).where(EffectRow.key == effect.key).with_for_update()).one()
    row.details = {**row.details, **details}
    session.add(row)


def abandon(session: Session, effect: Effect) -> None:
    """Strike out an effect that is known not to have happened (refused, or the branch had moved on)."""
    row = session.exec(select(EffectRow).where(EffectRow.key == effect.key).with_for_update()).first()
    if row is not None and row.done_at is None:
        session.delete(row)


def of_item(session: Session, item_id: int) -> list[Effect]:
    """All effects of an item, in order."""
    rows = session.exec(select(EffectRow).where(EffectRow.item_id == item_id).order_by(col(EffectRow.id))).all()
    return [_effect(row) for row in rows]


def open_effects(session: Session, project: str) -> list[Effect]:
    """Effects of a project that were started and not ended."""
    rows = session.exec(select(EffectRow).where(EffectRow.project == project, col(EffectRow.done_at).is_(None))).all()
    return [_effect(row) for row in rows]


def _effect(row: EffectRow) -> Effect:
    return Effect(
        row.key,
        row.name,
        row.item_id,
        row.generation,
        dict(row.details),
        row.started_at,
        row.done_at is None,
        row.outcome,
    )
