"""What a webhook tells, against what polling has found before it came."""

from datetime import datetime

from sqlmodel import Session

from pipeline.model import InboundSignal
from pipeline.projects import Project
from pipeline.signals import Signal
from pipeline.store import sightings

PULL_STATES = {Signal.PR_MERGED: "merged", Signal.PR_CLOSED: "closed"}
"""How a pull request stands after its signal."""


def polled_before(session: Session, project: Project, entry: InboundSignal) -> bool:
    """Whether a webhook comes after polling has replayed what it tells; else notes how the thing stands by it."""
    if entry.state is not None:
        place, thing, state = sightings.board(project.key), entry.item_ref, entry.state.state_id
    elif entry.signal in PULL_STATES:
        place, thing = sightings.repository(project.key), f"#{entry.payload.get('number')}"
        state = PULL_STATES[entry.signal]
    else:
        return False
    told, seen = _moment(entry.payload.get("updated_at")), sightings.last(session, place, [thing]).get(thing)
    if seen is not None and seen.polled and seen.state == state and not _later(told, seen.changed_at):
        return True
    if not _later(seen.changed_at if seen else None, told):  # Plane's retries may come hours late
        sightings.stands(session, place, thing, state, changed_at=told)
    return False


def _later(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and one > other


def _moment(text: object) -> datetime | None:
    """A time that a delivery tells, None where it tells none that can be read."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
