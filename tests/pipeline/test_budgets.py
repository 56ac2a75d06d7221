"""Budgets stop the next agent run, and a decision lets exactly one start."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pipeline.budgets import Limits, Spent, day_of, let_go_on, next_run, reached, run_budget
from pipeline.model import Choice, Decision, WaitKind

NOTHING = Spent()
NOW = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)


def go_on(commit: str, choice: Choice = Choice.APPROVE, kind: WaitKind = WaitKind.BUDGET) -> Decision:
    return Decision(kind, choice, commit, "ada", "", NOW)


def test_without_limits_nothing_is_ever_reached() -> None:
    assert reached(Limits(), item=Spent(1e9, 10**12), day=Spent(1e9, 10**12)) == ""


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(item_usd=5), "$5.00 of the item's $5.00"),
        (Limits(item_tokens=1000), "1,000 of the item's 1,000 tokens"),
        (Limits(day_usd=20), "$20.00 of today's $20.00 for all items"),
        (Limits(day_tokens=4000), "4,000 of today's 4,000 tokens for all items"),
    ],
)
def test_each_limit_is_told_with_its_numbers(limits: Limits, said: str) -> None:
    assert reached(limits, item=Spent(5, 1000), day=Spent(20, 4000)) == f"The budget is used up: {said}."
    assert reached(limits, item=Spent(4.99, 999), day=Spent(19.99, 3999)) == ""


def test_several_limits_are_told_at_once() -> None:
    said = reached(Limits(item_usd=1, day_usd=2), item=Spent(1.5), day=Spent(3))
    assert said == "The budget is used up: $1.50 of the item's $1.00, $3.00 of today's $2.00 for all items."


def test_a_run_gets_the_least_of_what_is_left() -> None:
    limits = Limits(run_usd=4, item_usd=10, day_usd=50)
    assert run_budget(limits, 0, item=NOTHING, day=NOTHING) == 4
    assert run_budget(limits, 2, item=NOTHING, day=NOTHING) == 2
    assert run_budget(limits, 0, item=Spent(9), day=NOTHING) == 1
    assert run_budget(limits, 0, item=Spent(9), day=Spent(49.5)) == 0.5
    assert run_budget(Limits(), 0, item=Spent(9), day=NOTHING) == 0


def test_a_run_that_a_person_lets_go_on_keeps_its_own_limit() -> None:
    assert run_budget(Limits(run_usd=4, item_usd=10), 0, item=Spent(11), day=NOTHING) == 4


def test_a_decision_counts_for_the_next_run_and_no_other() -> None:
    assert let_go_on([go_on(next_run(3))], 3)
    assert not let_go_on([go_on(next_run(3))], 4)
    assert not let_go_on([go_on(next_run(3), Choice.REJECT), go_on(next_run(3), kind=WaitKind.APPROVAL)], 3)


def test_a_day_begins_at_midnight_utc_wherever_the_clock_stands() -> None:
    assert day_of(NOW) == datetime(2026, 11, 21, tzinfo=UTC)
    assert day_of(NOW.astimezone(timezone(timedelta(hours=-5)))) == datetime(2026, 11, 21, tzinfo=UTC)
