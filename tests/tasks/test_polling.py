"""What people do on the board and no webhook tells is found by polling, once; what was heard leads to nothing."""

import asyncio
from dataclasses import replace

import pytest

from benchmarks.counting import counted_requests
from pipeline.model import WaitKind
from pipeline.stages import Stage, Status
from pipeline.states import States
from pipeline.store import counters, outbox, waits
from tasks.inbox import identify
from tasks.outbox import deliver
from tasks.polling import each_project, poll_board
from tests.support.deliveries import plane_says
from tests.support.hooks import plane_moved
from tests.support.services import Desk


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """A desk whose board has been looked through."""
    await poll_board(desk.root, desk.project)
    for total in (counters.REPLAYED, counters.DEDUPED, counters.SKIPPED_TERMINAL):
        desk.store.write(counters.count, total, -desk.store.read(counters.totals)[total])
    forget(desk)
    return desk


def forget(desk: Desk) -> None:
    """Cards of earlier tests are none of this one's."""
    with desk.store.begin() as session:
        for row in [*desk.signals, *desk.letters]:
            session.delete(session.merge(row))


async def move(desk: Desk, key: str, state: str, who: str = "person") -> None:
    await asyncio.to_thread(desk.sandbox.move_card, key, state, who=who)  # type: ignore[arg-type]


async def polled(desk: Desk) -> list[str]:
    return await poll_board(desk.root, desk.project)


def heard(desk: Desk) -> list[tuple[str, str]]:
    return [(row.item_key, row.signal) for row in desk.signals]


def totals(desk: Desk) -> dict[str, int]:
    return dict(desk.store.read(counters.totals))


async def test_a_start_that_no_webhook_told_is_replayed_once(desk: Desk) -> None:
    card = desk.card()
    await move(desk, card.key, "To Analyse")
    assert await polled(desk) == [f"{card.key}: start_requested, which no webhook told"]
    assert await polled(desk) == []
    assert heard(desk) == [(card.key, "start_requested")]
    assert [row.payload["event"] for row in desk.letters] == ["orch.signal.start_requested"]
    assert totals(desk)[counters.REPLAYED] == 1


@pytest.mark.parametrize(
    ("state", "kind", "choice"),
    [
        ("Approved", WaitKind.APPROVAL, "approve"),
        ("Rejected", WaitKind.APPROVAL, "reject"),
        ("Confirm Deploy", WaitKind.CONFIRMATION, "confirm"),
    ],
)
async def test_a_decision_that_no_webhook_told_is_recorded_for_the_commit_that_was_shown(
    desk: Desk, state: str, kind: WaitKind, choice: str
) -> None:
    card = desk.card()
    item = desk.item(Stage.DEPLOY if kind is WaitKind.CONFIRMATION else Stage.ANALYSIS, card)
    desk.asks(item, kind, commit="c" * 40)
    await polled(desk)
    await move(desk, card.key, state)
    await polled(desk)
    assert [(d.choice, d.commit) for d in desk.store.read(waits.decisions, item.id)] == [(choice, "c" * 40)]


async def test_a_stop_that_no_webhook_told_is_heard(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(Stage.DEVELOPMENT, card)
    await move(desk, card.key, "Stop")
    await polled(desk)
    assert desk.again(item).cancel_requested_at == desk.clock.now


async def test_a_move_that_a_webhook_brought_leads_to_nothing(desk: Desk) -> None:
    card = desk.card()
    await desk.root.states.of(desk.project)
    await move(desk, card.key, "To Analyse")
    body = plane_moved(desk, card, "To Analyse")
    assert plane_says(desk, body, await identify(desk.root)).items == (card.key,)
    assert await polled(desk) == []
    assert (heard(desk), totals(desk)[counters.DEDUPED]) == ([(card.key, "start_requested")], 1)


async def test_a_webhook_that_comes_after_polling_leads_to_nothing(desk: Desk) -> None:
    card = desk.card()
    await move(desk, card.key, "To Analyse")
    await polled(desk)
    body = plane_moved(desk, card, "To Analyse")
    assert plane_says(desk, body, await identify(desk.root)).note == "found by polling before"
    assert heard(desk) == [(card.key, "start_requested")]


async def test_a_webhook_that_comes_after_what_polling_led_to_says_nothing_new(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(card=card)
    desk.asks(item, WaitKind.APPROVAL, commit="c" * 40)
    await move(desk, card.key, "Approved")
    await polled(desk)
    desk.move(desk.again(item), Stage.ARCHITECTURE)
    body = plane_moved(desk, card, "Approved", stands_in="Architecture")
    assert plane_says(desk, body, await identify(desk.root)).note == "found by polling before"
    assert [row.kind for row in desk.letters if row.kind == "comment"] == []


async def test_the_same_word_said_again_later_is_heard_again(desk: Desk) -> None:
    card = desk.card()
    for state in ("To Analyse", "Backlog", "To Analyse"):
        await move(desk, card.key, state)
        await polled(desk)
    assert heard(desk) == [(card.key, "start_requested")] * 2


async def test_our_own_showing_is_no_move(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(card=card)
    desk.store.write(outbox.status, item.key, desk.clock.now)
    await deliver(desk.root)
    assert desk.again(item).shown is Status.ANALYSIS
    assert await polled(desk) == []
    assert heard(desk) == []


async def test_a_state_that_stands_in_for_another_starts_nothing(desk: Desk) -> None:
    await move(desk, desk.card().key, "In Progress")
    assert await polled(desk) == []
    assert heard(desk) == []


async def test_on_a_board_without_to_analyse_a_card_that_comes_to_in_progress_starts_once(desk: Desk) -> None:
    project = desk.project.model_copy(update={"states": {**desk.project.states, "To Analyse": Status.MONITORING}})
    root = replace(desk.root, states=States(desk.root.tracker, ttl_s=0, clock=desk.clock.seconds))
    old, new = desk.card(), desk.card()
    await move(desk, old.key, "In Progress")
    assert await poll_board(root, project) == []  # it may have stood there for years
    await move(desk, new.key, "In Progress")
    assert await poll_board(root, project) == [f"{new.key}: start_requested, which no webhook told"]
    assert await poll_board(root, project) == []
    item = desk.item(Stage.DEVELOPMENT, new)
    for state in ("Backlog", "In Progress"):
        await move(desk, item.key, state)
        await poll_board(root, project)
    assert heard(desk) == [(new.key, "start_requested")]


async def test_a_move_of_a_card_whose_item_is_done_is_counted_and_nothing_else(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(Stage.DEPLOY, card)
    desk.move(item, Stage.DONE)
    await move(desk, card.key, "Approved")
    assert await polled(desk) == []
    assert (heard(desk), totals(desk)[counters.SKIPPED_TERMINAL]) == ([], 1)


async def test_a_cancelled_item_hears_a_fresh_start_alone(desk: Desk) -> None:
    card = desk.card()
    desk.move(desk.item(card=card), Stage.CANCELLED)
    await move(desk, card.key, "Approved")
    await polled(desk)
    await move(desk, card.key, "To Analyse")
    await polled(desk)
    assert heard(desk) == [(card.key, "start_requested")]


async def test_an_answer_that_no_webhook_told_is_a_decision_and_ours_is_none(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(card=card)
    desk.asks(item, WaitKind.ANSWER)
    await polled(desk)
    await asyncio.to_thread(desk.sandbox.comment, card.key, "I have written this", who="api")
    await asyncio.to_thread(desk.sandbox.comment, card.key, "Use euros")
    await polled(desk)
    await polled(desk)
    assert [d.text for d in desk.store.read(waits.decisions, item.id)] == ["Use euros"]


async def test_an_answer_whose_comments_could_not_be_read_is_read_the_next_time(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(card=card)
    desk.asks(item, WaitKind.ANSWER)
    await polled(desk)
    await asyncio.to_thread(desk.sandbox.comment, card.key, "Use euros")
    desk.sandbox.fail_next("plane", 1, status=503, match="comments")
    assert "could not be polled" in (await each_project(desk.root, poll_board))[0]
    await polled(desk)
    assert [d.text for d in desk.store.read(waits.decisions, item.id)] == ["Use euros"]


@pytest.mark.parametrize(("people", "heard"), [((), 1), (("Ada",), 1), (("Bob",), 0)])
async def test_polled_comments_decide_when_their_author_is_one_of_the_people(
    desk: Desk, people: tuple[str, ...], heard: int
) -> None:
    card = desk.card()
    item = desk.item(card=card)
    desk.asks(item, WaitKind.BUDGET, commit="run-2")
    root = replace(desk.root, settings=desk.settings.model_copy(update={"people": people}))
    await poll_board(root, desk.project)
    await asyncio.to_thread(desk.sandbox.comment, card.key, "go on")
    await poll_board(root, desk.project)
    assert len(desk.store.read(waits.decisions, item.id)) == heard


async def test_without_news_a_look_is_one_call(desk: Desk) -> None:
    for _ in range(3):
        desk.card()
    await polled(desk)
    with counted_requests({desk.sandbox.plane_url: "plane", desk.sandbox.gitea_url: "gitea"}) as requests:
        assert await polled(desk) == []
    assert requests == {"plane": 1}


async def test_a_plane_that_fails_is_looked_through_from_the_same_place_later(desk: Desk) -> None:
    card = desk.card()
    await move(desk, card.key, "To Analyse")
    desk.sandbox.fail_next("plane", 1, status=503, match="work-items")
    said = await each_project(desk.root, poll_board)
    assert [sentence.partition(":")[0] for sentence in said] == ["SHOP could not be polled"]
    assert heard(desk) == []
    await polled(desk)
    assert heard(desk) == [(card.key, "start_requested")]


async def test_a_word_that_nobody_has_told_yet_is_not_shown_over(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(Stage.DEVELOPMENT, card)
    desk.store.write(outbox.status, item.key, desk.clock.now)
    await deliver(desk.root)
    await move(desk, card.key, "Stop")
    item = desk.move(desk.again(item), Stage.REVIEW)
    desk.store.write(outbox.status, item.key, desk.clock.now)
    assert await deliver(desk.root) == 0
    assert desk.sandbox.card(card.key).state == "Stop"
    await polled(desk)
    assert desk.again(item).cancel_requested_at is not None
    desk.clock.forward(31)
    await deliver(desk.root)
    assert desk.sandbox.card(card.key).state == "Code Review"


async def test_a_board_that_is_refused_again_and_again_is_told_once_until_it_has_worked_in_between(desk: Desk) -> None:
    def told() -> int:
        return len([row for row in desk.letters if "orch connect plane" in str(row.payload.get("html"))])

    refusal = {"detail": "Given API token is not valid"}
    for messages in (1, 2):
        desk.sandbox.fail_next("plane", 1000, status=403, body=refusal, match="work-items")
        for _ in range(2):
            await each_project(desk.root, poll_board)
        assert told() == messages - 1, "one or two may be a restart of Plane"
        for _ in range(3):
            await each_project(desk.root, poll_board)
        assert told() == messages
        desk.sandbox.clear_faults()
        await polled(desk)
        desk.clock.forward(30)
    desk.sandbox.fail_next("plane", 5, status=503, match="work-items")
    for _ in range(5):
        await each_project(desk.root, poll_board)
    assert told() == 2, "a Plane that is away refuses nothing"
