"""Every item has an answer to why it does not go on, and the one that matters comes first."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.entry import Blocker, Facts
from pipeline.model import Hold, Wait, WaitKind, WorkItem
from pipeline.stages import Stage
from pipeline.why import Snapshot, why

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
EARLIER = NOW - timedelta(hours=1)


def item(stage: Stage = Stage.DEVELOPMENT, **more: object) -> WorkItem:
    return WorkItem(
        id=1, key="WID-1", project="WID", tracker_id="t", title="Spin", branch="feature/WID-1-spin", stage=stage,
        version=1, attempts={}, visits={}, created_at=EARLIER, entered_at=EARLIER, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def wait(kind: WaitKind, stage: Stage = Stage.DEVELOPMENT) -> Wait:
    return Wait(
        id=1, key="k", kind=kind, stage=stage, visit=1, sentence=f"waits for {kind}", since=NOW, deadline=LATER,
        look_again_at=LATER, commit=None, flow_run_id="run", wake_requested_at=None, closed_at=None,
    )  # fmt: skip


ITEMS = st.builds(
    item,
    st.sampled_from(Stage),
    hold=st.sampled_from([None, *Hold]),
    hold_reason=st.just("it is red"),
    not_before=st.sampled_from([None, EARLIER, LATER]),
    cancel_requested_at=st.sampled_from([None, NOW]),
    landed=st.sampled_from([None, "a" * 40]),
)
FACTS = st.sampled_from(
    [Facts(), Facts(blockers=(Blocker("WID-2", "at review"),)), Facts(cycle=("WID-1", "WID-1")), Facts(active=("X-1",))]
)
SNAPSHOTS = st.builds(
    Snapshot,
    item=ITEMS,
    now=st.just(NOW),
    wait=st.sampled_from([None, *map(wait, WaitKind)]),
    run=st.sampled_from([None, "run-1"]),
    run_since=st.just(NOW),
    effects=st.sampled_from([(), ("land",)]),
    ahead=st.sampled_from([None, 0, 2]),
    facts=FACTS,
    limit=st.integers(0, 1),
    freeze=st.sampled_from([None, "Everything is frozen by ada."]),
    drain=st.sampled_from([None, "Orch takes no new work while WID-9 is being deployed."]),
)


@given(SNAPSHOTS)
def test_every_item_has_all_four_answers(seen: Snapshot) -> None:
    told = why(seen)
    assert told.waits_for.strip()
    assert told.moved_by.strip()
    assert told.then.strip()
    assert EARLIER <= told.since <= NOW


@pytest.mark.parametrize("kind", WaitKind)
def test_every_wait_is_told_with_its_sentence_or_what_is_true_by_now(kind: WaitKind) -> None:
    told = why(Snapshot(item(), NOW, wait=wait(kind)))
    live = {WaitKind.DEPENDENCY, WaitKind.SERIAL, WaitKind.FREEZE}
    assert (f"waits for {kind}" in told.waits_for) != (kind in live)
    assert told.since == NOW


@pytest.mark.parametrize("kind", [kind for kind in WaitKind if kind.human])
def test_what_a_person_waits_for_names_a_command_with_the_key(kind: WaitKind) -> None:
    assert "WID-1" in why(Snapshot(item(), NOW, wait=wait(kind))).moved_by


@pytest.mark.parametrize("hold", Hold)
def test_a_held_item_names_the_reason_and_the_way_out(hold: Hold) -> None:
    told = why(Snapshot(item(hold=hold, hold_reason="it is red", held_at=NOW), NOW, wait=wait(WaitKind.CI)))
    assert "it is red" in told.waits_for
    assert "`orch retry WID-1`" in told.moved_by
    assert told.since == NOW


def test_what_keeps_an_item_out_is_told_as_it_is_now() -> None:
    facts = Facts(blockers=(Blocker("WID-2", "at testing"),))
    told = why(Snapshot(item(), NOW, wait=wait(WaitKind.DEPENDENCY), facts=facts))
    assert told.waits_for == "It waits for WID-2 (at testing)."
    free = why(Snapshot(item(), NOW, wait=wait(WaitKind.DEPENDENCY)))
    assert free.waits_for == "Its next run: nothing keeps it out any more."


def test_a_stop_comes_before_everything_but_the_end_and_names_what_it_waits_for() -> None:
    seen = Snapshot(item(cancel_requested_at=NOW, hold=Hold.BLOCKED), NOW, run="run-1", effects=("land",))
    assert why(seen).waits_for == "Its stop. What was begun has to end first: land."
    assert why(Snapshot(item(Stage.DONE, cancel_requested_at=NOW), NOW)).waits_for == "Nothing: it is done."


def test_an_item_before_its_landing_is_told_of_a_freeze() -> None:
    seen = Snapshot(item(Stage.DEPLOY), NOW, wait=wait(WaitKind.CONFIRMATION), freeze="WID is frozen by ada: release")
    assert "It does not land meanwhile: WID is frozen by ada: release" in why(seen).then


def test_the_merge_queue_says_how_many_are_ahead() -> None:
    assert why(Snapshot(item(), NOW, wait=wait(WaitKind.MERGE_TURN), ahead=2)).waits_for.endswith("2 ahead of it.")
