"""Freezes: a person has said that nothing lands and nothing is deployed; work goes on."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from pipeline.model import WaitKind
from pipeline.store import outbox
from pipeline.store.tables import FreezeRow, WaitRow, WorkItemRow

EVERYTHING = ""
"""Stands for every project."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """Who froze what, when and why; an empty `project` means all of them."""

    project: str
    actor: str
    why: str
    since: datetime

    @property
    def sentence(self) -> str:
        """The freeze for people."""
        what = self.project or "Everything"
        return f"{what} is frozen by {self.actor} since {self.since:%Y-%m-%d %H:%M} UTC: {self.why}"


def freeze(session: Session, project: str, *, actor: str, why: str, now: datetime) -> bool:
    """Freeze a project, or everything; False when it was frozen already, whose reason then is replaced."""
    row = session.get(FreezeRow, project)
    known = row is not None
    row = row or FreezeRow(project=project, actor=actor, why=why, since=now)
    row.actor, row.why = actor, why
    session.add(row)
    return not known


def thaw(session: Session, project: str, now: datetime) -> bool:
    """Take a freeze back and wake whom it kept out; False when there was none. Another one may still hold."""
    row = session.get(FreezeRow, project)
    if row is None:
        return False
    session.delete(row)
    session.flush()
    kept_out = (
        select(WorkItemRow.key)
        .join(WaitRow, col(WaitRow.item_id) == WorkItemRow.id)
        .where(WaitRow.kind == WaitKind.FREEZE, col(WaitRow.closed_at).is_(None))
        .order_by(col(WaitRow.id))
    )
    if project != EVERYTHING:
        kept_out = kept_out.where(WorkItemRow.project == project)
    for key in session.exec(kept_out).all():
        outbox.wake(session, key, now)
    return True


def in_the_way(session: Session, project: str) -> Freeze | None:
    """The freeze that keeps the project from landing and deploying; its own before the one of everything."""
    row = session.get(FreezeRow, project) or session.get(FreezeRow, EVERYTHING)
    return _freeze(row) if row else None


def all_of_them(session: Session) -> list[Freeze]:
    """Every freeze, the one of everything first."""
    return [_freeze(row) for row in session.exec(select(FreezeRow).order_by(col(FreezeRow.project))).all()]


def _freeze(row: FreezeRow) -> Freeze:
    return Freeze(row.project, row.actor, row.why, row.since)
