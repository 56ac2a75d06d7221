"""What a tracker project's states mean: ids to logical keys and back, cached, degraded or failing closed.

No state id is ever written into code: names come from the project's own list, which is asked for again after the
time to live, and at once for an id that is not in it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from pipeline.errors import OrchError, Unavailable
from pipeline.model import Hold, StateChange, TrackerState, Wait, WaitKind, WorkItem
from pipeline.ports import Tracker
from pipeline.projects import Project
from pipeline.signals import Signal
from pipeline.stages import ROWS, Stage, Status

DEGRADED: dict[Status, tuple[Status, ...]] = {
    Status.TO_ANALYSE: (Status.IN_PROGRESS,),
    Status.ANALYSIS: (Status.IN_PROGRESS,),
    Status.ARCHITECTURE: (Status.IN_PROGRESS,),
    Status.DEVELOPMENT: (Status.IN_PROGRESS,),
    Status.CODE_REVIEW: (Status.IN_PROGRESS,),
    Status.TESTING: (Status.IN_PROGRESS,),
    Status.DEPLOYING: (Status.IN_PROGRESS,),
    Status.AWAITING_DEPLOY: (Status.IN_REVIEW, Status.IN_PROGRESS),
    Status.IN_REVIEW: (Status.NEEDS_INPUT, Status.IN_PROGRESS),
    Status.NEEDS_INPUT: (Status.IN_REVIEW, Status.IN_PROGRESS),
    Status.BLOCKED: (Status.NEEDS_INPUT, Status.IN_PROGRESS),
    Status.MONITORING: (Status.DONE,),
}
"""What is shown where a project lacks a state. Signals (approved, rejected, confirm, stop) never degrade."""

SIGNALS: dict[Status, Signal] = {
    Status.TO_ANALYSE: Signal.START_REQUESTED,
    Status.APPROVED: Signal.APPROVED,
    Status.REJECTED: Signal.REJECTED,
    Status.CONFIRM_DEPLOY: Signal.DEPLOY_CONFIRMED,
    Status.STOP: Signal.STOP_REQUESTED,
}
"""States by which a person speaks to Orch."""

TERMINAL_GROUPS = frozenset({"completed", "cancelled"})
"""Plane's groups of the states in which work ends, whatever the states are called."""

GROUPS = frozenset({"backlog", "unstarted", "started", *TERMINAL_GROUPS})

KEPT_FOR_PEOPLE = (Status.NEEDS_INPUT, Status.IN_REVIEW, Status.BLOCKED)
"""Showing a stage never overwrites these when a person put them there."""


def ends_work(group: str, status: Status | None) -> bool:
    """Whether work ends in a state: by Plane's group, by the logical key only where the group is unknown."""
    return group in TERMINAL_GROUPS if group in GROUPS else status in (Status.DONE, Status.CANCELLED)


@dataclass(frozen=True, slots=True)
class StateList:
    """One project's states as of `fetched` (seconds of a monotonic clock)."""

    project: Project
    states: tuple[TrackerState, ...]
    fetched: float

    def status(self, state_id: str) -> Status | None:
        """The logical key of a state id; None when the name means nothing to Orch. `KeyError` for an unknown id."""
        by_id = {state.id: state for state in self.states}
        return self.project.status_of(by_id[state_id].name)

    def group(self, state_id: str) -> str:
        """Plane's own word for what a state is about, such as `completed`; empty for an unknown id."""
        return next((state.group for state in self.states if state.id == state_id), "")

    def name(self, state_id: str) -> str:
        """What the project calls a state; empty for an unknown id."""
        return next((state.name for state in self.states if state.id == state_id), "")

    def knows(self, state_id: str) -> bool:
        """Whether the id is in the list."""
        return any(state.id == state_id for state in self.states)

    def id_of(self, status: Status) -> str | None:
        """The state to show for a logical key, degraded where the project lacks it; None when nothing fits."""
        own = {self.project.status_of(state.name): state.id for state in reversed(self.states)}
        return next((own[key] for key in (status, *DEGRADED.get(status, ())) if key in own), None)

    def signal(self, change: StateChange, *, ours: Collection[Status] = ()) -> Signal | None:
        """What a card's move means. `KeyError` when the list does not have the state that the card stands in.

        Where the card has moved on since, the newer state counts, unless it is one of `ours`, the statuses that Orch
        itself may just have shown: then nobody has taken the word back that the move was. A state that Orch shows is
        no closing by hand, such as Done while production is watched on a board without Monitoring.
        """
        shown = {self.id_of(status) for status in ours}
        told = self._signal_of(change.state_id, shown)
        if told is None and self.knows(change.moved_to) and change.state_id in shown:
            return self._signal_of(change.moved_to, shown)
        return told

    def is_terminal(self, state_id: str) -> bool:
        """Whether work ends in this state: by Plane's group, by the logical key only where the group is unknown."""
        state = next(state for state in self.states if state.id == state_id)
        return ends_work(state.group, self.project.status_of(state.name))

    def _signal_of(self, state_id: str, shown: Collection[str | None]) -> Signal | None:
        status = self.status(state_id)
        if status is Status.IN_PROGRESS and self.id_of(Status.TO_ANALYSE) == state_id:
            return Signal.START_REQUESTED
        if status in SIGNALS:
            return SIGNALS[status]
        return Signal.CARD_CLOSED if self.is_terminal(state_id) and state_id not in shown else None


class States:
    """All projects' state lists. A failed refresh serves the stale list."""

    def __init__(self, tracker: Tracker, *, ttl_s: float, clock: Callable[[], float]) -> None:
        """`ttl_s` 0 keeps a list for the process's life."""
        self._tracker = tracker
        self._ttl_s = ttl_s
        self._clock = clock
        self._lists: dict[str, StateList] = {}

    def cached(self, project: Project) -> StateList | None:
        """The list as it is known without asking anybody, however old."""
        return self._lists.get(project.key)

    async def of(self, project: Project, *, having: str | None = None) -> StateList:
        """The project's list, refreshed when it is old or lacks the state id `having`.

        Raises `Unavailable` or `Refused` only when there is no list at all.
        """
        known = self._lists.get(project.key)
        fresh = known is not None and (self._ttl_s == 0 or self._clock() - known.fetched < self._ttl_s)
        if known is not None and fresh and (having is None or known.knows(having)):
            return known
        try:
            states = await self._read(project)
        except OrchError:
            if known is None:
                raise
            return known
        self._lists[project.key] = StateList(project, states, self._clock())
        return self._lists[project.key]

    async def _read(self, project: Project) -> tuple[TrackerState, ...]:
        states = await self._tracker.states(project)
        if not states:  # every project of Plane's has some
            raise Unavailable(f"Plane project {project.key} lists no states.")
        return states


def shown_for(item: WorkItem, wait: Wait | None) -> Status:
    """The status that an item's card should show now."""
    if item.stage is Stage.DONE:
        return Status.DONE
    if item.stage is Stage.CANCELLED:
        return Status.CANCELLED
    if item.hold in (Hold.BLOCKED, Hold.ESCALATED):
        return Status.BLOCKED
    if item.hold is Hold.NEEDS_INPUT:
        return Status.NEEDS_INPUT
    if wait is not None and wait.kind in _WAITING:
        return _WAITING[wait.kind]
    if item.deployed is not None:
        return Status.MONITORING
    if item.stage is Stage.DEPLOY and item.confirmed is not None:
        return Status.DEPLOYING
    return ROWS[item.stage].shown_as


_WAITING = {
    WaitKind.APPROVAL: Status.IN_REVIEW,
    WaitKind.ANSWER: Status.NEEDS_INPUT,
    WaitKind.INTEGRITY: Status.NEEDS_INPUT,
    WaitKind.BUDGET: Status.NEEDS_INPUT,
    WaitKind.CONFIRMATION: Status.AWAITING_DEPLOY,
    WaitKind.DEPLOY: Status.DEPLOYING,
    WaitKind.MONITOR: Status.MONITORING,
}


def may_overwrite(current: Status | None, item: WorkItem, wanted: Status) -> bool:
    """Whether the card's current status may give way: what a person put there to be left alone stays."""
    if wanted in (Status.DONE, Status.CANCELLED) or current not in KEPT_FOR_PEOPLE:
        return True
    return current == item.shown
