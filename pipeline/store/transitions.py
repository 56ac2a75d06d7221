"""The record of every move of every item: written with the move itself, never changed."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from pipeline.stages import Stage
from pipeline.store.known import STAGES
from pipeline.store.tables import TransitionRow, WorkItemRow


@dataclass(frozen=True, slots=True)
class Transition:
    """One recorded stage write; `seconds` is how long the item had stood at the stage it left."""

    from_stage: Stage | None
    to_stage: Stage
    actor: str
    reason: str
    flow_run_id: str | None
    at: datetime
    seconds: float


def history(session: Session, item_id: int) -> list[Transition]:
    """All transitions of an item between stages that this version knows, in order."""
    rows = session.exec(
        select(TransitionRow).where(TransitionRow.item_id == item_id).order_by(col(TransitionRow.id))
    ).all()
    pairs = zip(rows, [None, *rows], strict=False)
    return [_transition(row, before) for row, before in pairs if {row.from_stage, row.to_stage} <= STAGES]


def visits_since_retry(session: Session, item_id: int, stage: Stage) -> int:
    """How often the item has come to `stage` from another one since a person had it tried again there, or ever."""
    count = 0
    for move in reversed(history(session, item_id)):
        if move.to_stage is stage and move.from_stage is stage:
            return count
        count += move.to_stage is stage
    return count


def _transition(row: TransitionRow, before: TransitionRow | None) -> Transition:
    return Transition(
        from_stage=Stage(row.from_stage) if row.from_stage else None,
        to_stage=Stage(row.to_stage),
        actor=row.actor,
        reason=row.reason,
        flow_run_id=row.flow_run_id,
        at=row.at,
        seconds=(row.at - before.at).total_seconds() if before else 0.0,
    )


def record(
    session: Session, row: WorkItemRow, here: str | None, *, actor: str, reason: str, run: str | None, now: datetime
) -> None:
    """Record that the item came from `here` to where its row stands now; part of the same transaction."""
    assert row.id is not None  # noqa: S101  flushed before
    session.add(row)
    session.add(
        TransitionRow(
            item_id=row.id,
            from_stage=here,
            to_stage=row.stage,
            version=row.version,
            actor=actor,
            reason=reason,
            flow_run_id=run,
            at=now,
        )
    )
