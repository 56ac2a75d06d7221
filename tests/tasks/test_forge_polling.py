"""What became of pull requests and no webhook told is found by one listing a repository, once."""

import asyncio

import pytest

from benchmarks.counting import counted_requests
from pipeline.model import Delivery, InboundSignal, Pull, ReviewKind, WorkItem
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import counters, items
from tasks import signals
from tasks.forge_polling import poll_repository
from tasks.inbox import Own, receive
from tests.support.services import Desk


async def with_pull(desk: Desk, stage: Stage = Stage.REVIEW) -> tuple[WorkItem, Pull]:
    """An item at `stage` whose pull request is open, and known to be."""
    item = desk.item(stage)
    await asyncio.to_thread(desk.sandbox.commit, item.branch, {"shop/receipt.py": f"# {item.key}\n"}, who="api")
    pull = await desk.root.forge.open_pull(desk.project, branch=item.branch, title=item.title, body="")
    item = desk.store.write(items.update, item, None, desk.clock.now, pull_number=pull.number)
    await polled(desk)
    return item, pull


async def polled(desk: Desk) -> list[str]:
    return await poll_repository(desk.root, desk.project)


def heard(desk: Desk) -> list[str]:
    return [row.signal for row in desk.signals]


async def test_a_pull_request_that_a_person_closed_is_heard_of_once(desk: Desk) -> None:
    item, pull = await with_pull(desk)
    await asyncio.to_thread(desk.sandbox.close_pull, pull.number)
    assert await polled(desk) == [f"{item.key}: pr_closed, which no webhook told"]
    assert await polled(desk) == []
    assert heard(desk) == ["pr_closed"]


async def test_one_that_a_person_merged_is_told_with_who_did(desk: Desk) -> None:
    _item, pull = await with_pull(desk)
    person = desk.sandbox.gitea_api()
    with person:
        answer = await asyncio.to_thread(
            person.post, f"repos/{desk.project.repository}/pulls/{pull.number}/merge", json={"Do": "merge"}
        )
    assert answer.status_code == 200, answer.text
    await polled(desk)
    [signal] = desk.signals
    assert (signal.signal, signal.payload["number"]) == ("pr_merged", pull.number)
    assert signal.payload["merged_by"] == signal.actor != ""


async def test_what_orch_closed_itself_or_what_has_ended_is_none_of_its_news(desk: Desk) -> None:
    item, pull = await with_pull(desk)
    desk.move(item, Stage.CANCELLED)
    await asyncio.to_thread(desk.sandbox.close_pull, pull.number)
    assert await polled(desk) == []
    assert heard(desk) == []


async def test_the_pull_request_that_closed_with_a_stopped_item_does_not_hold_the_fresh_one(desk: Desk) -> None:
    """Both have the same branch; Orch's own closing is no news by webhook, so polling is the first to see it."""
    item, pull = await with_pull(desk)
    await asyncio.to_thread(desk.sandbox.close_pull, pull.number)
    desk.move(item, Stage.CANCELLED)
    fresh = desk.item(card=await asyncio.to_thread(desk.sandbox.card, item.key), branch=item.branch)
    await polled(desk)
    followed = await signals.drain(desk.root, item.key)
    assert followed == [f"pr_closed: ignored: Pull request #{pull.number} is not that of {item.key}."]
    assert desk.again(fresh).hold is None


async def test_changes_that_were_requested_are_heard_of_once_a_visit(desk: Desk) -> None:
    item, pull = await with_pull(desk)
    await asyncio.to_thread(desk.sandbox.review, pull.number, "REQUEST_CHANGES")
    assert await polled(desk) == [f"{item.key}: review_submitted, which no webhook told"]
    await asyncio.to_thread(desk.sandbox.commit, item.branch, {"shop/more.py": "# more\n"})
    assert await polled(desk) == []
    assert [(s.payload["kind"], s.payload["number"]) for s in desk.signals] == [("rejected", pull.number)]


@pytest.mark.parametrize("kind", [ReviewKind.COMMENT, ReviewKind.APPROVED])
async def test_a_webhook_of_another_review_does_not_hide_that_changes_were_requested(
    desk: Desk, kind: ReviewKind
) -> None:
    item, pull = await with_pull(desk)
    await asyncio.to_thread(desk.sandbox.review, pull.number, "REQUEST_CHANGES")
    [review] = await desk.root.forge.reviews(desk.project, pull.number)
    other = InboundSignal(
        desk.project.repository,
        item.branch,
        Signal.REVIEW_SUBMITTED,
        actor_id=review.reviewer,
        payload={"kind": kind.value, "reviewer": review.reviewer, "base": desk.project.default_branch},
    )
    receive(desk.root, Delivery("gitea", "a review", kind, (other,)), "{}", Own(frozenset(), "orch-bot"))
    assert await polled(desk) == [f"{item.key}: review_submitted, which no webhook told"]
    assert [signal.payload["kind"] for signal in desk.signals] == [kind, "rejected"]


async def test_a_request_from_while_ci_ran_counts_and_one_that_the_developer_has_worked_on_does_not(desk: Desk) -> None:
    item, pull = await with_pull(desk, Stage.DEVELOPMENT)
    await asyncio.to_thread(desk.sandbox.review, pull.number, "REQUEST_CHANGES")
    item = desk.move(item, Stage.REVIEW)
    assert await polled(desk) == [f"{item.key}: review_submitted, which no webhook told"]
    desk.clock.forward(5)
    desk.move(desk.move(item, Stage.DEVELOPMENT), Stage.REVIEW)
    await asyncio.to_thread(desk.sandbox.review, pull.number, "COMMENT")
    assert await polled(desk) == []
    assert heard(desk) == [Signal.REVIEW_SUBMITTED]


async def test_without_news_a_look_is_one_call(desk: Desk) -> None:
    await with_pull(desk)
    desk.clock.forward(60)
    await polled(desk)
    with counted_requests({desk.sandbox.plane_url: "plane", desk.sandbox.gitea_url: "gitea"}) as requests:
        assert await polled(desk) == []
    assert requests == {"gitea": 1}
    assert desk.store.read(counters.totals)[counters.REPLAYED] == 0
