"""Why an item does not go on: what it waits for, since when, who can move it, and what happens without help. Pure.

Total: every item has an answer, whatever its stage, hold and wait; the first that applies is given, in the order in
which they keep one another from mattering.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from pipeline.entry import Facts, may_enter
from pipeline.model import Hold, Wait, WaitKind, WorkItem
from pipeline.outcomes import Block
from pipeline.stages import Stage

TICK = "within a minute"
"""How soon the reconciler looks, for people."""


NO_FACTS = Facts()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An item with all that may keep it, as of `now`.

    `run` is the living run that owns it and `run_since` when that began. `effects` are the names of steps that were
    begun and have not ended. `ahead` counts those before it in the merge queue; None when it has no ticket. `freeze`
    keeps its project from landing; `broken` is that of the project's breaker, which keeps every run from starting.
    """

    item: WorkItem
    now: datetime
    wait: Wait | None = None
    run: str | None = None
    run_since: datetime | None = None
    effects: tuple[str, ...] = ()
    ahead: int | None = None
    facts: Facts = NO_FACTS
    limit: int = 0
    freeze: str | None = None
    broken: str | None = None
    drain: str | None = None


@dataclass(frozen=True, slots=True)
class Why:
    """The four answers, each one sentence or more."""

    waits_for: str
    since: datetime
    moved_by: str
    then: str


def why(seen: Snapshot) -> Why:
    """What `seen.item` waits for and what can be done about it."""
    return next(answer for ask in _IN_ORDER if (answer := ask(seen)) is not None)


def _ended(seen: Snapshot) -> Why | None:
    item = seen.item
    if item.stage is Stage.DONE:
        return Why("Nothing: it is done.", item.entered_at, "Nobody has to.", "Nothing more.")
    if item.stage is Stage.CANCELLED:
        again = "A person, by moving the card to To Analyse: it starts afresh on a fresh branch."
        return Why("Nothing: it was stopped and is cancelled.", item.entered_at, again, "Nothing more.")
    return None


def _stopping(seen: Snapshot) -> Why | None:
    item = seen.item
    if item.cancel_requested_at is None:
        return None
    first = f" What was begun has to end first: {', '.join(seen.effects)}." if seen.effects else ""
    then = f"It is cancelled; where the stop could not go on, it is tried again {TICK}."
    return Why(f"Its stop.{first}", item.cancel_requested_at, "The run `stop` in Prefect.", then)


def _held(seen: Snapshot) -> Why | None:
    item = seen.item
    if item.hold is None:
        return None
    named = {
        Hold.BLOCKED: "A person, to mend what blocks it",
        Hold.ESCALATED: "A person, for it was red or dead too often",
        Hold.NEEDS_INPUT: "A person's input",
    }[item.hold]
    again = f"A person: `orch retry {item.key}` lets it go on at {item.stage}, `orch stop {item.key}` ends it."
    kept = " It keeps its place in the project." if seen.facts.has_place else ""
    return Why(f"{named}: {item.hold_reason}", item.held_at or item.entered_at, again, f"Nothing: it stays held.{kept}")


def _worked_on(seen: Snapshot) -> Why | None:
    if seen.run is None:
        return None
    item = seen.item
    doing = f" ({', '.join(seen.effects)} under way)" if seen.effects else ""
    by = f"Run {seen.run}; `orch release-lease {item.key}` takes the item away from one that hangs."
    then = f"The run ends by itself; should it die, another one takes over {TICK}."
    return Why(f"Its run at {item.stage}, which is at work{doing}.", seen.run_since or item.entered_at, by, then)


def _person(seen: Snapshot) -> Why | None:
    wait, item = seen.wait, seen.item
    if wait is None or not wait.kind.human:
        return None
    after = f" Nothing starts after that before `orch thaw {item.project}`: {seen.broken}" if seen.broken else ""
    return Why(
        f"A person: {wait.sentence}",
        wait.since,
        f"A person: {_PEOPLE[wait.kind].format(key=item.key)}; or the form of its run in Prefect.",
        f"{_reminder(wait)} It waits as long as that takes, without a worker.{_frozen(seen)}{after}",
    )


_PEOPLE = {
    WaitKind.APPROVAL: "move the card to Approved or Rejected, `orch approve {key}` or `orch reject {key}`",
    WaitKind.CONFIRMATION: "move the card to Confirm Deploy, or `orch confirm {key}`",
    WaitKind.ANSWER: "answer in a comment on the card, or `orch answer {key} TEXT`",
    WaitKind.BUDGET: "comment go on on the card, or `orch approve {key}`",
    WaitKind.INTEGRITY: "comment accept or reject on the card, `orch approve {key}` or `orch reject {key}`",
}


def _broken(seen: Snapshot) -> Why | None:
    if seen.broken is None:
        return None
    since = seen.wait.since if seen.wait else seen.item.entered_at
    by = f"A person: `orch thaw {seen.item.project}`."
    also = "" if seen.freeze == seen.broken else _frozen(seen)
    return Why(seen.broken, since, by, f"Nothing of the project starts before that thaw.{also}")


def _kept_out(seen: Snapshot) -> Why | None:
    """Dependencies and places are told as they are now, not as they were when the wait was written."""
    wait, item = seen.wait, seen.item
    if wait is None or wait.kind not in (WaitKind.DEPENDENCY, WaitKind.SERIAL):
        return None
    kept = may_enter(item, seen.facts, limit=seen.limit)
    if kept is None:
        return Why(
            "Its next run: nothing keeps it out any more.", wait.since, "Its own wake-up.", f"It goes on {TICK}."
        )
    said = kept.why if isinstance(kept, Block) else kept.sentence
    if wait.kind is WaitKind.DEPENDENCY:
        by = f"The end of those items; or a person: `orch depend {item.key} --remove KEY`, or the card's relations."
    else:
        by = "The end of one of those items; or a person: a higher priority on the card, or `max_active_items`."
    return Why(said, wait.since, by, f"It goes on by itself as soon as it may. {_reminder(wait)}")


def _freeze(seen: Snapshot) -> Why | None:
    wait = seen.wait
    if wait is None or wait.kind is not WaitKind.FREEZE:
        return None
    if seen.freeze is None:
        return Why("Its next run: the freeze is over.", wait.since, "Its own wake-up.", f"It goes on {TICK}.")
    return Why(seen.freeze, wait.since, "A person: `orch thaw`.", f"It lands after the thaw. {_reminder(wait)}")


def _machine(seen: Snapshot) -> Why | None:
    wait = seen.wait
    if wait is None:
        return None
    place = f" {seen.ahead} ahead of it." if wait.kind is WaitKind.MERGE_TURN and seen.ahead else ""
    by = _MACHINES.get(wait.kind, "The next look of its stage.")
    look = f"It is looked at again at {wait.look_again_at:%H:%M:%S} UTC at the latest." if wait.look_again_at else ""
    then = " ".join(part for part in (look, _reminder(wait)) if part)
    return Why(f"{wait.sentence}{place}", wait.since, by, f"{then}{_frozen(seen)}")


_MACHINES = {
    WaitKind.CI: "CI, by a commit status on the branch.",
    WaitKind.MERGE_TURN: "Whoever merges now, by ending; those before it in the queue.",
    WaitKind.DEPLOY: "The detached deploy hook, by ending.",
    WaitKind.MONITOR: "Time: production is probed until the window is over.",
    WaitKind.BACK_OFF: "The neighbour that did not answer, by answering.",
}


def _backing_off(seen: Snapshot) -> Why | None:
    item = seen.item
    if item.not_before is None or seen.now >= item.not_before:
        return None
    said = f"A pause: its run at {item.stage} has died {item.failures} times."
    then = f"It is started again after {item.not_before:%H:%M:%S} UTC; once too often, and a person is called."
    return Why(said, item.entered_at, "Time.", then)


def _draining(seen: Snapshot) -> Why | None:
    if seen.drain is None:
        return None
    return Why(seen.drain, seen.item.entered_at, "The end of that deploy.", "It goes on afterwards by itself.")


def _next_run(seen: Snapshot) -> Why:
    item = seen.item
    by = f"A free worker; `prefect deployment run {item.stage}/{item.stage} -p work_item={item.key}` by hand."
    then = f"The reconciler starts one {TICK} if none is on its way."
    return Why(f"Its next run at {item.stage}.", item.entered_at, by, f"{then}{_frozen(seen)}")


def _reminder(wait: Wait) -> str:
    return f"A person is reminded once after {wait.deadline:%Y-%m-%d %H:%M} UTC." if wait.deadline else ""


def _frozen(seen: Snapshot) -> str:
    """What a freeze will mean to an item that is about to land."""
    coming = seen.freeze is not None and seen.item.stage is Stage.DEPLOY and seen.item.landed is None
    return f" It does not land meanwhile: {seen.freeze}" if coming else ""


_IN_ORDER: tuple[Callable[[Snapshot], Why | None], ...] = (
    _ended,
    _stopping,
    _held,
    _worked_on,
    _person,
    _broken,
    _kept_out,
    _freeze,
    _machine,
    _backing_off,
    _draining,
    _next_run,
)
