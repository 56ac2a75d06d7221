"""Where a stage's gate answers lead."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import outcomes
from pipeline.model import Answer, Fail, GateResult, NotApplicable, Pass, Pending, WaitKind, WorkItem
from pipeline.outcomes import Advance, Answered, Ask, Block, Escalate, RollBack, WaitFor
from pipeline.stages import ROWS, WORKED, Role, Stage, allowed

NOW = datetime(2026, 11, 21, tzinfo=UTC)
TIP = "a" * 40
CAP = dict.fromkeys(Role, 3)


def item(stage: Stage = Stage.ANALYSIS, **more: object) -> WorkItem:
    values: dict[str, object] = {"attempts": {}, "visits": {stage.value: 1}, "tip": TIP, **more}
    return WorkItem(
        id=1, key="WID-1", project="WID", tracker_id="t", title="Spin", branch="feature/WID-1-spin", stage=stage,
        version=1, created_at=NOW, entered_at=NOW, **values,  # type: ignore[arg-type]
    )  # fmt: skip


RESULTS = st.sampled_from(
    [
        Pass("ok"),
        NotApplicable("n/a"),
        Fail("red"),
        Pending("CI", WaitKind.CI),
        Pending("?", WaitKind.APPROVAL, commit=TIP),
    ]
)


@given(st.sampled_from(WORKED), st.lists(RESULTS, max_size=4), st.integers(0, 5))
def test_gates_lead_on_only_when_none_is_red_or_pending(stage: Stage, results: list[GateResult], spent: int) -> None:
    subject = item(stage, attempts=dict.fromkeys((r.value for r in Role), spent))
    outcome = outcomes.on_gates(subject, [Answered(f"g{n}", r) for n, r in enumerate(results)], cap=CAP)
    first = next((r for r in results if r.answer in (Answer.FAIL, Answer.PENDING)), None)
    if first is None:
        assert isinstance(outcome, Advance)
        assert outcome.to is ROWS[stage].to
    elif first.answer is Answer.PENDING:
        assert isinstance(outcome, Ask if first.waits_for is WaitKind.APPROVAL else WaitFor)
    elif spent >= 3:
        assert isinstance(outcome, Escalate)
    else:
        assert isinstance(outcome, RollBack)
        assert allowed(stage, outcome.to)


def test_a_red_answer_past_the_cap_calls_a_person() -> None:
    spent = item(Stage.REVIEW, attempts={"developer": 3})
    outcome = outcomes.on_gates(spent, [Answered("review_verdict", Fail("no tests"))], cap=CAP)
    assert outcome == Escalate(
        "review_verdict: no tests This was the developer's attempt 4 of 4; a person has to look."
    )


def test_what_a_person_said_goes_whole_to_whoever_works_again() -> None:
    outcome = outcomes.on_gates(
        item(), [Answered("analysis_approved", Fail("ada said: No…", text="No e-mail."))], cap=CAP
    )
    assert isinstance(outcome, RollBack)
    assert outcome.why == "analysis_approved: ada said: No…"
    assert outcome.feedback == "analysis_approved: ada said: No…\n\nNo e-mail."


def test_a_pending_gate_that_waits_for_nothing_is_a_bug() -> None:
    with pytest.raises(ValueError, match="does not say what for"):
        outcomes.on_gates(item(), [Answered("odd", GateResult(Answer.PENDING, "hm"))], cap=CAP)


def test_a_red_answer_after_the_landing_holds_the_item_where_it_stands() -> None:
    landed = item(Stage.DEPLOY, landed=TIP)
    outcome = outcomes.on_gates(landed, [Answered("deploy_verified", Fail("production is old"))], cap=CAP)
    assert outcome == Block("deploy_verified: production is old")


def test_a_verdict_about_another_commit_costs_its_own_role_an_attempt_and_nobody_else() -> None:
    stale = Pending("10-review.md is about another commit.", WaitKind.VERDICT)
    outcome = outcomes.on_gates(item(Stage.REVIEW), [Answered("review_verdict", stale)], cap=CAP)
    assert isinstance(outcome, RollBack)
    assert (outcome.to, outcome.role) == (Stage.REVIEW, Role.REVIEWER)
