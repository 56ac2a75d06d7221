"""The breaker: a project whose runs die again and again is told from an item that is just unlucky."""

from datetime import datetime, timedelta

from sqlmodel import Session, col, delete, select

from pipeline.model import WorkItem
from pipeline.store import freezes
from pipeline.store.tables import CrashRow

TOO_MANY, WITHIN = 5, timedelta(minutes=10)
"""So many deaths in so short a time are not the items' fault."""


def count(session: Session, item: WorkItem, now: datetime) -> bool:
    """Count one death of the item's run; whether its project is frozen by it, as from now on it is.

    The breaker forgets what it has counted then: once a person has thawed the project it counts anew.
    """
    session.add(CrashRow(project=item.project, item_id=item.id, at=now))
    session.flush()
    of_project = select(CrashRow.id).where(CrashRow.project == item.project)
    if len(session.exec(of_project.where(col(CrashRow.at) > now - WITHIN)).all()) < TOO_MANY:
        return False
    session.exec(delete(CrashRow).where(col(CrashRow.project) == item.project))
    why = f"its runs died {TOO_MANY} times within {WITHIN.seconds // 60} minutes"
    freezes.trip(session, item.project, why=why, now=now)
    return True


def broken(session: Session, project: str) -> freezes.Freeze | None:
    """The breaker's freeze of a project; None when it may run."""
    return freezes.breaker(session, project)
