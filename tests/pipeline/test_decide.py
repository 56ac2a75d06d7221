from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import decide
from pipeline.decide import (
    Advance,
    Answered,
    Ask,
    Back,
    Escalate,
    HoldIt,
    Ignore,
    Record,
    Resume,
    RollBack,
    Standing,
    Start,
    Stop,
    WaitFor,
)
from pipeline.model import (
    Answer,
    Choice,
    Fail,
    GateResult,
    Hold,
    NotApplicable,
    Pass,
    Pending,
    Wait,
    WaitKind,
    WorkItem,
)
from pipeline.signals import Signal
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


def wait(kind: WaitKind, commit: str | None = TIP, stage: Stage = Stage.ANALYSIS) -> Wait:
    return Wait(1, "k", kind, stage, 1, "?", NOW, None, None, commit, "run", None, None)


def react(standing: Standing, signal: Signal, **payload: object) -> decide.Reaction:
    return decide.on_signal(standing, signal, payload)


def test_a_start_without_an_item_starts_one() -> None:
    assert react(Standing(None), Signal.START_REQUESTED) == Start()


def test_a_start_past_analysis_is_a_no_op_that_is_told() -> None:
    reaction = react(Standing(item(Stage.REVIEW)), Signal.START_REQUESTED)
    assert isinstance(reaction, Ignore)
    assert reaction.tell


def test_a_start_of_a_held_analysis_resumes_it() -> None:
    assert isinstance(react(Standing(item(hold=Hold.BLOCKED)), Signal.START_REQUESTED), Resume)


def test_an_approval_counts_for_the_commit_that_the_open_wait_shows() -> None:
    shown = "b" * 40
    reaction = react(Standing(item(), wait(WaitKind.APPROVAL, shown)), Signal.APPROVED)
    assert reaction == Record(WaitKind.APPROVAL, Choice.APPROVE, shown, "")


def test_an_approval_just_before_the_wait_counts_for_the_pushed_commit() -> None:
    assert react(Standing(item(), worked=True), Signal.APPROVED) == Record(WaitKind.APPROVAL, Choice.APPROVE, TIP, "")


def test_an_approval_while_the_analyst_still_works_counts_for_nothing() -> None:
    reaction = react(Standing(item(), worked=False), Signal.APPROVED)
    assert isinstance(reaction, Ignore)
    assert reaction.tell


def test_approved_never_confirms_a_deploy_and_confirm_never_approves() -> None:
    asked = Standing(item(Stage.DEPLOY, validated=TIP), wait(WaitKind.CONFIRMATION, stage=Stage.DEPLOY), worked=True)
    assert isinstance(react(asked, Signal.APPROVED), Ignore)
    assert isinstance(react(Standing(item(), wait(WaitKind.APPROVAL), worked=True), Signal.DEPLOY_CONFIRMED), Ignore)


def test_a_confirmation_counts_for_the_validated_commit_only() -> None:
    asked = item(Stage.DEPLOY, validated=TIP)
    assert react(Standing(asked), Signal.DEPLOY_CONFIRMED) == Record(WaitKind.CONFIRMATION, Choice.CONFIRM, TIP, "")
    landed = item(Stage.DEPLOY, validated=TIP, landed=TIP)
    assert isinstance(react(Standing(landed), Signal.DEPLOY_CONFIRMED), Ignore)


def test_a_cancelled_or_done_item_reacts_to_nothing() -> None:
    for stage in (Stage.DONE, Stage.CANCELLED):
        for signal in Signal:
            assert isinstance(react(Standing(item(stage)), signal), Ignore)


def test_a_persons_push_after_review_sends_back_to_review_without_an_attempt() -> None:
    reaction = react(Standing(item(Stage.DEPLOY)), Signal.PUSHED, after="c" * 40, pusher="bob")
    assert isinstance(reaction, Back)
    assert (reaction.to, reaction.spend) == (Stage.REVIEW, None)


def test_our_own_push_coming_back_means_nothing() -> None:
    assert isinstance(react(Standing(item(Stage.TESTING)), Signal.PUSHED, after=TIP), Ignore)


def test_a_pull_request_merged_by_a_person_holds_the_item() -> None:
    assert isinstance(react(Standing(item(Stage.TESTING)), Signal.PR_MERGED, merged_by="bob"), HoldIt)
    assert isinstance(react(Standing(item(Stage.DEPLOY, landed=TIP)), Signal.PR_MERGED), Ignore)


def test_requested_changes_cost_the_developer_an_attempt() -> None:
    reaction = react(Standing(item(Stage.TESTING)), Signal.REVIEW_SUBMITTED, kind="rejected", reviewer="bob")
    assert reaction == Back(Stage.DEVELOPMENT, "bob requested changes on the pull request.", Role.DEVELOPER)


def test_stop_wins_at_every_stage_that_is_worked() -> None:
    assert {react(Standing(item(stage)), Signal.STOP_REQUESTED) for stage in WORKED} == {Stop()}


@given(
    st.sampled_from(list(Stage)),
    st.sampled_from(list(Signal)),
    st.none() | st.sampled_from(list(WaitKind)),
    st.booleans(),
    st.none() | st.sampled_from(list(Hold)),
    st.booleans(),
    st.dictionaries(
        st.sampled_from(["after", "pusher", "kind", "text", "merged_by"]), st.none() | st.text() | st.integers()
    ),
)
def test_every_signal_has_a_reaction_whatever_the_item(
    stage: Stage,
    signal: Signal,
    kind: WaitKind | None,
    worked: bool,
    hold: Hold | None,
    landed: bool,
    payload: dict[str, object],
) -> None:
    subject = item(stage, hold=hold, landed=TIP if landed else None, validated=TIP)
    reaction = decide.on_signal(Standing(subject, wait(kind) if kind else None, worked), signal, payload)
    if isinstance(reaction, Back):
        assert allowed(stage, reaction.to)
        assert not landed
    if isinstance(reaction, Record):
        assert reaction.kind.human


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
    outcome = decide.on_gates(subject, [Answered(f"g{n}", r) for n, r in enumerate(results)], cap=CAP)
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
    outcome = decide.on_gates(spent, [Answered("review_verdict", Fail("no tests"))], cap=CAP)
    assert outcome == Escalate(
        "review_verdict: no tests This was the developer's attempt 4 of 4; a person has to look."
    )


def test_a_pending_gate_that_waits_for_nothing_is_a_bug() -> None:
    with pytest.raises(ValueError, match="does not say what for"):
        decide.on_gates(item(), [Answered("odd", GateResult(Answer.PENDING, "hm"))], cap=CAP)
