"""Deliveries are stored first and understood as soon as that is possible; only then does anything follow."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from deployments.sandbox.client import SandboxClient
from pipeline.errors import Unavailable
from pipeline.inbound.plane import parse_plane
from pipeline.model import Hold, WaitKind
from pipeline.signals import WAIT_ANSWERED, Signal
from pipeline.stages import Stage
from pipeline.store import inbox, outbox, reactions, sightings, waits
from tasks.inbox import Own, Received, identify, receive
from tasks.outbox import deliver
from tests.support.deliveries import OWN, gitea_says, plane_says
from tests.support.hooks import (
    gitea_pull_closed,
    gitea_status,
    plane_commented,
    plane_headers,
    plane_moved,
)
from tests.support.services import Desk, open_desk

NEW_STATE = "5e1f2a00-0000-4000-8000-000000000000"


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """A desk that knows the project's states."""
    await desk.root.states.of(desk.project)
    return desk


def events(desk: Desk) -> list[tuple[str, str | None]]:
    return [(row.payload["event"], row.payload["resume"]) for row in desk.letters if row.kind == outbox.Kind.EVENT]


# --- what a delivery leads to


def test_a_start_stores_its_signal_and_an_event_and_moves_nothing(desk: Desk) -> None:
    card = desk.card()
    assert plane_says(desk, plane_moved(desk, card, "To Analyse")) == Received(
        True, f"{card.key}: start_requested", (card.key,)
    )
    [signal] = desk.signals
    assert (signal.signal, signal.item_key, signal.actor, signal.consumed_at) == (
        "start_requested",
        card.key,
        "ada",
        None,
    )
    assert signal.published == 1
    assert events(desk) == [("orch.signal.start_requested", None)]
    assert desk.transitions == []


def test_the_same_body_is_stored_once(desk: Desk) -> None:
    body = plane_moved(desk, desk.card(), "To Analyse")
    assert plane_says(desk, body).stored
    assert plane_says(desk, body) == Received(False, "Delivered before.")
    assert (len(desk.deliveries), len(desk.signals), len(events(desk))) == (1, 1, 1)


def test_two_starts_of_one_card_are_announced_once_while_the_first_announcement_waits(desk: Desk) -> None:
    card = desk.card()
    for _ in range(2):
        plane_says(desk, plane_moved(desk, card, "To Analyse"))
    assert (len(desk.signals), len(events(desk))) == (2, 1)


def test_an_approval_is_one_decision_one_wake_and_one_event_for_the_waiting_run(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(card=card)
    wait = desk.asks(item, WaitKind.APPROVAL, commit="c" * 40)
    for _ in range(2):
        plane_says(desk, plane_moved(desk, card, "Approved"))
    [decision] = desk.store.read(waits.decisions, item.id)
    assert (decision.kind, decision.choice, decision.commit, decision.actor) == ("approval", "approve", "c" * 40, "ada")
    asked = desk.wait_of(item)
    assert asked is not None
    assert (asked.id, asked.wake_requested_at) == (wait.id, desk.clock.now)
    assert events(desk) == [(WAIT_ANSWERED, wait.flow_run_id)]
    assert desk.again(item).version == item.version


def test_an_approval_counts_although_our_own_showing_of_the_wait_overtook_it_on_the_board(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(card=card)
    desk.asks(item, WaitKind.APPROVAL, commit="c" * 40)
    plane_says(desk, plane_moved(desk, card, "Approved", stands_in="In Review"))
    assert [d.choice for d in desk.store.read(waits.decisions, item.id)] == ["approve"]


HALF_AN_HOUR = timedelta(minutes=30)


def test_a_confirmation_that_comes_late_is_not_about_what_is_asked_by_now(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(Stage.DEPLOY, card)
    desk.asks(item, WaitKind.CONFIRMATION, commit="c" * 40)
    late = plane_moved(desk, card, "Confirm Deploy", updated_at=desk.clock.now - HALF_AN_HOUR)
    assert plane_says(desk, late).note.endswith("it tells of before the item came to where it stands")
    assert desk.store.read(waits.decisions, item.id) == ()
    plane_says(desk, plane_moved(desk, card, "Confirm Deploy", updated_at=desk.clock.now))
    assert [decision.choice for decision in desk.store.read(waits.decisions, item.id)] == ["confirm"]


def test_a_start_of_before_its_item_was_cancelled_starts_nothing(desk: Desk) -> None:
    card = desk.card()
    desk.move(desk.item(card=card), Stage.CANCELLED)
    plane_says(desk, plane_moved(desk, card, "To Analyse", updated_at=desk.clock.now - HALF_AN_HOUR))
    assert (desk.signals, events(desk)) == ([], [])


def test_an_echo_says_nothing_about_where_the_card_stands(desk: Desk) -> None:
    card = desk.card()
    plane_says(desk, plane_moved(desk, card, "Approved", actor_id="bot-id"))
    assert desk.store.read(sightings.last, sightings.board("SHOP"), [card.id]) == {}


@pytest.mark.parametrize("newer", ["Backlog", "Rejected"])
def test_a_person_who_moves_the_card_on_takes_an_approval_back(desk: Desk, newer: str) -> None:
    card = desk.card()
    item = desk.item(card=card)
    desk.asks(item, WaitKind.APPROVAL, commit="c" * 40)
    plane_says(desk, plane_moved(desk, card, "Approved", stands_in=newer))
    assert "approve" not in [d.choice for d in desk.store.read(waits.decisions, item.id)]


def test_a_decision_and_its_delivery_are_stored_together_or_not_at_all(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = desk.card()
    item = desk.item(card=card)
    desk.asks(item, WaitKind.APPROVAL)

    def broken(*_args: object, **_more: object) -> bool:
        raise RuntimeError("the disk is full")

    body = plane_moved(desk, card, "Approved")
    with monkeypatch.context() as broken_box:
        broken_box.setattr(outbox, "event", broken)
        with pytest.raises(RuntimeError):
            plane_says(desk, body)
    assert (desk.deliveries, desk.signals, desk.store.read(waits.decisions, item.id)) == ([], [], ())
    assert plane_says(desk, body).stored


async def test_approved_where_nothing_asks_is_told_once_on_the_card(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(Stage.ARCHITECTURE, card)
    body = plane_moved(desk, card, "Approved")
    plane_says(desk, body)
    plane_says(desk, body)
    await deliver(desk.root)
    assert desk.sandbox.card(card.key).state == "Architecture"  # shown again
    [comment] = desk.sandbox.card(card.key).comments
    assert comment.html == f"<p>Nothing about {card.key} waits for an approval now (it is at architecture).</p>"
    assert desk.store.read(waits.decisions, item.id) == ()


def test_stop_marks_the_item_and_moves_nothing_itself(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(Stage.DEVELOPMENT, card)
    plane_says(desk, plane_moved(desk, card, "Stop"))
    assert desk.again(item).cancel_requested_at == desk.clock.now
    assert desk.again(item).stage is Stage.DEVELOPMENT
    assert events(desk) == [("orch.signal.stop_requested", None)]


def test_an_answer_is_a_decision_with_its_text(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(card=card)
    wait = desk.asks(item, WaitKind.ANSWER)
    plane_says(desk, plane_commented(desk, card, "Use euros"))
    assert [(d.choice, d.text) for d in desk.store.read(waits.decisions, item.id)] == [("answer", "Use euros")]
    assert events(desk) == [(WAIT_ANSWERED, wait.flow_run_id)]


def test_a_comment_on_a_card_that_is_no_work_item_leads_to_nothing(desk: Desk) -> None:
    card = desk.card()
    assert plane_says(desk, plane_commented(desk, card, "Nice")).note == f"{card.id} is no work item's"
    assert (desk.signals, desk.letters) == ([], [])


def test_a_state_that_means_nothing_leads_to_nothing(desk: Desk) -> None:
    assert plane_says(desk, plane_moved(desk, desk.card(), "Backlog")).note == "state Backlog asks for nothing"
    assert (desk.signals, desk.letters) == ([], [])


# --- a card that a person puts where work ends


@pytest.mark.parametrize("state", ["Done", "Cancelled"])
async def test_a_card_dragged_to_the_end_by_hand_holds_its_item_and_asks_once(desk: Desk, state: str) -> None:
    card = desk.card()
    item = desk.item(Stage.REVIEW, card)
    for _ in range(2):
        plane_says(desk, plane_moved(desk, card, state))
    held = desk.again(item)
    assert (held.stage, held.hold) == (Stage.REVIEW, Hold.NEEDS_INPUT)
    assert held.hold_reason.startswith(f"Its card was moved to {state} by hand, but nothing has landed.")
    assert [row.kind for row in desk.letters].count(outbox.Kind.MESSAGE) == 1
    await deliver(desk.root)
    assert desk.sandbox.card(card.key).state == "Needs Input"


def test_our_own_move_to_done_holds_nothing(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(Stage.DEPLOY, card)
    assert plane_says(desk, plane_moved(desk, card, "Done", actor_id="bot-id")).note == "our own change"
    assert desk.again(item).hold is None


def test_a_done_item_stays_done_when_its_card_is_dragged_there_again(desk: Desk) -> None:
    card = desk.card()
    item = desk.move(desk.item(Stage.DEPLOY, card), Stage.DONE)
    assert plane_says(desk, plane_moved(desk, card, "Done")).note == "state Done asks for nothing"
    assert (desk.again(item).stage, desk.again(item).hold, desk.signals) == (Stage.DONE, None, [])


def test_a_card_that_orch_does_not_work_on_may_be_put_anywhere(desk: Desk) -> None:
    assert plane_says(desk, plane_moved(desk, desk.card(), "Done")).note == "state Done asks for nothing"
    assert (desk.signals, desk.letters) == ([], [])


@pytest.mark.parametrize("last_word", ["Stop", "Backlog"])
def test_a_start_that_plane_retries_does_not_overrule_what_was_said_after_it(desk: Desk, last_word: str) -> None:
    card, asked = desk.card(), desk.clock.now - HALF_AN_HOUR
    retried = plane_moved(desk, card, "To Analyse", updated_at=asked)
    plane_says(desk, plane_moved(desk, card, last_word, updated_at=asked + timedelta(minutes=1)))
    assert plane_says(desk, retried).note == "its card was moved on since"
    assert Signal.START_REQUESTED not in [row.signal for row in desk.signals]
    again = plane_moved(desk, card, "To Analyse", updated_at=asked + timedelta(minutes=2))
    assert plane_says(desk, again).note.endswith("start_requested")


def test_to_analyse_at_a_later_stage_changes_nothing_and_says_so(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(Stage.REVIEW, card)
    plane_says(desk, plane_moved(desk, card, "To Analyse"))
    [stored] = desk.store.read(inbox.unconsumed)
    desk.store.write(reactions.apply, stored, desk.clock.now, desk.root.texts)
    assert desk.again(item).stage is Stage.REVIEW
    [comment] = [row.payload["html"] for row in desk.letters if row.kind == outbox.Kind.COMMENT]
    assert comment == f"<p>{card.key} is past analysis already, at review; nothing was started.</p>"


# --- who speaks


@pytest.mark.parametrize("body", [plane_moved, plane_commented])
def test_our_own_changes_come_back_as_echoes_and_are_ignored(desk: Desk, body: Callable[..., bytes]) -> None:
    assert plane_says(desk, body(desk, desk.card(), "To Analyse", actor_id="bot-id")).note == "our own change"
    assert (desk.signals, desk.letters) == ([], [])


@pytest.mark.parametrize(
    ("people", "counts"), [((), True), (("ada-id",), True), (("Ada",), True), (("bob",), False), (("ada@acme",), True)]
)
def test_comments_decide_when_their_author_is_one_of_the_people(
    desk: Desk, people: tuple[str, ...], counts: bool
) -> None:
    root = replace(desk.root, settings=desk.settings.model_copy(update={"people": people}))
    card = desk.card()
    item = desk.item(card=card)
    desk.asks(item, WaitKind.ANSWER)
    body = plane_commented(desk, card, "Use euros", email="ada@acme")
    secret = desk.settings.plane_webhook_secret.get_secret_value()
    received = receive(root, parse_plane(plane_headers(desk.settings, body), body, secret), body.decode(), OWN)
    assert bool(desk.store.read(waits.decisions, item.id)) is counts
    assert ("is not among ORCH_PEOPLE" in received.note) is not counts


def test_a_person_in_plane_who_is_called_like_our_token_in_gitea_is_heard(desk: Desk) -> None:
    assert plane_says(desk, plane_moved(desk, desk.card(), "To Analyse", actor=OWN.forge_login)).items != ()


async def test_every_one_of_our_bots_is_known_and_none_of_them_counts_as_a_person(
    sandbox: SandboxClient, tmp_path: Path
) -> None:
    bots = {"developer": SecretStr(sandbox.options.plane_stream_token), "stream": SecretStr("plane_api_revoked")}
    async with open_desk(sandbox, tmp_path, plane_bot_tokens=bots) as desk:
        own = await identify(desk.root)
        assert len(own.tracker_ids) == 2
        card = desk.card()
        desk.asks(desk.item(card=card), WaitKind.ANSWER)
        for bot in own.tracker_ids:
            assert plane_says(desk, plane_commented(desk, card, "I am done", actor_id=bot), own).note == (
                "our own change"
            )


async def test_who_we_are_is_asked_of_both_neighbours(desk: Desk) -> None:
    bot = desk.sandbox.plane_api().get("../../users/me/").json()["id"]
    assert await identify(desk.root) == Own(frozenset({bot}), "orch-bot")


# --- CI


def test_ci_finds_its_item_by_commit(desk: Desk) -> None:
    item = desk.item(Stage.DEVELOPMENT, tip="1" * 40)
    assert gitea_says(desk, gitea_status("1" * 40)).items == (item.key,)
    assert events(desk) == [("orch.signal.ci_finished", None)]


def test_ci_finds_its_item_by_branch_when_the_commit_is_unknown(desk: Desk) -> None:
    item = desk.item(Stage.DEVELOPMENT)
    assert gitea_says(desk, gitea_status("2" * 40, "main", item.branch)).items == (item.key,)


def test_ci_of_a_commit_that_nobody_can_place_is_about_the_only_item_in_development(desk: Desk) -> None:
    desk.item(Stage.REVIEW)
    item = desk.item(Stage.DEVELOPMENT)
    assert gitea_says(desk, gitea_status("3" * 40)).items == (item.key,)


def test_ci_of_a_commit_that_could_be_about_two_items_is_left_alone_and_said(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = desk.item(Stage.DEVELOPMENT), desk.item(Stage.DEVELOPMENT)
    with caplog.at_level(logging.INFO, logger="orch.addressees"):
        assert gitea_says(desk, gitea_status("3" * 40)).note == f"sha:{'3' * 40} is no work item's"
    said = f"a status of {'3' * 40} in SHOP is left alone: {one.key} and {other.key} are both in development"
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [("INFO", said)]
    assert desk.signals == []


@pytest.mark.parametrize("stage", [Stage.ARCHITECTURE, Stage.REVIEW])
def test_ci_of_nobodys_commit_leads_to_nothing_where_nothing_is_in_development(desk: Desk, stage: Stage) -> None:
    desk.item(stage)
    assert gitea_says(desk, gitea_status("3" * 40)).items == ()


def test_a_held_item_is_no_candidate_for_ci(desk: Desk) -> None:
    desk.item(Stage.DEVELOPMENT, hold=Hold.BLOCKED)
    item = desk.item(Stage.DEVELOPMENT)
    assert gitea_says(desk, gitea_status("3" * 40)).items == (item.key,)


def test_ci_of_a_branch_that_is_no_items_is_not_guessed_to_be_an_items(desk: Desk) -> None:
    desk.item(Stage.DEVELOPMENT)
    assert gitea_says(desk, gitea_status("3" * 40, "main")).items == ()


# --- pull requests


@pytest.mark.parametrize(("stage", "starts_a_run"), [(Stage.DEVELOPMENT, True), (Stage.REVIEW, False)])
def test_what_ci_says_starts_a_run_only_where_somebody_may_be_about_to_wait_for_it(
    desk: Desk, stage: Stage, starts_a_run: bool
) -> None:
    item = desk.item(stage, tip="4" * 40)
    desk.owned(item)
    gitea_says(desk, gitea_status("4" * 40))
    events = [row.payload["event"] for row in desk.letters if row.kind == outbox.Kind.EVENT]
    assert events == [Signal.CI_FINISHED.event] * starts_a_run
    assert [stored.signal for stored in desk.store.read(inbox.unconsumed, item.key)] == [
        Signal.CI_FINISHED
    ] * starts_a_run


def test_a_pull_request_into_another_branch_says_nothing_about_the_item(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    body = gitea_pull_closed(item.branch, 7, base="release", merged_by="ada")
    assert gitea_says(desk, body, "pull_request").note == "its pull request wants into release"
    assert gitea_says(desk, gitea_pull_closed(item.branch, 7, merged_by="ada"), "pull_request").items == (item.key,)


def test_a_project_outside_the_registry_is_not_stored(desk: Desk) -> None:
    assert gitea_says(desk, gitea_status("4" * 40, repository="other/place")) == Received(
        False, "No project of the registry is other/place."
    )
    assert desk.deliveries == []


async def test_who_we_are_cannot_be_told_while_gitea_is_away(desk: Desk) -> None:
    desk.sandbox.fail_next("gitea", 1, status=503)
    with pytest.raises(Unavailable):
        await identify(desk.root)
