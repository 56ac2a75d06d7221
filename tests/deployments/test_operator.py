"""What a person says on the command line is a signal like any other; what follows is sent by the running Orch."""

from pathlib import Path

import pytest

from deployments import operator
from pipeline.errors import Refused
from pipeline.model import Hold, WaitKind, WorkItem
from pipeline.signals import WAIT_ANSWERED
from pipeline.stages import Role, Stage
from pipeline.store import items, transitions, waits
from tests.pipeline.store.helpers import claimed
from tests.support.services import Desk


def say(desk: Desk, item: WorkItem, signal: str, text: str = "") -> str:
    return operator.signal(desk.settings, item.key, signal, text, "cli:ada")


@pytest.mark.parametrize(
    ("signal", "stage", "kind", "choice"),
    [
        ("approved", Stage.ANALYSIS, WaitKind.APPROVAL, "approve"),
        ("rejected", Stage.ANALYSIS, WaitKind.APPROVAL, "reject"),
        ("deploy_confirmed", Stage.DEPLOY, WaitKind.CONFIRMATION, "confirm"),
        ("answer_given", Stage.ANALYSIS, WaitKind.ANSWER, "answer"),
    ],
)
def test_a_decision_counts_for_what_was_asked_and_wakes_its_run(
    desk: Desk, signal: str, stage: Stage, kind: WaitKind, choice: str
) -> None:
    item = desk.item(stage)
    wait = desk.asks(item, kind, commit="c" * 40)
    assert say(desk, item, signal, "a word") == f"{item.key}: {choice} recorded for the {kind} of cccccccccccc"
    [decision] = desk.store.read(waits.decisions, item.id)
    assert (decision.choice, decision.commit, decision.actor, decision.text) == (choice, "c" * 40, "cli:ada", "a word")
    [event] = desk.letters
    assert (event.payload["event"], event.payload["resume"]) == (WAIT_ANSWERED, wait.flow_run_id)
    assert desk.again(item).stage is stage


@pytest.mark.parametrize(
    ("signal", "why"),
    [
        ("approved", r"Nothing about SHOP-\d+ waits for an approval now \(it is at testing\)\."),
        ("rejected", r"Nothing about SHOP-\d+ waits for an approval now \(it is at testing\)\."),
        ("deploy_confirmed", r"Nothing about SHOP-\d+ waits for a deploy confirmation now \(it is at testing\)\."),
        ("answer_given", r"SHOP-\d+ has asked nothing\."),
    ],
)
def test_a_decision_that_nobody_asked_for_is_refused_and_leaves_nothing_behind(
    desk: Desk, signal: str, why: str
) -> None:
    item = desk.item(Stage.TESTING)
    with pytest.raises(Refused, match=f"^{item.key}: nothing was decided. {why} `orch why {item.key}` tells"):
        say(desk, item, signal)
    assert (desk.store.read(waits.decisions, item.id), desk.signals, desk.letters) == ((), [], [])


def test_an_empty_answer_is_not_taken(desk: Desk) -> None:
    item = desk.item()
    desk.asks(item, WaitKind.ANSWER)
    with pytest.raises(Refused, match=r"The answer is empty\."):
        say(desk, item, "answer_given", "  ")


def test_a_decision_about_an_item_whose_run_still_works_counts(desk: Desk) -> None:
    item = desk.item()
    desk.asks(item, WaitKind.APPROVAL)
    claimed(desk.store, item, run="run-7", now=desk.clock.now)
    assert "approve recorded" in say(desk, item, "approved")


def test_stop_marks_the_item_and_announces_it(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    assert say(desk, item, "stop_requested") == f"{item.key}: the item is being stopped"
    assert desk.again(item).cancel_requested_at is not None
    assert [row.payload["event"] for row in desk.letters] == ["orch.signal.stop_requested"]


@pytest.mark.parametrize("signal", ["approved", "rejected", "deploy_confirmed", "answer_given", "stop_requested"])
def test_an_unknown_item_is_named(desk: Desk, signal: str) -> None:
    with pytest.raises(Refused, match=r"There is no live work item SHOP-999; `orch status` lists them\."):
        operator.signal(desk.settings, "SHOP-999", signal, "", "cli:ada")
    assert desk.signals == []


def test_retry_of_an_escalated_item_gives_its_role_all_attempts_again(desk: Desk) -> None:
    item = desk.item(Stage.DEVELOPMENT, attempts={"developer": 4, "analyst": 1})
    desk.store.write(items.hold, item.id, Hold.ESCALATED, "too often", desk.clock.now)
    assert operator.retry(desk.settings, item.key, "cli:ada") == f"{item.key} goes on at development."
    after = desk.again(item)
    assert (after.stage, after.hold, after.visit) == (Stage.DEVELOPMENT, None, item.visit + 1)
    assert (after.attempts_of(Role.DEVELOPER), after.attempts_of(Role.ANALYST)) == (0, 1)
    last = desk.store.read(transitions.history, item.id)[-1]
    assert (last.actor, last.reason) == ("cli:ada", "retried by a person")
    assert [row.payload.get("stage") for row in desk.letters if row.kind == "event"] == ["development"]


def test_retry_of_a_blocked_item_lets_it_go_on_where_it_stands(desk: Desk) -> None:
    item = desk.item(Stage.TESTING, attempts={"tester": 1})
    desk.store.write(items.hold, item.id, Hold.BLOCKED, "no disk", desk.clock.now)
    operator.retry(desk.settings, item.key, "cli:ada")
    after = desk.again(item)
    assert (after.hold, after.visit, after.attempts_of(Role.TESTER)) == (None, item.visit, 1)
    assert [row.kind for row in desk.letters] == ["event", "card", "status"]


def test_retry_of_an_item_that_is_not_held_is_refused(desk: Desk) -> None:
    item = desk.item()
    with pytest.raises(Refused, match=f"{item.key} is not held"):
        operator.retry(desk.settings, item.key, "cli:ada")


def test_retry_of_an_unknown_item_is_refused(desk: Desk) -> None:
    with pytest.raises(Refused, match="no live work item SHOP-999"):
        operator.retry(desk.settings, "SHOP-999", "cli:ada")


def test_retry_waits_for_a_run_that_still_holds_the_item(desk: Desk) -> None:
    item = desk.item(Stage.TESTING)
    desk.store.write(items.hold, item.id, Hold.BLOCKED, "no disk", desk.clock.now)
    claimed(desk.store, item, run="run-7", now=desk.clock.now)
    with pytest.raises(Refused, match="Run run-7 still holds"):
        operator.retry(desk.settings, item.key, "cli:ada")
    assert desk.again(item).hold is Hold.BLOCKED


def test_the_overview_has_the_newest_first_with_what_each_waits_for(desk: Desk) -> None:
    asking, held = desk.item(), desk.item(Stage.TESTING)
    gone = desk.move(desk.item(), Stage.CANCELLED)
    desk.asks(asking, WaitKind.APPROVAL)
    desk.store.write(items.hold, held.id, Hold.BLOCKED, "no disk", desk.clock.now)
    told = operator.overview(desk.settings)
    assert [entry["key"] for entry in told] == [gone.key, held.key, asking.key]
    assert [entry["why"] for entry in told] == [
        "",
        f"{held.key} is blocked: no disk `orch retry {held.key}` lets it go on.",
        "waits for approval",
    ]


def test_a_database_that_was_never_made_is_a_sentence(desk: Desk, tmp_path: Path) -> None:
    elsewhere = desk.settings.model_copy(update={"state_dir": tmp_path / "elsewhere"})
    with pytest.raises(Refused, match=r"There is no database of Orch at sqlite:.*`orch up` makes it"):
        operator.overview(elsewhere)
