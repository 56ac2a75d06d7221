from pipeline.model import Choice, Decision, WaitKind
from pipeline.stages import Stage
from pipeline.store import waits
from pipeline.store.engine import Store
from tests.pipeline.store.helpers import NOW, later, moved, new_item

A, B = "a" * 40, "b" * 40


def decision(commit: str = A, choice: Choice = Choice.APPROVE) -> Decision:
    return Decision(WaitKind.APPROVAL, choice, commit, "ada", "fine", NOW)


def begin(store: Store, item: object, key: str, *, commit: str = A, run: str = "run-1", now: object = NOW) -> object:
    return store.write(
        waits.begin,
        item,
        WaitKind.APPROVAL,
        key=key,
        sentence="approve it",
        now=now,
        commit=commit,
        flow_run_id=run,  # type: ignore[arg-type]
    )


def test_the_same_wait_of_the_same_run_keeps_its_key(store: Store) -> None:
    item = new_item(store)
    assert begin(store, item, "first").key == begin(store, item, "second").key == "first"  # type: ignore[attr-defined]


def test_another_run_another_commit_or_another_visit_asks_anew(store: Store) -> None:
    item = new_item(store)
    begin(store, item, "first")
    assert begin(store, item, "second", run="run-2").key == "second"  # type: ignore[attr-defined]
    assert begin(store, item, "third", run="run-2", commit=B).key == "third"  # type: ignore[attr-defined]
    again = moved(store, item, Stage.ANALYSIS)
    assert begin(store, again, "fourth", run="run-2", commit=B).key == "fourth"  # type: ignore[attr-defined]
    assert [wait.key for wait in store.read(waits.open_waits)] == ["fourth"]


def test_a_machines_wait_keeps_its_start_over_many_runs(store: Store) -> None:
    item = new_item(store)
    first = store.write(waits.begin, item, WaitKind.CI, key="1", sentence="CI", now=NOW, flow_run_id="r1")
    second = store.write(waits.begin, item, WaitKind.CI, key="2", sentence="CI", now=later(60), flow_run_id="r2")
    assert (second.id, second.since, second.flow_run_id) == (first.id, NOW, "r2")


def test_ci_that_has_said_something_and_not_all_is_waited_for_since_the_first_look_and_told_of_once(
    store: Store,
) -> None:
    item = new_item(store)
    ci = {"sentence": "CI", "commit": A, "deadline": later(3600)}
    first = store.write(waits.begin, item, WaitKind.CI, key="1", now=NOW, **ci)
    assert store.write(waits.reminded, first.id, later(1))
    store.write(waits.close, item.id, "CI has said something.", later(60))
    second = store.write(waits.begin, item, WaitKind.CI, key="2", now=later(61), **ci)
    assert (second.since, second.deadline) == (NOW, later(3600))
    assert not store.write(waits.reminded, second.id, later(4000))
    store.write(waits.close, item.id, "CI has said something.", later(60))
    other = store.write(waits.begin, item, WaitKind.CI, key="3", now=later(62), **{**ci, "commit": B})
    assert other.since == later(62)


def test_the_same_decision_twice_is_recorded_once(store: Store) -> None:
    item = new_item(store)
    assert store.write(waits.decide, item, decision())
    assert not store.write(waits.decide, item, decision())
    assert store.write(waits.decide, item, decision(choice=Choice.REJECT))
    assert store.write(waits.decide, item, decision(commit=B))
    assert [(d.choice, d.commit) for d in store.read(waits.decisions, item.id)] == [
        (Choice.APPROVE, A), (Choice.REJECT, A), (Choice.APPROVE, B),
    ]  # fmt: skip


def test_a_wake_stays_requested_from_its_first_request(store: Store) -> None:
    item = new_item(store)
    begin(store, item, "first")
    store.write(waits.request_wake, item.id, later(1))
    wait = store.write(waits.request_wake, item.id, later(9))
    assert wait is not None
    assert wait.wake_requested_at == later(1)


def test_a_reminder_is_sent_once(store: Store) -> None:
    item = new_item(store)
    wait = begin(store, item, "first")
    assert store.write(waits.reminded, wait.id, later(1))  # type: ignore[attr-defined]
    assert not store.write(waits.reminded, wait.id, later(2))  # type: ignore[attr-defined]
