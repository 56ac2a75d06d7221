"""Values that a later version of Orch may have written and this one does not know: never guessed at, never lost.

Such a row is left as it is. Listings leave it out, so that it keeps nobody else waiting; whoever asks for just this one
is told. `pipeline.store.set_aside` finds them all.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, and_, or_
from sqlmodel import col, select

from pipeline.errors import FromLaterVersion
from pipeline.model import Hold, WaitKind
from pipeline.stages import Stage, Status
from pipeline.store.tables import LeaseRow, WaitRow, WorkItemRow

STAGES = frozenset((None, *(stage.value for stage in Stage)))
STATUSES = frozenset(status.value for status in Status)

E = TypeVar("E", bound=StrEnum)


def as_known(kind: type[E], value: str, where: str) -> E:
    """The value as one of ours. Raises `FromLaterVersion`; `where` begins its sentence, as "The stage of WID-3"."""
    try:
        return kind(value)
    except ValueError:
        raise FromLaterVersion(
            f"{where} is {value!r}, which this version of Orch does not know: a later one has written it. It is left "
            "as it is; start that version again."
        ) from None


def one_of(column: Any, kind: Iterable[StrEnum]) -> ColumnElement[bool]:
    """Rows whose column has one of these values: a whole enum is what this version knows."""
    return col(column).in_([member.value for member in kind])


def one_of_or_none(column: Any, kind: type[StrEnum]) -> ColumnElement[bool]:
    """The same, or no value at all."""
    return or_(col(column).is_(None), one_of(column, kind))


def known_item() -> ColumnElement[bool]:
    """Items all of which this version understands: their own row, the wait that is open, and the lease."""
    wait = select(WaitRow.id).where(
        WaitRow.item_id == WorkItemRow.id,
        col(WaitRow.closed_at).is_(None),
        ~and_(one_of(WaitRow.kind, WaitKind), one_of(WaitRow.stage, Stage)),
    )
    lease = select(LeaseRow.item_id).where(LeaseRow.item_id == WorkItemRow.id, ~one_of(LeaseRow.stage, Stage))
    own = and_(one_of(WorkItemRow.stage, Stage), one_of_or_none(WorkItemRow.hold, Hold))
    return and_(own, *(~other.correlate(WorkItemRow).exists() for other in (wait, lease)))
