"""Freezes: a person has said that nothing lands and nothing is deployed; work goes on. A breaker's stops that as well.

A person's freeze of a project and its breaker's are two rows, so that neither takes the other's place.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, func, select
from sqlmodel.sql.expression import SelectOfScalar

from pipeline.model import WaitKind
from pipeline.store import outbox
from pipeline.store.tables import FreezeRow, WaitRow, WorkItemRow

EVERYTHING = ""
"""Stands for every project."""

BREAKER = "its breaker"
"""Who has frozen a project whose runs die. Such a freeze stops every stage, not just landing; a person thaws it."""

_OF_BREAKER = "breaker:"
"""Before a project's key in the row of its breaker; no key of a project has a colon."""


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
    """Freeze a project, or everything; False when it was frozen already, whose reason then is replaced.

    Leaves the freeze of the project's breaker as it is.
    """
    return _put(session, project, actor, why, now)


def trip(session: Session, project: str, *, why: str, now: datetime) -> bool:
    """Freeze a project by its breaker; False when it was already. Leaves a person's freeze as it is."""
    return _put(session, f"{_OF_BREAKER}{project}", BREAKER, why, now)


def _put(session: Session, key: str, actor: str, why: str, now: datetime) -> bool:
    row = session.get(FreezeRow, key)
    known = row is not None
    row = row or FreezeRow(project=key, actor=actor, why=why, since=now)
    row.actor, row.why = actor, why
    session.add(row)
    return not known


def thaw(session: Session, project: str, now: datetime) -> bool:
    """Take one freeze of the project back and wake whom it kept out; False when there was none. Others may still hold.

    The breaker's goes first, a person's with the next call.
    """
    row = _breaker_row(session, project) or session.get(FreezeRow, project)
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
    """The freeze that keeps the project from landing and deploying, the first of `holding`."""
    return next(iter(holding(session, project)), None)


def holding(session: Session, project: str) -> list[Freeze]:
    """Every freeze that holds for the project: a person's, that of everything, its breaker's."""
    keys = dict.fromkeys((project, EVERYTHING))
    rows = [*(session.get(FreezeRow, key) for key in keys), _breaker_row(session, project)]
    return [_freeze(row) for row in rows if row is not None]


def breaker(session: Session, project: str) -> Freeze | None:
    """The freeze of the project's breaker."""
    row = _breaker_row(session, project)
    return _freeze(row) if row else None


def broken_projects() -> SelectOfScalar[str]:
    """A query for the projects that are frozen by their breakers."""
    key = col(FreezeRow.project)
    return select(func.substr(key, len(_OF_BREAKER) + 1)).where(key.startswith(_OF_BREAKER))


def _breaker_row(session: Session, project: str) -> FreezeRow | None:
    return session.get(FreezeRow, f"{_OF_BREAKER}{project}")


def all_of_them(session: Session) -> list[Freeze]:
    """Every freeze, the one of everything first."""
    return [_freeze(row) for row in session.exec(select(FreezeRow).order_by(col(FreezeRow.project))).all()]


def _freeze(row: FreezeRow) -> Freeze:
    return Freeze(row.project.removeprefix(_OF_BREAKER), row.actor, row.why, row.since)
