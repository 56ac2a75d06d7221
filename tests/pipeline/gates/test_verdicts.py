"""CI, review, tests and merge: each answer is about one commit, and silence is never green."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import CouldNotRun, Unavailable
from pipeline.gates import GATES
from pipeline.model import Answer, CiState, CiStatus, MergeAttempt, MergeEnd, TestRun, WaitKind

REPORTS = [("review_verdict", "10-review.md", "approved"), ("tests_passed", "11-test-report.md", "passed")]


def artifact(verdict, commit="HEAD", body="Fine."):
    return f"---\nverdict: {verdict}\ncommit: {commit}\n---\n\n# Report\n\n{body}\n"


# --- ci_green


async def test_a_green_status_of_the_head_passes(look, ci):
    ci.said[look.head] = CiStatus(CiState.SUCCESS)
    result = await GATES["ci_green"].ask(look)
    assert (result.answer, result.commit) == (Answer.PASS, look.head)


async def test_a_red_status_names_its_contexts(look, ci):
    ci.said[look.head] = CiStatus(CiState.FAILURE, failing=("lint", "unit"))
    result = await GATES["ci_green"].ask(look)
    assert result.answer is Answer.FAIL
    assert "lint, unit" in result.sentence
    assert result.evidence["failing"] == ("lint", "unit")


@pytest.mark.parametrize("status", [CiStatus(CiState.NONE), CiStatus(CiState.PENDING, pending=("unit",))])
async def test_silence_and_a_running_ci_are_pending(look, ci, status):
    ci.said[look.head] = status
    result = await GATES["ci_green"].ask(look)
    assert (result.answer, result.waits_for) == (Answer.PENDING, WaitKind.CI)


@pytest.mark.parametrize(
    ("state", "answer"),
    [(CiState.SUCCESS, Answer.PASS), (CiState.FAILURE, Answer.FAIL), (CiState.NONE, Answer.PENDING)],
)
async def test_the_tip_speaks_for_a_head_that_nobody_has_built(with_artifacts, ci, state, answer):
    asked = with_artifacts({"10-review.md": "x"})
    ci.said[asked.tip] = CiStatus(state)
    result = await GATES["ci_green"].ask(asked)
    assert (result.answer, result.commit) == (answer, asked.tip)


async def test_the_tip_does_not_overrule_the_head(with_artifacts, ci):
    asked = with_artifacts({"10-review.md": "x"})
    ci.said |= {asked.head: CiStatus(CiState.FAILURE, ("unit",)), asked.tip: CiStatus(CiState.SUCCESS)}
    assert (await GATES["ci_green"].ask(asked)).answer is Answer.FAIL


async def test_with_its_own_ci_orch_runs_the_tests_of_the_head(with_artifacts, tests):
    asked = with_artifacts({"10-review.md": "x"})
    asked = replace(asked, project=asked.project.model_copy(update={"ci": "own"}))
    assert (await GATES["ci_green"].ask(asked)).answer is Answer.PASS
    tests.failing = ("test_a", "test_b")
    result = await GATES["ci_green"].ask(asked)
    assert (result.answer, result.evidence["failing"]) == (Answer.FAIL, ("test_a", "test_b"))
    assert "2 of 9 tests fail" in result.sentence
    assert tests.asked == [asked.head, asked.head]


# --- review_verdict and tests_passed


@pytest.mark.parametrize(("gate", "file", "word"), REPORTS)
async def test_a_good_verdict_about_the_head_passes(with_artifacts, gate, file, word):
    asked = with_artifacts({file: artifact(word)})
    result = await GATES[gate].ask(asked)
    assert (result.answer, result.commit) == (Answer.PASS, asked.head)


@pytest.mark.parametrize(("gate", "file", "word"), REPORTS)
async def test_twelve_characters_of_the_head_are_enough_and_eleven_are_not(with_artifacts, look, gate, file, word):
    asked = with_artifacts({file: artifact(word, look.head[:12])})
    assert (await GATES[gate].ask(asked)).answer is Answer.PASS
    asked = with_artifacts({file: artifact(word, look.head[:11])})
    assert (await GATES[gate].ask(asked)).answer is Answer.PENDING


@pytest.mark.parametrize(("gate", "file", "word"), REPORTS)
async def test_a_verdict_about_another_commit_is_pending_until_its_role_has_looked_again(
    with_artifacts, gate, file, word
):
    result = await GATES[gate].ask(with_artifacts({file: artifact(word, "f" * 40)}))
    assert (result.answer, result.waits_for) == (Answer.PENDING, WaitKind.VERDICT)
    assert "is about another commit" in result.sentence


@pytest.mark.parametrize(("gate", "file", "word"), REPORTS)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("approved passed", "no front matter"),
        ("---\nverdict: WORD\nverdict: WORD\ncommit: HEAD\n---\n", "given twice (line 3)"),
        ("---\nverdict: [\n---\n", "not valid YAML"),
        ("---\ncommit: HEAD\n---\n", "has no verdict"),
        ("---\nverdict: [WORD]\ncommit: HEAD\n---\n", "has no verdict"),
        ("---\nverdict: looks good\ncommit: HEAD\n---\n", "unknown verdict 'looks good'"),
        ("---\nverdict: WORD\n---\n", "does not say which commit"),
    ],
)
async def test_an_unreadable_or_incomplete_verdict_is_red(with_artifacts, gate, file, word, text, said):
    result = await GATES[gate].ask(with_artifacts({file: text.replace("WORD", word)}))
    assert result.answer is Answer.FAIL
    assert said in result.sentence


@pytest.mark.parametrize(("gate", "file", "word"), REPORTS)
async def test_a_missing_verdict_is_red(look, gate, file, word):
    result = await GATES[gate].ask(look)
    assert result.answer is Answer.FAIL
    assert f"{file} is missing" in result.sentence


async def test_requested_changes_are_quoted(with_artifacts):
    body = "# Findings\n\nThe empty order is not handled.\nSee pricing.py."
    result = await GATES["review_verdict"].ask(with_artifacts({"10-review.md": artifact("request_changes", body=body)}))
    assert result.answer is Answer.FAIL
    assert result.sentence.endswith("The empty order is not handled. See pricing.py.")
    assert "The empty order" in result.evidence["review"]


async def test_a_long_review_is_cut_in_the_sentence(with_artifacts):
    asked = with_artifacts({"10-review.md": artifact("request_changes", body="word " * 1_000)})
    assert len((await GATES["review_verdict"].ask(asked)).sentence) < 500


async def test_a_passed_report_needs_orchs_own_green_run_of_the_tip(with_artifacts, tests):
    tests.failing = ("test_a", "test_b")
    asked = with_artifacts({"11-test-report.md": artifact("passed")})
    result = await GATES["tests_passed"].ask(asked)
    assert (result.answer, result.evidence["failing"]) == (Answer.FAIL, ("test_a", "test_b"))
    assert "report says passed, but Orch's own test run is red: 2 of 9 tests fail" in result.sentence
    assert tests.asked == [asked.tip]


async def test_a_failed_report_is_red_and_costs_no_test_run(with_artifacts, tests):
    asked = with_artifacts({"11-test-report.md": artifact("failed", body="Criterion 2 is not met.")})
    result = await GATES["tests_passed"].ask(asked)
    assert result.answer is Answer.FAIL
    assert "Criterion 2 is not met." in result.sentence
    assert tests.asked == []


class OneText:
    """A workspace in which every file is the same text: for many examples without a commit each."""

    def __init__(self, text):
        self.text = text

    def read(self, commit, path):
        return self.text

    def files(self, commit, folder):
        return (f"{folder}/0001.md",)


@pytest.mark.parametrize(("gate", "file", "word"), REPORTS)
@given(noise=st.text(max_size=80), cut=st.integers(0, 200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_garbage_is_never_green(look, gate, file, word, noise, cut):
    whole = artifact(word, look.head)
    header = whole.index("\n---\n")
    for text in (noise, f"---\n{noise}\n---\n", whole[: min(cut, header)], f"{noise}x{whole}"):
        result = await GATES[gate].ask(replace(look, workspace=OneText(text)))
        assert result.answer is Answer.FAIL


@given(noise=st.text(max_size=80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_decision_record_of_garbage_is_never_green(look, noise):
    for text in (noise, f"---\nstatus: {noise}\n---\n", f"## Decision\n{noise}"):
        result = await GATES["architecture_recorded"].ask(replace(look, workspace=OneText(text)))
        assert result.answer is Answer.FAIL


# --- branch_mergeable


async def test_before_the_merge_gate_ran_the_item_waits_for_its_turn(look):
    result = await GATES["branch_mergeable"].ask(look)
    assert (result.answer, result.waits_for) == (Answer.PENDING, WaitKind.MERGE_TURN)
    assert result.sentence == "The merge gate has not run yet."


async def test_a_busy_merge_gate_is_waited_for(look):
    asked = replace(look, merge=MergeAttempt(MergeEnd.BUSY, "WID-3 is landing."))
    result = await GATES["branch_mergeable"].ask(asked)
    assert (result.answer, result.waits_for, result.sentence) == (
        Answer.PENDING,
        WaitKind.MERGE_TURN,
        "WID-3 is landing.",
    )


async def test_a_validated_branch_passes_with_its_commit(look):
    attempt = MergeAttempt(MergeEnd.VALIDATED, "Green.", base="b" * 40, commit="c" * 40)
    result = await GATES["branch_mergeable"].ask(replace(look, merge=attempt))
    assert (result.answer, result.commit) == (Answer.PASS, "c" * 40)


async def test_a_validated_branch_without_a_commit_is_no_answer_at_all(look):
    with pytest.raises(CouldNotRun, match="names no commit"):
        await GATES["branch_mergeable"].ask(replace(look, merge=MergeAttempt(MergeEnd.VALIDATED, "Green.")))


async def test_a_conflict_names_its_files(look):
    attempt = MergeAttempt(MergeEnd.CONFLICT, "Conflict.", base="b" * 40, files=("shop/a.py", "shop/b.py"))
    result = await GATES["branch_mergeable"].ask(replace(look, merge=attempt))
    assert (result.answer, result.evidence["files"]) == (Answer.FAIL, ("shop/a.py", "shop/b.py"))
    assert "conflicts with main in shop/a.py, shop/b.py" in result.sentence


async def test_a_red_combined_tree_names_its_failing_tests(look):
    run = TestRun("c" * 40, False, "1 of 9 tests fails: test_bundle.", 1.0, Path("log"), ("test_bundle",))
    attempt = MergeAttempt(MergeEnd.RED, "Red.", base="b" * 40, commit="c" * 40, tests=run)
    result = await GATES["branch_mergeable"].ask(replace(look, merge=attempt))
    assert (result.answer, result.evidence["failing"]) == (Answer.FAIL, ("test_bundle",))
    assert "1 of 9 tests fails: test_bundle." in result.sentence


# --- errors


async def test_an_unreachable_forge_is_an_error_and_no_answer(look, ci):
    ci.error = Unavailable("The forge does not answer.")
    with pytest.raises(Unavailable):
        await GATES["ci_green"].ask(look)


async def test_tests_that_cannot_be_run_are_an_error_and_no_answer(with_artifacts, tests):
    tests.error = CouldNotRun("No such command.")
    with pytest.raises(CouldNotRun):
        await GATES["tests_passed"].ask(with_artifacts({"11-test-report.md": artifact("passed")}))
