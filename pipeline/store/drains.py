"""Drains: while one is open no new stage run starts, but the owner's own."""

from datetime import datetime

from sqlmodel import Session, col, select

from pipeline.store.tables import DrainRow


def begin(session: Session, owner: str, now: datetime, deadline: datetime) -> None:
    """Open the owner's drain, or prolong it. It ends by itself at `deadline`."""
    row = _open(session, owner)
    if row is None:
        row = DrainRow(owner=owner, since=now, deadline=deadline)
    row.deadline = deadline
    session.add(row)


def end(session: Session, owner: str, now: datetime) -> None:
    """End the owner's drain. Idempotent."""
    row = _open(session, owner)
    if row is not None:
        row.ended_at = now
        session.add(row)


def in_the_way(session: Session, key: str, now: datetime) -> str | None:
    """Why the item `key` may not start a run now; None when nobody else drains."""
    row = session.exec(
        select(DrainRow).where(col(DrainRow.ended_at).is_(None), DrainRow.deadline > now, DrainRow.owner != key)
    ).first()
    return f"Orch takes no new work while {row.owner} is being deployed." if row else None


def _open(session: Session, owner: str) -> DrainRow | None:
    return session.exec(select(DrainRow).where(DrainRow.owner == owner, col(DrainRow.ended_at).is_(None))).first()
