"""When regular work last succeeded."""

from datetime import datetime

from sqlmodel import Session

from pipeline.store.tables import HeartbeatRow


def beat(session: Session, name: str, now: datetime) -> None:
    """Note a success."""
    row = session.get(HeartbeatRow, name) or HeartbeatRow(name=name, at=now)
    row.at = now
    session.add(row)


def last(session: Session, name: str) -> datetime | None:
    """The last success, None when there was none yet."""
    row = session.get(HeartbeatRow, name)
    return row.at if row else None
