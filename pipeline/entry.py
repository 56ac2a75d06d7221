"""Whether an item may enter its stage now: pure. A claim observes, asks here in its own transaction, and acts.

Two things keep an item out although nothing is wrong with it: others that it depends on, and the number of items that
its project lets past analysis at a time. The second gives way to the first: what an active item waits for may enter although the
places are taken, or both would wait for ever. What is under way is never kept out: a landing that was begun must end.
"""

from dataclasses import dataclass

from pipeline.model import WaitKind, WorkItem
from pipeline.outcomes import Block, WaitFor
from pipeline.stages import TABLE, Stage

PRIORITIES = ("urgent", "high", "medium", "low", "none")
"""Plane's priorities, the first in line first. A word that is not among them counts as none."""

NAMED = 3
"""How many other items a sentence names; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """An item that another one depends on and that has not ended; `stands` says where it is."""

    key: str
    stands: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the decision rests on.

    `cycle` begins and ends with the item when its dependencies lead back to it. `active` are the items that have a
    place in the project, `ahead` those without one whose turn comes before; neither names the item itself. `free_slot`
    is the lowest that none of the active ones has. `needed_by_active` says that an active item, of whatever project,
    waits for this one, itself or through others: that one keeps its place until this one has ended.
    """

    blockers: tuple[Blocker, ...] = ()
    cycle: tuple[str, ...] = ()
    has_place: bool = False
    active: tuple[str, ...] = ()
    ahead: tuple[str, ...] = ()
    free_slot: int = 1
    needed_by_active: bool = False
    under_way: bool = False


def needs_place(stage: Stage) -> bool:
    """Whether an item at this stage counts among those that are past analysis."""
    return not stage.terminal and stage is not TABLE[0].at


def rank(priority: str) -> int:
    """Where a priority stands in line; smaller comes first."""
    return PRIORITIES.index(priority) if priority in PRIORITIES else len(PRIORITIES) - 1


def may_enter(item: WorkItem, facts: Facts, *, limit: int) -> WaitFor | Block | None:
    """What keeps `item` from entering its stage now; None when it may. `limit` 0 means any number of active items."""
    if facts.under_way:
        return None
    if facts.cycle:
        return Block(f"Its dependencies lead back to itself: {' waits for '.join(facts.cycle)}. Take one of them off.")
    if facts.blockers:
        told = _named(tuple(f"{blocker.key} ({blocker.stands})" for blocker in facts.blockers))
        return WaitFor(WaitKind.DEPENDENCY, f"It waits for {told}.", None)
    if not needs_place(item.stage) or facts.has_place or not limit:
        return None
    if facts.needed_by_active or len(facts.active) + len(facts.ahead) < limit:
        return None
    return WaitFor(WaitKind.SERIAL, _full(item, facts, limit), None)


def _full(item: WorkItem, facts: Facts, limit: int) -> str:
    held = f"{item.project} lets {limit} item{'s' if limit > 1 else ''} past analysis at a time"
    now = f"now {_named(facts.active)}" if facts.active else "nobody has gone on yet"
    before = f"; {_named(facts.ahead)} before it" if facts.ahead else ""
    return f"{held}: {now}{before}."


def _named(words: tuple[str, ...]) -> str:
    shown = ", ".join(words[:NAMED])
    return f"{shown} and {len(words) - NAMED} more" if len(words) > NAMED else shown
