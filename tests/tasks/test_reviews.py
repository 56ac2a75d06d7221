"""People on the forge: whose verdict takes the item back, and what their pushes and their closing lead to."""

from collections.abc import Iterator

import pytest

from deployments import operator
from deployments.sandbox.client import SandboxClient
from pipeline.inbound.gitea import parse_gitea
from pipeline.model import Hold, WorkItem
from pipeline.stages import Role, Stage
from pipeline.store import inbox, items
from tasks.inbox import Own, receive
from tasks.signals import drain
from tests.deployments.sandbox.receiver import Receiver
from tests.support.services import Desk

OWN = Own("bot-id", "orch-bot")
REJECTED, APPROVED = "pull_request_review_rejected", "pull_request_review_approved"


@pytest.fixture(scope="module")
def sandbox(sandbox: SandboxClient) -> SandboxClient:
    sandbox.ci("off")
    return sandbox


@pytest.fixture
def gitea(desk: Desk) -> Iterator[Receiver]:
    """What Gitea tells, to be handed on when the test says so."""
    receiver = Receiver()
    desk.sandbox.gitea_webhook(receiver.url, desk.settings.gitea_webhook_secret.get_secret_value())
    yield receiver
    receiver.close()


async def with_pull(desk: Desk, stage: Stage) -> WorkItem:
    """An item at `stage` whose branch has a commit and an open pull request of Orch's."""
    card = desk.card()
    branch = f"feature/{card.key}-it"
    tip = desk.sandbox.commit(branch, {f"{card.key}.txt": "x"}, who="api")
    pull = await desk.root.forge.open_pull(desk.project, branch=branch, title=card.key, body="")
    return desk.item(stage, card, tip=tip, pull_number=pull.number)


def hears(desk: Desk, gitea: Receiver, item: WorkItem, event: str) -> str:
    """Orch receives Gitea's next delivery of this kind about the item; its note."""
    told = gitea.wait(lambda one: one.header("X-Gitea-Event-Type") == event and item.branch in one.raw.decode())
    gitea.got.remove(told)
    delivery = parse_gitea(told.headers, told.raw, desk.settings.gitea_webhook_secret.get_secret_value())
    return receive(desk.root, delivery, told.raw.decode(), OWN).note


@pytest.mark.parametrize("stage", [Stage.REVIEW, Stage.TESTING, Stage.DEPLOY])
async def test_changes_that_a_person_officially_requests_take_the_item_back(
    desk: Desk, gitea: Receiver, stage: Stage
) -> None:
    item = await with_pull(desk, stage)
    desk.sandbox.review(item.pull_number or 0, "REQUEST_CHANGES")
    hears(desk, gitea, item, REJECTED)
    assert await drain(desk.root, item.key) == [
        "review_submitted: back to development: ada requested changes on the pull request."
    ]
    back = desk.again(item)
    assert (back.stage, back.attempts) == (Stage.DEVELOPMENT, {Role.DEVELOPER.value: 1})
    assert await drain(desk.root, item.key) == []


async def test_the_developer_is_told_what_a_person_has_written(desk: Desk, gitea: Receiver) -> None:
    item = await with_pull(desk, Stage.REVIEW)
    remarks = [("shop/cart.py", 7, "Round half up."), ("README.md", 0, "Say so here.")]
    desk.sandbox.review(item.pull_number or 0, "REQUEST_CHANGES", body="Prices are wrong.", remarks=remarks)
    hears(desk, gitea, item, REJECTED)
    await drain(desk.root, item.key)
    assert desk.again(item).feedback == (
        "ada requested changes on the pull request.\n\n"
        "Prices are wrong.\n- shop/cart.py:7: Round half up.\n- README.md: Say so here."
    )


async def test_a_verdict_counts_although_its_remarks_cannot_be_read(desk: Desk, gitea: Receiver) -> None:
    item = await with_pull(desk, Stage.REVIEW)
    desk.sandbox.review(item.pull_number or 0, "REQUEST_CHANGES", body="No.", remarks=[("shop/cart.py", 7, "Why?")])
    hears(desk, gitea, item, REJECTED)
    desk.sandbox.fail_next("gitea", 1, status=404, match="/comments")
    await drain(desk.root, item.key)
    back = desk.again(item)
    assert (back.stage, back.feedback) == (Stage.DEVELOPMENT, "ada requested changes on the pull request.\n\nNo.")


async def test_changes_that_are_requested_while_ci_runs_have_the_developer_work_anew(
    desk: Desk, gitea: Receiver
) -> None:
    item = await with_pull(desk, Stage.DEVELOPMENT)
    desk.sandbox.review(item.pull_number or 0, "REQUEST_CHANGES", body="Not like this.")
    hears(desk, gitea, item, REJECTED)
    await drain(desk.root, item.key)
    back = desk.again(item)
    assert (back.stage, back.visit, back.attempts) == (Stage.DEVELOPMENT, item.visit + 1, {Role.DEVELOPER.value: 1})
    assert back.feedback.endswith("Not like this.")


async def test_changes_that_are_requested_of_a_held_item_count_once_it_goes_on(desk: Desk, gitea: Receiver) -> None:
    item = await with_pull(desk, Stage.TESTING)
    desk.store.write(items.hold, item.id, Hold.BLOCKED, "The test command is gone.", desk.clock.now)
    desk.sandbox.review(item.pull_number or 0, "REQUEST_CHANGES")
    hears(desk, gitea, item, REJECTED)
    assert await drain(desk.root, item.key) == []
    operator.retry(desk.settings, item.key, "ada")
    await drain(desk.root, item.key)
    assert desk.again(item).stage is Stage.DEVELOPMENT


async def test_changes_that_a_mere_reader_requests_take_nothing_back(desk: Desk, gitea: Receiver) -> None:
    item = await with_pull(desk, Stage.REVIEW)
    desk.sandbox.review(item.pull_number or 0, "REQUEST_CHANGES", who="eve")
    hears(desk, gitea, item, REJECTED)
    [followed] = await drain(desk.root, item.key)
    assert followed.endswith("eve requested changes, but that verdict is not official or stands no more.")
    assert desk.again(item).stage is Stage.REVIEW


async def test_a_verdict_that_was_taken_back_before_it_was_looked_at_counts_no_more(
    desk: Desk, gitea: Receiver
) -> None:
    item = await with_pull(desk, Stage.REVIEW)
    desk.sandbox.review(item.pull_number or 0, "REQUEST_CHANGES")
    desk.sandbox.review(item.pull_number or 0, "APPROVED")
    hears(desk, gitea, item, REJECTED)
    await drain(desk.root, item.key)
    assert desk.again(item).stage is Stage.REVIEW


async def test_an_approval_passes_nothing_and_asks_gitea_nothing(desk: Desk, gitea: Receiver) -> None:
    item = await with_pull(desk, Stage.REVIEW)
    desk.sandbox.review(item.pull_number or 0, "APPROVED")
    hears(desk, gitea, item, APPROVED)
    asked = desk.sandbox.state().requests["gitea"]
    assert await drain(desk.root, item.key) == [
        "review_submitted: ignored: A review on the pull request passes no gate by itself."
    ]
    assert desk.sandbox.state().requests["gitea"] == asked
    assert desk.again(item).stage is Stage.REVIEW


async def test_a_verdict_waits_while_gitea_cannot_say_whether_it_counts(desk: Desk, gitea: Receiver) -> None:
    item = await with_pull(desk, Stage.REVIEW)
    desk.sandbox.review(item.pull_number or 0, "REQUEST_CHANGES")
    hears(desk, gitea, item, REJECTED)
    desk.sandbox.fail_next("gitea", 1, status=503, match="reviews")
    assert await drain(desk.root, item.key) == []
    assert [one.signal for one in desk.store.read(inbox.unconsumed, item.key)] == ["review_submitted"]
    assert len(await drain(desk.root, item.key)) == 1
    assert desk.again(item).stage is Stage.DEVELOPMENT


async def test_reviews_of_a_pull_request_that_is_gone_count_for_nothing(desk: Desk, gitea: Receiver) -> None:
    item = await with_pull(desk, Stage.REVIEW)
    desk.sandbox.review(item.pull_number or 0, "REQUEST_CHANGES")
    hears(desk, gitea, item, REJECTED)
    desk.sandbox.fail_next("gitea", 1, status=404, match="reviews")
    await drain(desk.root, item.key)
    assert desk.again(item).stage is Stage.REVIEW


async def test_what_orch_pushes_and_closes_itself_is_no_persons_doing(desk: Desk, gitea: Receiver) -> None:
    item = await with_pull(desk, Stage.REVIEW)
    desk.sandbox.close_pull(item.pull_number or 0, who="api")
    assert hears(desk, gitea, item, "push") == hears_closed(desk, gitea, item) == "our own change"


async def test_a_persons_push_sends_the_item_back_to_review_once(desk: Desk, gitea: Receiver) -> None:
    item = await with_pull(desk, Stage.TESTING)
    hears(desk, gitea, item, "push")  # our own
    new = desk.sandbox.commit(item.branch, {"more.txt": "by hand"})
    assert hears(desk, gitea, item, "push") == f"{item.key}: pushed"
    assert await drain(desk.root, item.key) == [
        "pushed: back to review: ada pushed to the task branch, so earlier verdicts are void."
    ]
    assert (desk.again(item).stage, desk.again(item).attempts) == (Stage.REVIEW, {})
    assert new != item.tip


async def test_a_person_who_closes_the_pull_request_is_asked_what_to_do(desk: Desk, gitea: Receiver) -> None:
    item = await with_pull(desk, Stage.REVIEW)
    desk.sandbox.close_pull(item.pull_number or 0)
    hears_closed(desk, gitea, item)
    await drain(desk.root, item.key)
    held = desk.again(item)
    assert (held.hold, held.hold_reason) == ("needs input", "ada closed the pull request without merging it.")


def hears_closed(desk: Desk, gitea: Receiver, item: WorkItem) -> str:
    gitea.wait(lambda one: b'"closed"' in one.raw and item.branch in one.raw.decode())
    gitea.got[:] = [one for one in gitea.got if b'"action": "opened"' not in one.raw]
    return hears(desk, gitea, item, "pull_request")
