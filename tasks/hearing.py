"""What a webhook tells, against what polling has found before it came."""

from datetime import datetime, timedelta

from sqlmodel import Session

from pipeline.model import InboundSignal
from pipeline.projects import Project
from pipeline.signals import Signal
from pipeline.store import inbox, items, sightings, waits

ON_THE_BOARD = "somebody on the board"
"""Who has moved a card that polling found moved: a listing does not say."""

LATE = timedelta(seconds=60)
"""How long after polling the webhook of the very same move may still come, and how far clocks may differ."""

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


def overtaken(session: Session, project: Project, entry: InboundSignal) -> bool:
    """Whether a webhook tells of a state that its card has left since, as was heard already.

    Plane retries a delivery for up to an hour, its body unchanged: it would overrule what the person said afterwards.
    What the card says now has been heard, or polling finds it.
    """
    if entry.state is None:
        return False
    seen = sightings.last(session, sightings.board(project.key), [entry.item_ref]).get(entry.item_ref)
    moved_on = seen is not None and seen.state != entry.state.state_id
    return moved_on and _later(seen.changed_at if seen else None, _moment(entry.payload.get("updated_at")))


def replayed_lately(session: Session, key: str, signal: Signal, now: datetime) -> bool:
    """Whether polling has just replayed this very word, so that a webhook of it, sent meanwhile, comes second.

    By then the card may have been moved on by what followed, and its state tells nothing any more.
    """
    return any(stored.actor == ON_THE_BOARD for stored in inbox.heard(session, key, signal, since=now - LATE))


def told_late(session: Session, key: str, entry: InboundSignal) -> bool:
    """Whether a webhook is of before the item came to where it stands, or before it asked what a comment would answer.

    Plane retries a delivery for up to an hour, its body unchanged. Such a move is not noted either: what the card says
    now is polling's to find.
    """
    told = _moment(entry.payload.get("created_at" if entry.signal is Signal.ANSWER_GIVEN else "updated_at"))
    item = items.latest(session, key)
    if told is None or item is None:
        return False
    asked = waits.open_wait(session, item.id) if entry.signal is Signal.ANSWER_GIVEN else None
    return told < (asked.since if asked else item.entered_at) - LATE


def _later(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and one > other


def _moment(text: object) -> datetime | None:
    """A time that a delivery tells, None where it tells none that can be read."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
