"""When regular work last succeeded."""

from datetime import datetime, timedelta

from sqlmodel import Session

from pipeline.store.tables import HeartbeatRow

TICK = "reconcile"
"""A whole tick of the reconciler."""

TICKS_LATE = timedelta(seconds=90)
"""Without a tick for so long, the reconciler is late."""


def beat(session: Session, name: str, now: datetime) -> None:
    """Note a success."""
    row = session.get(HeartbeatRow, name) or HeartbeatRow(name=name, at=now)
    row.at = now
    session.add(row)


def last(session: Session, name: str) -> datetime | None:
    """The last success, None when there was none yet."""
    row = session.get(HeartbeatRow, name)
    return row.at if row else None
