"""When regular work last succeeded."""

from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from pipeline.store.tables import HeartbeatRow

TICK = "reconcile"
"""A whole tick of the reconciler, none of whose parts has failed by a fault of Orch's own."""

PART = "tick:"
"""How the names of a tick's parts begin."""

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


def failing(session: Session, now: datetime) -> dict[str, datetime]:
    """The parts of a tick that others have outlived: each with its last success. None while no tick comes at all."""
    rows = session.exec(select(HeartbeatRow).where(col(HeartbeatRow.name).startswith(PART, autoescape=True))).all()
    if all(now - row.at > TICKS_LATE for row in rows):
        return {}
    return {row.name.removeprefix(PART): row.at for row in rows if now - row.at > TICKS_LATE}
