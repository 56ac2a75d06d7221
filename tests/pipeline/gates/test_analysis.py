"""Start, analysis and architecture: what must be written, and who must have agreed to it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.gates import GATES
from pipeline.model import Answer, Choice, Decision, WaitKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILES = {"01-brd.md": "# Need\n", "02-acceptance.md": "1. It works.\n", "03-test-plan.md": "Try it.\n"}


def decision(commit, choice=Choice.APPROVE, kind=WaitKind.APPROVAL, actor="Ann", text=""):
    return Decision(kind=kind, choice=choice, commit=commit, actor=actor, text=text, at=NOW)


@pytest.mark.parametrize(
    ("title", "description", "said"),
    [
        ("ab", "x" * 30, "the title has 2 of at least 3 characters"),
        ("Title", "x" * 29, "the description has 29 of at least 30 characters"),
        ("Title", " \n\t " * 50, "the description has 0 of at least 30 characters"),
        ("Title", "\u200b" * 50, "the description has 0 of at least 30 characters"),
        ("", "", "the title has 0 of at least 3 characters and the description has 0"),
    ],
)
async def test_an_issue_that_says_too_little_is_told_what_is_missing(look, title, description, said):
    asked = replace(look, item=replace(look.item, title=title), description=description)
    result = await GATES["intake_complete"].ask(asked)
    assert result.answer is Answer.FAIL
    assert said in result.sentence


async def test_an_issue_with_title_and_description_comes_in(look):
    result = await GATES["intake_complete"].ask(replace(look, description="A shop needs receipts on paper."))
    assert result.answer is Answer.PASS


async def test_the_wanted_length_is_the_projects(look):
    result = await GATES["intake_complete"].ask(replace(look, description="Short", min_description_chars=5))
    assert result.answer is Answer.PASS


async def test_the_three_files_of_the_analysis_are_enough(with_artifacts):
    asked = with_artifacts(FILES)
    result = await GATES["analysis_files"].ask(asked)
    assert (result.answer, result.commit) == (Answer.PASS, asked.tip)


async def test_a_missing_and_a_blank_file_are_both_named(with_artifacts):
    result = await GATES["analysis_files"].ask(with_artifacts({"01-brd.md": " \n\n", "03-test-plan.md": "Try it."}))
    assert result.answer is Answer.FAIL
    assert result.sentence == "The analysis is not complete: 01-brd.md is empty, 02-acceptance.md is missing."


async def test_another_items_analysis_does_not_count(look, repository):
    tip = repository.commit({f"docs/work-items/WID-1/{name}": text for name, text in FILES.items()})
    result = await GATES["analysis_files"].ask(replace(look, tip=tip))
    assert result.answer is Answer.FAIL


async def test_an_undecided_analysis_waits_for_a_person(look):
    result = await GATES["analysis_approved"].ask(look)
    assert (result.answer, result.waits_for, result.commit) == (Answer.PENDING, WaitKind.APPROVAL, look.tip)


async def test_an_approval_of_the_tip_names_person_and_commit(look):
    result = await GATES["analysis_approved"].ask(replace(look, decisions=(decision(look.tip),)))
    assert (result.answer, result.commit) == (Answer.PASS, look.tip)
    assert "Ann" in result.sentence
    assert look.tip[:12] in result.sentence


async def test_a_rejection_carries_the_persons_words(look):
    rejected = decision(look.tip, Choice.REJECT, text="Leave shipping alone.")
    result = await GATES["analysis_approved"].ask(replace(look, decisions=(rejected,)))
    assert result.answer is Answer.FAIL
    assert "Leave shipping alone." in result.sentence
    assert result.evidence["text"] == "Leave shipping alone."


async def test_the_latest_decision_about_the_tip_counts(look):
    decisions = (decision(look.tip), decision(look.tip, Choice.REJECT, text="No."))
    result = await GATES["analysis_approved"].ask(replace(look, decisions=decisions))
    assert result.answer is Answer.FAIL
    result = await GATES["analysis_approved"].ask(replace(look, decisions=decisions[::-1]))
    assert result.answer is Answer.PASS


async def test_a_decision_about_another_commit_does_not_count_and_is_mentioned(look):
    result = await GATES["analysis_approved"].ask(replace(look, decisions=(decision("f" * 40),)))
    assert result.answer is Answer.PENDING
    assert "Ann's approval was about another commit, ffffffffffff, and does not count." in result.sentence


async def test_a_decision_of_another_kind_does_not_count(look):
    others = (
        decision(look.tip, kind=WaitKind.CONFIRMATION),
        decision(look.tip, Choice.CONFIRM),
        decision(look.tip, Choice.ANSWER, kind=WaitKind.ANSWER),
    )
    result = await GATES["analysis_approved"].ask(replace(look, decisions=others))
    assert result.answer is Answer.PENDING


@pytest.mark.parametrize(
    "text",
    [
        "---\nstatus: accepted\ndecision: Use a table.\n---\n# Why\n",
        "# 1. Tables\n\n## Status\n\nAccepted\n\n## Context\n\n## Decision\n\nUse a table.\n",
        "# Tables\n\n### status:\naccepted\n\n### DECISION ##\n#### Detail\nUse a table.\n",
        "---\nstatus: accepted\n---\n\n## Decision\n\nUse a table.\n",
    ],
)
async def test_a_record_has_status_and_decision_in_front_matter_or_headings(with_artifacts, text):
    result = await GATES["architecture_recorded"].ask(with_artifacts({"06-adr/0001-tables.md": text}))
    assert result.answer is Answer.PASS
    assert "0001-tables.md" in result.sentence


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no status and no decision"),
        ("---\nstatus: accepted\n---\n", "has no decision"),
        ("---\nstatus:\ndecision: Use a table.\n---\n", "has no status"),
        ("## Status\n\n## Decision\n\nUse a table.\n", "has no status"),
        ("## Status\nAccepted\n\n## Decision\n<!-- say what\nwas decided -->\n", "has no decision"),
        ("---\nstatus: accepted\nstatus: open\ndecision: x\n---\n## Status\na\n## Decision\nb\n", "given twice"),
    ],
)
async def test_an_incomplete_record_is_named(with_artifacts, text, said):
    result = await GATES["architecture_recorded"].ask(with_artifacts({"06-adr/0001-tables.md": text}))
    assert result.answer is Answer.FAIL
    assert "06-adr/0001-tables.md" in result.sentence
    assert said in result.sentence


async def test_no_record_at_all_is_red(with_artifacts):
    good = "---\nstatus: accepted\ndecision: x\n---\n"
    asked = with_artifacts({"06-adr/notes.txt": good, "06-adr/deep/0001.md": good, "0001.md": good})
    result = await GATES["architecture_recorded"].ask(asked)
    assert result.answer is Answer.FAIL
    assert "no .md file" in result.sentence
