"""Fills a store with live items as a large installation has them: nearly all of them wait for somebody."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel import Session, func, select

from pipeline.model import Hold, WaitKind
from pipeline.stages import Stage
from pipeline.store.tables import WaitRow, WorkItemRow

HELD, CI = 0.05, 0.2
"""Of all live items: held for a person's `orch retry`, and waiting for CI. Those that ask a person have a suspended run
each; the rest waits for other items."""


def seed(session: Session, project: str, number: int, suspended: Sequence[str], commit: str, now: datetime) -> None:
    """Add `number` items of `project`, of which as many ask a person as there are `suspended` runs.

    All stand at `commit`. Nothing is due about any of them within the next hour. Not idempotent.
    """
    there = session.exec(select(func.count()).select_from(WorkItemRow)).one()
    for index in range(number):
        key = f"{project}-{100_000 + there + index}"
        run = suspended[index] if index < len(suspended) else None
        share = (index - len(suspended)) / max(1, number - len(suspended))
        held = run is None and share < HELD
        kind = _kind(run, share)
        item = WorkItemRow(
            key=key, project=project, tracker_id=f"card-{key}", title="One of many", branch=f"feature/{key}",
            stage=Stage.ANALYSIS if run else Stage.DEVELOPMENT, visits={}, created_at=now, entered_at=now,
            tip=commit, head=commit, hold=Hold.BLOCKED if held else None,
        )  # fmt: skip
        session.add(item)
        session.flush()
        if not held and item.id is not None:
            session.add(_wait(item.id, key, kind, run, now))


def _kind(run: str | None, share: float) -> WaitKind:
    if run is not None:
        return WaitKind.APPROVAL
    return WaitKind.CI if share < HELD + CI else WaitKind.DEPENDENCY


def _wait(item_id: int, key: str, kind: WaitKind, run: str | None, now: datetime) -> WaitRow:
    soon = now + timedelta(hours=1)
    return WaitRow(
        item_id=item_id, key=f"{kind}-{key.lower()}", kind=kind, stage=Stage.DEVELOPMENT, visit=1,
        sentence="It waits.", since=now, deadline=soon + timedelta(days=1), commit="a" * 40, flow_run_id=run,
        look_again_at=None if kind.human else soon,
    )  # fmt: skip


def make_due(session: Session, number: int, now: datetime) -> None:
    """Have `number` of the items that wait for CI be looked at again at once."""
    rows = session.exec(select(WaitRow).where(WaitRow.kind == WaitKind.CI).limit(number)).all()
    for row in rows:
        row.look_again_at = now
        session.add(row)
