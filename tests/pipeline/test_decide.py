from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import decide
from pipeline.decide import Standing
from pipeline.model import (
    Choice,
    Hold,
    Wait,
    WaitKind,
    WorkItem,
)
from pipeline.reaction import Back, Finish, HoldIt, Ignore, Look, Reaction, Record, Resume, Start, Stop
from pipeline.signals import Signal
from pipeline.stages import WORKED, Role, Stage, allowed

NOW = datetime(2026, 11, 21, tzinfo=UTC)
TIP = "a" * 40


def item(stage: Stage = Stage.ANALYSIS, **more: object) -> WorkItem:
    values: dict[str, object] = {"attempts": {}, "visits": {stage.value: 1}, "tip": TIP, **more}
    return WorkItem(
        id=1, key="WID-1", project="WID", tracker_id="t", title="Spin", branch="feature/WID-1-spin", stage=stage,
        version=1, created_at=NOW, entered_at=NOW, **values,  # type: ignore[arg-type]
    )  # fmt: skip


def wait(kind: WaitKind, commit: str | None = TIP, stage: Stage = Stage.ANALYSIS) -> Wait:
    return Wait(1, "k", kind, stage, 1, "?", NOW, None, None, commit, "run", None, None)


def react(standing: Standing, signal: Signal, **payload: object) -> Reaction:
    return decide.on_signal(standing, signal, payload)


def test_a_start_without_an_item_starts_one() -> None:
    assert react(Standing(None), Signal.START_REQUESTED) == Start()


def test_a_start_past_analysis_is_a_no_op_that_is_told() -> None:
    reaction = react(Standing(item(Stage.REVIEW)), Signal.START_REQUESTED)
    assert isinstance(reaction, Ignore)
    assert reaction.tell


def test_a_start_of_a_held_analysis_resumes_it() -> None:
    assert isinstance(react(Standing(item(hold=Hold.BLOCKED)), Signal.START_REQUESTED), Resume)


def test_a_start_answers_the_analysts_question_and_is_told_to_wait_for_any_other_person() -> None:
    asked = react(Standing(item(), wait(WaitKind.ANSWER, "start")), Signal.START_REQUESTED)
    assert asked == Record(WaitKind.ANSWER, Choice.ANSWER, "start", decide.READ_AGAIN)
    reaction = react(Standing(item(), wait(WaitKind.APPROVAL)), Signal.START_REQUESTED)
    assert isinstance(reaction, Ignore)
    assert reaction.tell
    assert react(Standing(item()), Signal.START_REQUESTED) == Ignore("WID-1 is being analysed already.")


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


def test_a_pull_request_merged_by_a_person_before_deploy_ends_the_item() -> None:
    reaction = react(Standing(item(Stage.TESTING)), Signal.PR_MERGED, merged_by="bob")
    assert reaction == Finish("bob merged the pull request while WID-1 was at testing; Orch has not validated it.")


def test_a_pull_request_merged_by_a_person_at_deploy_does_not_fake_completion() -> None:
    assert isinstance(react(Standing(item(Stage.DEPLOY)), Signal.PR_MERGED, merged_by="bob"), Look)
    assert isinstance(react(Standing(item(Stage.DEPLOY, landed=TIP)), Signal.PR_MERGED), Ignore)


def test_a_pull_request_closed_without_merging_needs_a_person() -> None:
    reaction = react(Standing(item(Stage.REVIEW)), Signal.PR_CLOSED, closed_by="bob")
    assert reaction == HoldIt("bob closed the pull request without merging it.", Hold.NEEDS_INPUT)


FINDINGS = Standing(item(Stage.REVIEW), wait(WaitKind.INTEGRITY, stage=Stage.REVIEW))


def test_a_card_moved_to_approved_accepts_no_weakened_check() -> None:
    assert isinstance(react(FINDINGS, Signal.APPROVED), Ignore)


@pytest.mark.parametrize(("signal", "choice"), [(Signal.APPROVED, Choice.APPROVE), (Signal.REJECTED, Choice.REJECT)])
def test_who_names_the_gate_decides_about_its_findings(signal: Signal, choice: Choice) -> None:
    reaction = react(FINDINGS, signal, names_the_gate=True, text="why")
    assert reaction == Record(WaitKind.INTEGRITY, choice, TIP, "why")


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("accept", Record(WaitKind.INTEGRITY, Choice.APPROVE, TIP, "")),
        ("Accept: the test was wrong", Record(WaitKind.INTEGRITY, Choice.APPROVE, TIP, "the test was wrong")),
        ("REJECT, put it back", Record(WaitKind.INTEGRITY, Choice.REJECT, TIP, "put it back")),
    ],
)
def test_a_comment_about_findings_decides_by_its_first_word(comment: str, expected: Record) -> None:
    assert react(FINDINGS, Signal.ANSWER_GIVEN, text=comment) == expected


def test_any_other_comment_about_findings_decides_nothing() -> None:
    assert isinstance(react(FINDINGS, Signal.ANSWER_GIVEN, text="I accept nothing"), Ignore)


NEXT = wait(WaitKind.BUDGET, "run-4")


@pytest.mark.parametrize("comment", ["go on", "Go on!", " continue. "])
def test_a_comment_lets_the_next_run_go_on_beyond_the_budget(comment: str) -> None:
    reaction = react(Standing(item(), NEXT), Signal.ANSWER_GIVEN, text=comment)
    assert reaction == Record(WaitKind.BUDGET, Choice.APPROVE, "run-4")


@pytest.mark.parametrize("comment", ["", "go on with what?", "do not go on"])
def test_any_other_comment_about_the_budget_decides_nothing(comment: str) -> None:
    assert isinstance(react(Standing(item(), NEXT), Signal.ANSWER_GIVEN, text=comment), Ignore)


def test_who_names_the_gate_lets_it_go_on_and_a_card_moved_to_approved_does_not() -> None:
    named = react(Standing(item(), NEXT), Signal.APPROVED, names_the_gate=True)
    assert named == Record(WaitKind.BUDGET, Choice.APPROVE, "run-4")
    assert isinstance(react(Standing(item(), NEXT), Signal.APPROVED), Ignore)


def test_there_is_no_rejecting_a_budget() -> None:
    assert isinstance(react(Standing(item(), NEXT), Signal.REJECTED, names_the_gate=True), Ignore)


@pytest.mark.parametrize("stage", decide.BRANCH_IS_JUDGED)
def test_officially_requested_changes_cost_the_developer_an_attempt(stage: Stage) -> None:
    reaction = react(Standing(item(stage)), Signal.REVIEW_SUBMITTED, kind="rejected", reviewer="bob", official=True)
    assert reaction == Back(Stage.DEVELOPMENT, "bob requested changes on the pull request.", Role.DEVELOPER)


@pytest.mark.parametrize("stage", WORKED)
def test_a_card_that_was_closed_by_hand_holds_its_item_and_asks(stage: Stage) -> None:
    reaction = react(Standing(item(stage)), Signal.CARD_CLOSED, state_name="Done")
    assert isinstance(reaction, HoldIt)
    assert reaction.kind is Hold.NEEDS_INPUT
    assert reaction.why.startswith("Its card was moved to Done by hand, but nothing has landed.")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"landed": TIP}, True),
        ({"hold": Hold.ESCALATED}, True),
        ({"hold": Hold.BLOCKED}, True),
        ({"cancel_requested_at": NOW}, False),
    ],
)
def test_a_closed_card_changes_nothing_where_a_person_or_production_is_waited_for_already(
    more: dict[str, object], told: bool
) -> None:
    reaction = react(Standing(item(Stage.DEPLOY, **more)), Signal.CARD_CLOSED)
    assert isinstance(reaction, Ignore)
    assert reaction.tell is told


@pytest.mark.parametrize("official", [{}, {"official": False}, {"official": "yes"}])
def test_requested_changes_that_are_not_known_to_be_official_take_nothing_back(official: dict[str, object]) -> None:
    reaction = react(
        Standing(item(Stage.TESTING)), Signal.REVIEW_SUBMITTED, kind="rejected", reviewer="eve", **official
    )
    assert reaction == Ignore("eve requested changes, but that verdict is not official or stands no more.")


@pytest.mark.parametrize("kind", ["approved", "comment"])
@pytest.mark.parametrize("stage", WORKED)
def test_a_persons_approval_of_the_pull_request_passes_nothing(stage: Stage, kind: str) -> None:
    reaction = react(Standing(item(stage)), Signal.REVIEW_SUBMITTED, kind=kind, reviewer="bob", official=True)
    assert isinstance(reaction, Ignore)


@pytest.mark.parametrize("stage", decide.BRANCH_IS_JUDGED)
def test_a_persons_push_makes_every_verdict_void(stage: Stage) -> None:
    reaction = react(Standing(item(stage)), Signal.PUSHED, after="c" * 40, pusher="bob")
    assert reaction == Back(Stage.REVIEW, "bob pushed to the task branch, so earlier verdicts are void.")


@pytest.mark.parametrize("own", [5, None])
def test_another_pull_request_of_the_branch_that_is_closed_changes_nothing(own: int | None) -> None:
    reaction = react(Standing(item(Stage.REVIEW, pull_number=own)), Signal.PR_CLOSED, number=6, closed_by="bob")
    assert reaction == Ignore("Pull request #6 is not that of WID-1.")


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


# --- buttons, which say what they were below


def about(**otherwise: object) -> dict[str, object]:
    return {"item": 1, "stage": "analysis", "visit": 1, "kind": "approval", "commit": TIP} | otherwise


def test_a_button_counts_for_what_it_was_below() -> None:
    reaction = react(Standing(item(), wait(WaitKind.APPROVAL)), Signal.REJECTED, about=about())
    assert reaction == Record(WaitKind.APPROVAL, Choice.REJECT, TIP, "")


@pytest.mark.parametrize(
    "otherwise",
    [
        {"item": 2},
        {"stage": "review"},
        {"visit": 2},
        {"kind": "integrity"},
        {"commit": "b" * 40},
        {"commit": None},
    ],
)
def test_a_button_about_something_else_is_stale_and_is_told_where_it_was_pressed(otherwise: dict[str, object]) -> None:
    reaction = react(Standing(item(), wait(WaitKind.APPROVAL)), Signal.APPROVED, about=about(**otherwise))
    assert isinstance(reaction, Ignore)
    assert not reaction.tell


def test_a_button_below_findings_decides_about_them_and_about_nothing_else() -> None:
    below = about(stage="review", kind="integrity")
    assert react(FINDINGS, Signal.APPROVED, about=below, names_the_gate=True) == Record(
        WaitKind.INTEGRITY, Choice.APPROVE, TIP, ""
    )
    approval = Standing(item(), wait(WaitKind.APPROVAL))
    assert isinstance(react(approval, Signal.APPROVED, about=below, names_the_gate=True), Ignore)


@pytest.mark.parametrize("signal", [Signal.APPROVED, Signal.REJECTED, Signal.DEPLOY_CONFIRMED])
@pytest.mark.parametrize("stage", [Stage.DONE, Stage.CANCELLED, Stage.DEVELOPMENT])
def test_a_button_about_an_item_that_has_gone_on_is_stale(signal: Signal, stage: Stage) -> None:
    assert isinstance(react(Standing(item(stage)), signal, about=about()), Ignore)


def test_a_confirm_button_never_approves_findings() -> None:
    below = about(stage="review", kind="integrity")
    assert isinstance(react(FINDINGS, Signal.DEPLOY_CONFIRMED, about=below, names_the_gate=True), Ignore)
