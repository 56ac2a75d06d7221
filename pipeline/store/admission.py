"""Letting items into their stages: the facts, the decision and the place, all in the caller's one transaction."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session

from pipeline.entry import Facts, may_enter, needs_place
from pipeline.model import WorkItem
from pipeline.outcomes import Block, WaitFor
from pipeline.store import dependencies, journal, places


def facts(session: Session, item: WorkItem, sources: Sequence[str]) -> Facts:
    """What the decision about `item` rests on. `sources` of dependencies that count; none: nothing does."""
    taken = places.active(session, item.project)
    has_place = places.has(session, item.id)
    ahead: list[str] = []
    needed = False
    if needs_place(item.stage) and not has_place:
        needed = item.key in dependencies.waited_for(session, places.not_landed(session), sources)
        for row in places.line(session, item.project):
            if row.id == item.id:
                break
            if not dependencies.unfinished(session, row.key, sources):
                ahead.append(row.key)
    return Facts(
        blockers=dependencies.unfinished(session, item.key, sources),
        cycle=dependencies.cycle(session, item.key, sources),
        has_place=has_place,
        active=tuple(taken.values()),
        ahead=tuple(ahead),
        free_slot=places.free_slot(taken),
        needed_by_active=needed,
        under_way=item.landed is not None or any(effect.open for effect in journal.of_item(session, item.id)),
    )


def look(session: Session, item: WorkItem, *, limit: int, sources: Sequence[str]) -> WaitFor | Block | None:
    """What keeps `item` out just now; None when nothing does. Writes nothing."""
    return may_enter(item, facts(session, item, sources), limit=limit)


def admit(
    session: Session, item: WorkItem, *, limit: int, sources: Sequence[str], now: datetime
) -> WaitFor | Block | None:
    """Let `item` in and give it its place, or say what keeps it out. Idempotent."""
    seen = facts(session, item, sources)
    kept = may_enter(item, seen, limit=limit)
    if kept is None and needs_place(item.stage):
        places.take(session, item, seen.free_slot, now)
    return kept
