from pipeline.messages import Texts
from pipeline.model import Hold, WaitKind
from pipeline.signals import WAIT_ANSWERED, Signal
from pipeline.stages import Stage
from pipeline.store import inbox, items, outbox, reactions, waits
from pipeline.store.engine import Store
from pipeline.store.inbox import StoredSignal
from tests.pipeline.store.helpers import NOW, claimed, later, moved, new_item

TEXTS = Texts("en")
A = "a" * 40


def told(store: Store, signal: Signal, key: str = "WID-1", **payload: object) -> StoredSignal:
    return store.write(
        inbox.signal,
        delivery_id=None,
        project="WID",
        item_key=key,
        signal=signal,
        actor="ada",
        payload=payload,
        now=NOW,
    )


def applied(store: Store, stored: StoredSignal) -> str | None:
    return store.write(reactions.apply, stored, later(1), TEXTS)


def letters(store: Store) -> list[tuple[str, str]]:
    return [(x.kind.value, str(x.payload.get("event", ""))) for x in store.write(outbox.claim, later(5))]


def test_an_approval_is_recorded_for_the_commit_that_was_shown_and_its_run_is_woken(store: Store) -> None:
    item = new_item(store)
    store.write(waits.begin, item, WaitKind.APPROVAL, key="k", sentence="?", now=NOW, commit=A, flow_run_id="run-9")
    stored = told(store, Signal.APPROVED)
    applied(store, stored)
    applied(store, stored)
    assert [(d.commit, d.actor) for d in store.read(waits.decisions, item.id)] == [(A, "ada")]
    assert letters(store) == [("event", WAIT_ANSWERED)]
    assert store.read(inbox.unconsumed) == []


def test_an_approval_where_nothing_asks_is_a_no_op_that_says_so(store: Store) -> None:
    item = moved(store, new_item(store), Stage.ARCHITECTURE)
    assert (
        applied(store, told(store, Signal.APPROVED))
        == "ignored: Nothing about WID-1 waits for an approval now (it is at architecture)."
    )
    assert store.read(waits.decisions, item.id) == ()
    assert [kind for kind, _ in letters(store)] == ["comment", "card", "status"]


def test_a_start_of_an_unknown_item_is_left_to_intake(store: Store) -> None:
    stored = told(store, Signal.START_REQUESTED, "WID-99")
    assert applied(store, stored) is None
    assert len(store.read(inbox.unconsumed, "WID-99")) == 1


def test_a_stop_withdraws_the_start_that_nobody_has_heard_yet(store: Store) -> None:
    told(store, Signal.START_REQUESTED, "WID-99")
    applied(store, told(store, Signal.STOP_REQUESTED, "WID-99"))
    assert store.read(inbox.unconsumed, "WID-99") == []


def test_the_last_word_of_stop_start_and_stop_is_stop(store: Store) -> None:
    new_item(store)
    applied(store, told(store, Signal.STOP_REQUESTED))
    assert applied(store, told(store, Signal.START_REQUESTED)) is None
    applied(store, told(store, Signal.STOP_REQUESTED))
    assert store.read(inbox.unconsumed, "WID-1") == []
    assert applied(store, told(store, Signal.START_REQUESTED)) is None
    assert len(store.read(inbox.unconsumed, "WID-1")) == 1


def test_ci_wakes_only_an_item_that_waits_for_it(store: Store) -> None:
    item = new_item(store)
    assert "does not wait" in (applied(store, told(store, Signal.CI_FINISHED)) or "")
    store.write(waits.begin, item, WaitKind.CI, key="ci", sentence="CI", now=NOW)
    applied(store, told(store, Signal.CI_FINISHED))
    assert store.read(waits.open_wait, item.id) is None
    assert ("event", "orch.stage.entered") in letters(store)


def test_news_that_meets_a_working_owner_stays_unconsumed(store: Store) -> None:
    item = new_item(store)
    store.write(waits.begin, item, WaitKind.CI, key="ci", sentence="CI", now=NOW)
    claimed(store, item)
    assert applied(store, told(store, Signal.CI_FINISHED)) is None
    assert store.read(waits.has_news, item)


def test_a_persons_push_at_testing_sends_the_item_back_to_review(store: Store) -> None:
    item = new_item(store)
    for stage in (Stage.ARCHITECTURE, Stage.DEVELOPMENT, Stage.REVIEW, Stage.TESTING):
        item = moved(store, item, stage)
    applied(store, told(store, Signal.PUSHED, after="f" * 40, pusher="bob"))
    found = store.read(items.find, "WID-1")
    assert found is not None
    assert (found.stage, found.attempts) == (Stage.REVIEW, {})


def test_a_stop_is_noted_and_announced(store: Store) -> None:
    new_item(store)
    applied(store, told(store, Signal.STOP_REQUESTED))
    found = store.read(items.find, "WID-1")
    assert found is not None
    assert found.cancel_requested_at == later(1)
    assert letters(store) == [("event", "orch.signal.stop_requested")]


def test_a_hold_is_told_once_for_its_reason(store: Store) -> None:
    item = new_item(store)
    for _ in range(3):
        store.write(reactions.hold, item, Hold.BLOCKED, "the repository is gone", NOW, TEXTS)
    assert sorted(kind for kind, _ in letters(store)) == ["card", "comment", "message", "status"]


def test_to_analyse_resumes_a_blocked_analysis(store: Store) -> None:
    item = new_item(store)
    store.write(reactions.hold, item, Hold.BLOCKED, "no tests", NOW, TEXTS)
    applied(store, told(store, Signal.START_REQUESTED))
    found = store.read(items.find, "WID-1")
    assert found is not None
    assert found.hold is None
