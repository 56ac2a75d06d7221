"""What a project's states mean: names to keys and back, degraded or failing closed, and how long a list is good."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from pipeline.errors import Refused, Unavailable
from pipeline.model import StateChange, TrackerState
from pipeline.ports import Tracker
from pipeline.projects import Project
from pipeline.signals import Signal
from pipeline.stages import Status
from pipeline.states import DEGRADED, SIGNALS, StateList, States

PROJECT = Project(key="WID", plane_project=UUID(int=7), repository="acme/widget", test_command=("true",))
BASIC = ("Backlog", "In Progress", "Done", "Cancelled")
EVERY = tuple(status.value.replace("_", " ").title() for status in Status)


def board(*names: str, project: Project = PROJECT) -> StateList:
    return StateList(project, tuple(TrackerState(f"id of {name}", name, "started") for name in names), 0)


def arrives(states: StateList, name: str) -> Signal | None:
    return states.signal(StateChange(f"id of {name}", name, "started"))


@dataclass
class Board:
    """A tracker that lists states; `broken` is raised instead."""

    names: tuple[str, ...] = EVERY
    broken: Exception | None = None
    asked: list[str] = field(default_factory=list)

    async def states(self, project: Project) -> tuple[TrackerState, ...]:
        self.asked.append(project.key)
        if self.broken is not None:
            raise self.broken
        return board(*self.names).states


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def known(tracker: Any, *, ttl_s: float = 300, clock: Watch | None = None) -> States:
    filled: Tracker = tracker
    return States(filled, ttl_s=ttl_s, clock=clock or Watch())


# --- what names mean


@pytest.mark.parametrize("status", Status)
def test_every_key_has_its_own_state_on_a_full_board(status: Status) -> None:
    full = board(*EVERY)
    state_id = full.id_of(status)
    assert state_id is not None
    assert full.status(state_id) is status


@pytest.mark.parametrize("name", ["To Analyse", "to analyze", "TO_ANALYSE", " to-analyse "])
def test_names_are_compared_without_case_and_punctuation(name: str) -> None:
    assert board(name).status(f"id of {name}") is Status.TO_ANALYSE


def test_a_projects_own_names_win() -> None:
    own = PROJECT.model_copy(update={"states": {"Ready for robots": Status.TO_ANALYSE, "Approved": Status.DONE}})
    states = board("Ready for robots", "Approved", project=own)
    assert arrives(states, "Ready for robots") is Signal.START_REQUESTED
    assert arrives(states, "Approved") is None


def test_of_two_states_with_one_meaning_the_first_is_shown() -> None:
    assert board("Code Review", "Review").id_of(Status.CODE_REVIEW) == "id of Code Review"


def test_a_state_that_is_not_listed_has_no_meaning_at_all() -> None:
    with pytest.raises(KeyError):
        board(*EVERY).status("gone")


# --- what is missing


@pytest.mark.parametrize(
    ("wanted", "names", "shown"),
    [
        (Status.ANALYSIS, BASIC, "In Progress"),
        (Status.CODE_REVIEW, BASIC, "In Progress"),
        (Status.DEPLOYING, BASIC, "In Progress"),
        (Status.MONITORING, BASIC, "Done"),
        (Status.AWAITING_DEPLOY, BASIC, "In Progress"),
        (Status.AWAITING_DEPLOY, (*BASIC, "In Review"), "In Review"),
        (Status.IN_REVIEW, (*BASIC, "Needs Input"), "Needs Input"),
        (Status.BLOCKED, (*BASIC, "Needs Input"), "Needs Input"),
        (Status.BLOCKED, BASIC, "In Progress"),
    ],
)
def test_a_missing_state_degrades_to_a_named_one(wanted: Status, names: tuple[str, ...], shown: str) -> None:
    assert board(*names).id_of(wanted) == f"id of {shown}"


@pytest.mark.parametrize("status", [Status.APPROVED, Status.REJECTED, Status.CONFIRM_DEPLOY, Status.STOP])
def test_a_signal_that_the_board_lacks_does_not_exist(status: Status) -> None:
    lacking = board(*(name for name in EVERY if name.casefold() != status.value.replace("_", " ")))
    assert lacking.id_of(status) is None
    assert status not in DEGRADED
    assert SIGNALS[status] not in {arrives(lacking, state.name) for state in lacking.states}


def test_in_progress_starts_only_where_there_is_no_to_analyse() -> None:
    assert arrives(board(*BASIC), "In Progress") is Signal.START_REQUESTED
    assert arrives(board(*BASIC, "To Analyse"), "In Progress") is None


def test_on_a_small_board_no_state_but_in_progress_asks_for_anything() -> None:
    assert [arrives(board(*BASIC), name) for name in BASIC] == [None, Signal.START_REQUESTED, None, None]


# --- cards that a person puts where work ends


def grouped(**groups: str) -> StateList:
    """A board whose states have these groups; underscores in the names stand for spaces."""
    named = {name.replace("_", " "): group for name, group in groups.items()}
    return StateList(PROJECT, tuple(TrackerState(f"id of {n}", n, g) for n, g in named.items()), 0)


@pytest.mark.parametrize(
    ("name", "group", "closes"),
    [
        ("Shipped", "completed", True),
        ("Won't do", "cancelled", True),
        ("Done", "completed", True),
        ("Done", "started", False),
        ("Done", "", True),
        ("Cancelled", "somebody's own", True),
        ("Shipped", "", False),
        ("Stop", "cancelled", False),
        ("Rejected", "cancelled", False),
        ("Backlog", "backlog", False),
    ],
)
def test_a_states_group_tells_whether_work_ends_there_and_its_name_only_without_one(
    name: str, group: str, closes: bool
) -> None:
    states = grouped(**{name: group})
    assert (arrives(states, name) is Signal.CARD_CLOSED) is closes


@pytest.mark.parametrize("shown", [Status.DONE, Status.MONITORING])
def test_where_orch_itself_shows_done_nobody_has_closed_the_card(shown: Status) -> None:
    states = grouped(In_Progress="started", Done="completed", Cancelled="cancelled")
    done = StateChange("id of Done", "Done", "completed")
    assert states.signal(done, ours=[shown]) is None
    assert states.signal(done, ours=[Status.DEVELOPMENT]) is Signal.CARD_CLOSED


def test_a_card_that_was_closed_and_shown_anew_since_was_closed_all_the_same() -> None:
    states = grouped(In_Progress="started", Done="completed")
    change = StateChange("id of In Progress", "In Progress", "started", "id of Done")
    assert states.signal(change, ours=[Status.DEVELOPMENT]) is Signal.START_REQUESTED  # a board without To Analyse
    full = grouped(To_Analyse="unstarted", In_Progress="started", Done="completed")
    assert full.signal(change, ours=[Status.DEVELOPMENT]) is Signal.CARD_CLOSED
    assert full.signal(change) is None


# --- how long a list is good


async def test_a_list_is_asked_for_once_within_its_time() -> None:
    tracker, watch = Board(), Watch()
    states = known(tracker, clock=watch)
    first = await states.of(PROJECT)
    watch.now = 299.9
    assert await states.of(PROJECT) is first
    watch.now = 300
    assert await states.of(PROJECT) is not first
    assert len(tracker.asked) == 2


async def test_a_time_of_nought_keeps_the_list_for_good() -> None:
    tracker, watch = Board(), Watch()
    states = known(tracker, ttl_s=0, clock=watch)
    await states.of(PROJECT)
    watch.now = 1e9
    await states.of(PROJECT)
    assert len(tracker.asked) == 1


@pytest.mark.parametrize("broken", [Unavailable("down"), Refused("no")])
async def test_a_failed_refresh_serves_the_stale_list(broken: Exception) -> None:
    tracker, watch = Board(), Watch()
    states = known(tracker, clock=watch)
    stale = await states.of(PROJECT)
    watch.now, tracker.broken = 1000, broken
    assert await states.of(PROJECT) is stale
    assert states.cached(PROJECT) is stale


async def test_without_any_list_a_failure_is_told() -> None:
    states = known(Board(broken=Unavailable("down")))
    with pytest.raises(Unavailable, match="down"):
        await states.of(PROJECT)
    assert states.cached(PROJECT) is None


async def test_an_empty_list_counts_as_a_failure() -> None:
    tracker, watch = Board(names=()), Watch()
    states = known(tracker, clock=watch)
    with pytest.raises(Unavailable, match="lists no states"):
        await states.of(PROJECT)
    tracker.names = BASIC
    stale = await states.of(PROJECT)
    watch.now, tracker.names = 1000, ()
    assert await states.of(PROJECT) is stale


async def test_an_unknown_id_has_the_list_read_again_at_once() -> None:
    tracker = Board(names=BASIC)
    states = known(tracker, ttl_s=0)
    await states.of(PROJECT)
    tracker.names = (*BASIC, "Approved")
    assert (await states.of(PROJECT, having="id of Approved")).knows("id of Approved")
    await states.of(PROJECT, having="id of Approved")
    assert len(tracker.asked) == 2


async def test_each_project_has_a_list_of_its_own() -> None:
    tracker = Board()
    states = known(tracker)
    other = PROJECT.model_copy(update={"key": "GAD"})
    await states.of(PROJECT)
    assert states.cached(other) is None
    await states.of(other)
    assert tracker.asked == ["WID", "GAD"]
