"""What is set aside because a later version of Orch has written it: for whoever has to know that nobody works on it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlmodel import Session, col, select

from pipeline.model import Hold, WaitKind
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store.known import known_item, one_of_or_none
from pipeline.store.outbox import Kind
from pipeline.store.tables import LeaseRow, OutboxRow, SignalRow, WaitRow, WorkItemRow

NAMED = 20
"""Items that are named of one value, at most."""


@dataclass(frozen=True, slots=True)
class Aside:
    """One value that this version does not know, what it is, and the items whose it is."""

    what: str
    value: str
    items: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The finding for people."""
        return f"{self.what} {self.value!r} of {', '.join(self.items)}"


@dataclass(frozen=True, slots=True)
class AsideItem:
    """An item that nobody works on, as far as it can be told; `stage` is as it was written."""

    key: str
    project: str
    title: str
    branch: str
    stage: str
    since: datetime

    @property
    def why(self) -> str:
        """The reason for people."""
        return (
            "It is set aside: a later version of Orch has written of it what this one does not know. Start that again."
        )


def all_of_them(session: Session) -> list[Aside]:
    """Every unknown value in what is current; what is over and done with is not looked at."""
    return [aside for looked in _LOOKED_AT for aside in _unknown(session, *looked)]


def items(session: Session) -> list[AsideItem]:
    """The items, not ended, that this version does not understand as a whole, newest first.

    Those that have ended are by far the most, and nothing is done about them.
    """
    query = select(WorkItemRow).where(col(WorkItemRow.cancelled_at).is_(None), _not_done(), ~known_item())
    rows = session.exec(query.order_by(col(WorkItemRow.id).desc())).all()
    return [AsideItem(row.key, row.project, row.title, row.branch, row.stage, row.entered_at) for row in rows]


def _not_done() -> Any:
    return WorkItemRow.stage != Stage.DONE.value


def _unknown(session: Session, what: str, column: Any, kind: type[StrEnum], current: Any) -> Iterator[Aside]:
    found: dict[str, list[str]] = {}
    for value, key in session.execute(current.where(~one_of_or_none(column, kind)).order_by(column)).all():
        found.setdefault(value, []).append(key)
    for value, keys in found.items():
        yield Aside(what, value, tuple(dict.fromkeys(keys))[:NAMED])


def _of_items(column: Any, ended_at: Any) -> Any:
    return select(column, WorkItemRow.key).where(col(ended_at).is_(None))


def _of_waits(column: Any) -> Any:
    return _of_items(column, WaitRow.closed_at).join(WorkItemRow, col(WaitRow.item_id) == WorkItemRow.id)


_LOOKED_AT: tuple[tuple[str, Any, type[StrEnum], Any], ...] = (
    ("signal", SignalRow.signal, Signal, select(SignalRow.signal, SignalRow.item_key).where(col(SignalRow.consumed_at).is_(None))),
    ("letter", OutboxRow.kind, Kind, select(OutboxRow.kind, OutboxRow.item_key).where(col(OutboxRow.sent_at).is_(None))),
    ("stage", WorkItemRow.stage, Stage, _of_items(WorkItemRow.stage, WorkItemRow.cancelled_at).where(_not_done())),
    ("hold", WorkItemRow.hold, Hold, _of_items(WorkItemRow.hold, WorkItemRow.cancelled_at).where(_not_done())),
    ("wait", WaitRow.kind, WaitKind, _of_waits(WaitRow.kind)),
    ("stage of the wait", WaitRow.stage, Stage, _of_waits(WaitRow.stage)),
    (
        "stage of the lease", LeaseRow.stage, Stage,
        select(LeaseRow.stage, WorkItemRow.key).join(WorkItemRow, col(LeaseRow.item_id) == WorkItemRow.id),
    ),
)  # fmt: skip
"""What the value is called, its column, what is known, and the query for what is current."""
