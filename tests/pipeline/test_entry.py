"""Whether an item may enter its stage: dependencies first, then the places of its project, and never what is under way."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.entry import PRIORITIES, Blocker, Facts, may_enter, needs_place, rank
from pipeline.model import WaitKind, WorkItem
from pipeline.outcomes import Block, WaitFor
from pipeline.stages import Stage

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def item(stage: Stage = Stage.DEVELOPMENT) -> WorkItem:
    return WorkItem(
        id=1, key="WID-1", project="WID", tracker_id="t", title="Spin", branch="feature/WID-1-spin", stage=stage,
        version=1, attempts={}, visits={}, created_at=NOW, entered_at=NOW,
    )  # fmt: skip


WORDS = st.tuples(st.sampled_from(["WID-2", "WID-3"]), st.just("at review"))
FACTS = st.builds(
    Facts,
    blockers=st.lists(WORDS.map(lambda pair: Blocker(*pair)), max_size=2).map(tuple),
    cycle=st.sampled_from([(), ("WID-1", "WID-2", "WID-1")]),
    has_place=st.booleans(),
    active=st.lists(st.sampled_from(["WID-4", "WID-5"]), max_size=4).map(tuple),
    ahead=st.lists(st.sampled_from(["WID-6", "WID-7"]), max_size=4).map(tuple),
    needed_by_active=st.booleans(),
    under_way=st.booleans(),
)


@settings(deadline=None)
@given(st.sampled_from(Stage), FACTS, st.integers(0, 5))
def test_an_item_is_let_in_exactly_when_nothing_is_in_its_way(stage: Stage, facts: Facts, limit: int) -> None:
    kept = may_enter(item(stage), facts, limit=limit)
    free = not facts.cycle and not facts.blockers
    room = facts.has_place or not limit or not needs_place(stage) or len(facts.active) + len(facts.ahead) < limit
    assert (kept is None) == (facts.under_way or (free and (room or facts.needed_by_active)))


def test_what_an_active_item_waits_for_may_enter_although_the_places_are_taken() -> None:
    full = Facts(active=("WID-2",), ahead=("WID-3",))
    assert isinstance(may_enter(item(), full, limit=1), WaitFor)
    assert may_enter(item(), replace(full, needed_by_active=True), limit=1) is None


def test_what_an_active_item_waits_for_still_waits_for_its_own_dependencies() -> None:
    kept = may_enter(item(), Facts(blockers=(Blocker("WID-3", "at review"),), needed_by_active=True), limit=1)
    assert isinstance(kept, WaitFor)
    assert kept.kind is WaitKind.DEPENDENCY


def test_the_sentence_names_what_is_waited_for() -> None:
    kept = may_enter(item(), Facts(blockers=(Blocker("WID-2", "at review"),)), limit=0)
    assert kept == WaitFor(WaitKind.DEPENDENCY, "It waits for WID-2 (at review).", None)


def test_many_others_are_counted_and_not_all_named() -> None:
    blockers = tuple(Blocker(f"WID-{number}", "at review") for number in range(2, 8))
    kept = may_enter(item(), Facts(blockers=blockers), limit=0)
    assert isinstance(kept, WaitFor)
    assert kept.sentence.endswith("WID-4 (at review) and 3 more.")


def test_a_full_project_says_who_is_in_it_and_who_is_before() -> None:
    kept = may_enter(item(), Facts(active=("WID-2",), ahead=("WID-3",)), limit=1)
    assert kept == WaitFor(
        WaitKind.SERIAL, "WID lets 1 item past analysis at a time: now WID-2; WID-3 before it.", None
    )


def test_a_cycle_is_named_and_blocks_the_item() -> None:
    kept = may_enter(item(), Facts(cycle=("WID-1", "WID-2", "WID-1")), limit=0)
    assert isinstance(kept, Block)
    assert "WID-1 waits for WID-2 waits for WID-1" in kept.why


@pytest.mark.parametrize(
    ("stage", "counts"), [(Stage.ANALYSIS, False), (Stage.ARCHITECTURE, True), (Stage.DONE, False)]
)
def test_only_what_is_past_analysis_counts(stage: Stage, counts: bool) -> None:
    assert needs_place(stage) is counts


def test_urgent_comes_first_and_an_unknown_priority_last() -> None:
    assert sorted(["medium", "strange", "urgent", "low"], key=rank) == ["urgent", "medium", "low", "strange"]
    assert rank("strange") == rank(PRIORITIES[-1])
