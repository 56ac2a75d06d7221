"""A rejection that was made by a move or a button has the reason that was written on the card."""

from dataclasses import replace

from deployments import operator
from pipeline.model import Answer, Choice, Decision, WaitKind, WorkItem
from pipeline.stages import Stage
from pipeline.store import waits
from tasks import gates
from tests.support.services import Desk


def rejected(desk: Desk, kind: WaitKind = WaitKind.APPROVAL, *, text: str = "") -> WorkItem:
    """An item whose analysis was rejected, after two comments on its card: one before it was asked about."""
    item = desk.item(Stage.ANALYSIS, tip="a" * 40, head="a" * 40)
    desk.clock.catch_up()
    desk.sandbox.comment(item.key, "I want this soon.")
    desk.clock.catch_up()
    desk.asks(item, kind)
    desk.sandbox.comment(item.key, "No e-mail, please.\nA letter will do.")
    desk.sandbox.comment(item.key, "Asked.", who="api")
    decision = Decision(kind, Choice.REJECT, "a" * 40, "ada", text, desk.clock.now)
    desk.store.write(waits.decide, item, decision)
    return item


async def test_the_analyst_is_told_why(desk: Desk) -> None:
    item = rejected(desk)
    result = await gates.answer(desk.root, item, desk.project, "analysis_approved", None)
    assert (result.answer, result.sentence) == (
        Answer.FAIL,
        "ada rejected the analysis at aaaaaaaaaaaa: No e-mail, please. A letter will do.",
    )


async def test_what_was_said_with_the_rejection_is_the_reason(desk: Desk) -> None:
    item = rejected(desk, text="Too dear.")
    asked = desk.sandbox.state().requests["plane"]
    result = await gates.answer(desk.root, item, desk.project, "analysis_approved", None)
    assert result.sentence.endswith(": Too dear.")
    assert desk.sandbox.state().requests["plane"] == asked


async def test_a_stranger_gives_no_reason(desk: Desk) -> None:
    item = rejected(desk)
    root = replace(desk.root, settings=desk.settings.model_copy(update={"people": ("bob@example.org",)}))
    result = await gates.answer(root, item, desk.project, "analysis_approved", None)
    assert result.sentence.endswith("without giving a reason.")


async def test_comments_that_cannot_be_read_leave_it_without_a_reason(desk: Desk) -> None:
    item = rejected(desk)
    desk.sandbox.fail_next("plane", 1, status=403, match="comments")
    result = await gates.answer(desk.root, item, desk.project, "analysis_approved", None)
    assert result.sentence.endswith("without giving a reason.")


async def test_a_question_is_answered_by_starting_the_issue_again(desk: Desk) -> None:
    item = desk.item()
    desk.asks(item, WaitKind.ANSWER, commit="start")
    said = operator.signal(desk.settings, item.key, "start_requested", "", "ada")
    assert said == f"{item.key}: answer recorded for the answer of start"
    [decision] = desk.store.read(waits.decisions, item.id)
    assert "Read it anew" in decision.text
