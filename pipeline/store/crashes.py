"""The deaths of runs: what is counted of them, and the breaker of a project whose runs die again and again."""

from datetime import datetime, timedelta

from sqlmodel import Session, col, delete, select

from pipeline.messages import Texts
from pipeline.model import WorkItem
from pipeline.stages import Stage
from pipeline.store import counters, freezes, items, leases, reactions
from pipeline.store.leases import Owner, WentWithItsHost
from pipeline.store.tables import CrashRow

TOO_MANY, WITHIN = 5, timedelta(minutes=10)
"""So many deaths in so short a time are not the items' fault."""


def reclaim(session: Session, dead: Owner, went: WentWithItsHost, now: datetime, texts: Texts) -> WorkItem | None:
    """Take the item away from its dead owner; the item then, None when it was not the owner's any more. Idempotent.

    The death was counted when the run entered; see `forgive` for one that died with its host.
    """
    if not leases.release(session, dead.item_id, dead.token):
        return None
    counters.count(session, counters.RECLAIMED)
    if went(dead.process):
        return forgive(session, dead, now, texts)
    return items.snapshot(items.lock(session, dead.item_id))


def forgive(session: Session, dead: Owner, now: datetime, texts: Texts) -> WorkItem:
    """The item without the failure that its owner counted at entry: its host went, which says nothing about the item.

    People are told of it as of any other death. To be called once, as the owner's lease is ended.
    """
    row = items.lock(session, dead.item_id)
    if row.failures and dead.stage is not Stage.CANCELLED:  # STOP counts no failures
        html = texts("recovered", key=row.key, title=row.title, stage=row.stage)
        reactions.say(session, row.key, html, f"recovered:{row.id}:{dead.token}", now)
        row.failures, row.not_before = row.failures - 1, None
        session.add(row)
        _uncount_last(session, dead.item_id)
        session.flush()
    return items.snapshot(row)


def _uncount_last(session: Session, item_id: int) -> None:
    """Forget the item's last death: the next run of an item that has died before counts it as this one did."""
    last = select(CrashRow).where(CrashRow.item_id == item_id).order_by(col(CrashRow.id).desc()).limit(1)
    for row in session.exec(last).all():
        session.delete(row)


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
