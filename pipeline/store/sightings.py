"""What Orch last knew of cards, pull requests and runs, so that what nobody told of is told from what was heard.

A place is a project in an outside system, a thing a card by its tracker id or a pull request as `#12`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from pipeline.store.tables import SightingRow, WatermarkRow


@dataclass(frozen=True, slots=True)
class Sighting:
    """How a thing stood. `changed_at` is the outside system's own time of its last change, where it is known.

    `polled` tells that polling has found the thing in this state before anything told of it.
    """

    state: str
    changed_at: datetime | None
    polled: bool


def board(project: str) -> str:
    """The place of a project's cards."""
    return f"plane:{project}"


def repository(project: str) -> str:
    """The place of a project's pull requests."""
    return f"gitea:{project}"


def webhooks(of: str) -> str:
    """The place of webhooks, by their URL, that are to tell of a project; its watermark is of Orch's own time."""
    return f"webhooks:{of}"


def refusals(project: str) -> str:
    """The place of what Plane may refuse of a project, each with how often in a row it did."""
    return f"refusals:{project}"


def cancels(project: str) -> str:
    """The place of a project's items by their keys, each with the run that a person has cancelled in Prefect last."""
    return f"cancels:{project}"


def last(session: Session, place: str, things: Iterable[str]) -> Mapping[str, Sighting]:
    """What is known of these things; of what was never seen there is nothing."""
    wanted = list(things)
    found: dict[str, Sighting] = {}
    for start in range(0, len(wanted), 500):
        part = col(SightingRow.thing).in_(wanted[start : start + 500])
        for row in session.exec(select(SightingRow).where(SightingRow.place == place, part)).all():
            found[row.thing] = Sighting(row.state, row.changed_at, row.polled)
    return found


def stands(
    session: Session, place: str, thing: str, state: str, *, changed_at: datetime | None, polled: bool = False
) -> bool:
    """Note how a thing stands now; whether that is another state than before. Idempotent."""
    row = session.exec(
        select(SightingRow).where(SightingRow.place == place, SightingRow.thing == thing).with_for_update()
    ).first()
    row = row or SightingRow(place=place, thing=thing, state="")
    moved = row.state != state
    row.state, row.changed_at = state, changed_at
    row.polled = polled if moved else row.polled
    session.add(row)
    session.flush()
    return moved


def watermark(session: Session, place: str) -> datetime | None:
    """Up to which time of its own a place has been looked through; None when it never was."""
    row = session.get(WatermarkRow, place)
    return row.at if row else None


def reached(session: Session, place: str, at: datetime) -> None:
    """Everything in a place up to `at` has been looked through. A watermark never falls."""
    row = session.get(WatermarkRow, place) or WatermarkRow(name=place, at=at)
    row.at = max(row.at, at)
    session.add(row)
