"""The breaker: a project whose runs die again and again is told from an item that is just unlucky."""

from datetime import datetime, timedelta

from sqlmodel import Session, col, delete, select

from pipeline.model import WorkItem
from pipeline.store.tables import CrashRow

TOO_MANY, WITHIN = 5, timedelta(minutes=10)
"""So many deaths in so short a time are not the items' fault."""


def count(session: Session, item: WorkItem, now: datetime) -> bool:
    """Count one death of the item's run; whether its project's breaker opens by it.

    An opened breaker forgets what it has counted: once the project is thawed it counts anew.
    """
    session.add(CrashRow(project=item.project, item_id=item.id, at=now))
    session.flush()
    of_project = select(CrashRow.id).where(CrashRow.project == item.project)
    if len(session.exec(of_project.where(col(CrashRow.at) > now - WITHIN)).all()) < TOO_MANY:
        return False
    session.exec(delete(CrashRow).where(col(CrashRow.project) == item.project))
    return True
