"""Letters are sent until they went: each on its own, later after a failure, and never over what a person put there."""

import asyncio

import pytest

from pipeline.model import Button, Hold, WaitKind, WorkItem
from pipeline.signals import STAGE_ENTERED, WAIT_ANSWERED, WAKE
from pipeline.stages import Stage, Status
from pipeline.store import items, outbox, reactions
from pipeline.store.outbox import BACK_OFF, CLAIM, SETTLE
from tasks.outbox import deliver, due
from tests.support.services import Desk, until


def tell(desk: Desk, item: WorkItem, text: str = "Hello", dedupe: str = "once") -> None:
    desk.store.write(reactions.tell, item.key, text, dedupe, desk.clock.now)


def say(desk: Desk, item: WorkItem, text: str, dedupe: str) -> None:
    desk.store.write(reactions.say, item.key, text, dedupe, desk.clock.now)


def show(desk: Desk, item: WorkItem) -> None:
    desk.store.write(outbox.status, item.key, desk.clock.now)


def shown(desk: Desk, item: WorkItem) -> str:
    return desk.sandbox.card(item.key).state


# --- each on its own


async def test_a_letter_of_each_kind_goes_where_it_belongs(desk: Desk) -> None:
    item = desk.item()
    tell(desk, item)
    say(desk, item, "Good morning", f"hello-{item.key}")
    show(desk, item)
    desk.store.write(outbox.wake, item.key, desk.clock.now)
    assert await deliver(desk.root) == 4
    card = desk.sandbox.card(item.key)
    assert ([comment.html for comment in card.comments], card.state) == (["<p>Hello</p>"], "Analysis")
    assert desk.sandbox.state().telegram.messages[-1].text == "Good morning"
    assert (desk.prefect.names, desk.prefect.bad_paths) == ([WAKE], [])
    assert await deliver(desk.root) == 0


async def test_a_neighbour_that_fails_holds_up_no_letter_to_the_others(desk: Desk) -> None:
    item = desk.item()
    tell(desk, item)
    desk.store.write(outbox.wake, item.key, desk.clock.now)
    desk.sandbox.fail_next("plane", 1, status=500, match="comments")
    assert await deliver(desk.root) == 1
    assert desk.prefect.names == [WAKE]
    [waiting] = [row for row in desk.letters if row.sent_at is None]
    assert (waiting.kind, waiting.tries, waiting.claimed_until) == ("comment", 1, None)
    assert "500" in waiting.last_error


async def test_pauses_between_tries_grow_and_the_letter_goes_in_the_end(desk: Desk) -> None:
    tell(desk, desk.item())
    desk.sandbox.fail_next("plane", 2, status=502, match="comments")
    for pause in BACK_OFF[:2]:
        assert await deliver(desk.root) == 0
        desk.clock.forward(pause - 0.01)
        assert await due(desk.root) == []
        desk.clock.forward(0.01)
    assert await deliver(desk.root) == 1
    assert [row.last_error for row in desk.letters] == [""]


async def test_a_neighbour_that_says_how_long_to_wait_is_left_alone_for_so_long(desk: Desk) -> None:
    tell(desk, desk.item())
    desk.sandbox.fail_next("plane", 1, status=429, headers={"Retry-After": "47"}, match="comments")
    assert await deliver(desk.root) == 0
    desk.clock.forward(46.9)
    assert await due(desk.root) == []
    desk.clock.forward(0.1)
    assert await deliver(desk.root) == 1


async def test_a_refused_letter_is_dealt_with_and_keeps_the_reason(desk: Desk) -> None:
    tell(desk, desk.item())
    desk.sandbox.fail_next("plane", 1, status=400, body={"comment_html": ["Too long."]}, match="comments")
    assert await deliver(desk.root) == 0
    [letter] = desk.letters
    assert letter.sent_at == desk.clock.now
    assert letter.last_error.startswith("refused: Plane refused POST")
    assert "Too long." in letter.last_error


async def test_a_sender_that_died_loses_its_letters_to_another_after_a_while(desk: Desk) -> None:
    tell(desk, desk.item())
    assert len(await due(desk.root)) == 1
    assert await deliver(desk.root) == 0
    desk.clock.forward(CLAIM.total_seconds() + 1)
    assert await deliver(desk.root) == 1


async def test_only_one_items_letters_go_when_only_its_are_asked_for(desk: Desk) -> None:
    one, other = desk.item(), desk.item()
    tell(desk, one, dedupe="one")
    tell(desk, other, dedupe="other")
    assert await deliver(desk.root, other.key) == 1
    assert [bool(desk.sandbox.card(item.key).comments) for item in (one, other)] == [False, True]


# --- comments


async def test_a_comment_is_written_once_per_external_id_even_if_the_answer_was_lost(desk: Desk) -> None:
    item = desk.item()
    tell(desk, item)
    desk.sandbox.fail_next("plane", 1, status=504, match="comments", after=True)
    assert await deliver(desk.root) == 0
    desk.clock.forward(BACK_OFF[0])
    assert await deliver(desk.root) == 1
    assert len(desk.sandbox.card(item.key).comments) == 1


async def test_a_comment_about_a_card_that_nobody_knows_is_refused(desk: Desk) -> None:
    desk.store.write(reactions.tell, "SHOP-999", "Hello", "nobody", desk.clock.now)
    await deliver(desk.root)
    assert [row.last_error for row in desk.letters] == ["refused: SHOP-999 has no project or no card to comment on."]


# --- events


async def test_an_event_names_the_item_its_stage_and_the_run_that_it_is_for(desk: Desk) -> None:
    item = desk.item()
    wait = desk.asks(item, WaitKind.APPROVAL)
    desk.store.write(outbox.enter, item.key, Stage.ANALYSIS, desk.clock.now)
    desk.store.write(reactions.resume, item, desk.clock.now)
    desk.clock.forward(SETTLE.total_seconds())
    assert await deliver(desk.root) == 2
    by_name = {event["event"]: event for event in desk.prefect.taken}
    assert by_name[STAGE_ENTERED]["resource"] == {
        "prefect.resource.id": f"orch.work-item.{item.key}",
        "orch.work-item": item.key,
        "orch.stage": "analysis",
    }
    assert by_name[STAGE_ENTERED]["payload"] == {"work_item": item.key, "stage": "analysis"}
    assert by_name[WAIT_ANSWERED]["related"] == [
        {"prefect.resource.id": f"prefect.flow-run.{wait.flow_run_id}", "prefect.resource.role": "flow-run"}
    ]


async def test_a_new_stage_is_announced_only_after_the_run_that_made_it_could_end(desk: Desk) -> None:
    desk.store.write(outbox.enter, desk.item().key, Stage.ANALYSIS, desk.clock.now)
    assert await deliver(desk.root) == 0
    desk.clock.forward(SETTLE.total_seconds())
    assert await deliver(desk.root) == 1


async def test_an_event_that_prefect_does_not_take_is_sent_again(desk: Desk) -> None:
    desk.prefect.answers = [503, 503]
    desk.store.write(outbox.wake, desk.item().key, desk.clock.now)
    for pause in (*BACK_OFF[:2], 0):
        assert desk.prefect.names == []
        await deliver(desk.root)
        desk.clock.forward(pause)
    assert desk.prefect.names == [WAKE]
    assert [row.tries for row in desk.letters] == [2]


# --- statuses


async def test_a_status_shows_what_is_true_when_it_is_sent(desk: Desk) -> None:
    item = desk.item()
    show(desk, item)
    desk.move(item, Stage.ARCHITECTURE)
    await deliver(desk.root)
    assert shown(desk, item) == "Architecture"
    assert desk.again(item).shown is Status.ARCHITECTURE


@pytest.mark.parametrize("column", ["Needs Input", "In Review", "Blocked"])
async def test_a_card_that_a_person_put_aside_stays_where_it_is(desk: Desk, column: str) -> None:
    item = desk.item()
    desk.sandbox.move_card(item.key, column)
    show(desk, item)
    assert await deliver(desk.root) == 1
    assert shown(desk, item) == column


async def test_what_orch_put_there_itself_gives_way_again(desk: Desk) -> None:
    item = desk.item()
    desk.asks(item, WaitKind.APPROVAL)
    show(desk, item)
    await deliver(desk.root)
    assert shown(desk, item) == "In Review"
    desk.move(item, Stage.ARCHITECTURE)
    show(desk, item)
    await deliver(desk.root)
    assert shown(desk, item) == "Architecture"


async def test_a_card_that_a_person_uses_to_speak_shows_the_truth_again(desk: Desk) -> None:
    item = desk.item(Stage.DEVELOPMENT)
    desk.sandbox.move_card(item.key, "Approved")
    show(desk, item)
    await deliver(desk.root)
    assert shown(desk, item) == "Development"


async def test_an_end_is_shown_even_over_what_a_person_put_there(desk: Desk) -> None:
    item = desk.item()
    desk.sandbox.move_card(item.key, "Blocked")
    desk.move(item, Stage.CANCELLED)
    show(desk, item)
    await deliver(desk.root)
    assert shown(desk, item) == "Cancelled"


async def test_a_hold_is_shown_as_blocked(desk: Desk) -> None:
    item = desk.item(Stage.TESTING)
    desk.store.write(items.hold, item.id, Hold.ESCALATED, "too often", desk.clock.now)
    show(desk, item)
    await deliver(desk.root)
    assert shown(desk, item) == "Blocked"


async def test_a_card_that_was_not_let_in_is_shown_as_blocked(desk: Desk) -> None:
    card = desk.card()
    desk.store.write(outbox.put, outbox.Kind.STATUS, card.key, {"refused": card.id}, desk.clock.now)
    await deliver(desk.root)
    assert desk.sandbox.card(card.key).state == "Blocked"


async def test_a_slow_sender_leaves_the_card_at_what_is_true_when_it_ends(desk: Desk) -> None:
    item = desk.item()
    show(desk, item)
    desk.sandbox.delay("plane", 0.4, 1, match="PATCH")
    patched = desk.sandbox.state().calls
    slow = asyncio.create_task(deliver(desk.root))
    await until(lambda: patches(desk) > sum(n for call, n in patched.items() if "PATCH" in call))
    desk.move(item, Stage.ARCHITECTURE)
    show(desk, item)
    await deliver(desk.root)
    assert not slow.done()
    assert shown(desk, item) == "Architecture"
    await slow
    assert (shown(desk, item), desk.again(item).shown) == ("Architecture", Status.ARCHITECTURE)


def patches(desk: Desk) -> int:
    return sum(count for call, count in desk.sandbox.state().calls.items() if "PATCH" in call)


# --- messages


async def test_a_message_goes_out_with_a_sound_and_its_buttons(desk: Desk) -> None:
    item = desk.item()
    buttons = [Button("Yes", "k:approve"), Button("No", "k:reject")]
    desk.store.write(reactions.say, item.key, "?", f"ask-{item.key}", desk.clock.now, buttons=buttons)
    await deliver(desk.root)
    sent = desk.sandbox.state().telegram.messages[-1]
    assert (sent.silent, [one["callback_data"] for one in sent.buttons[0]]) == (False, ["k:approve", "k:reject"])


async def test_a_message_that_telegram_will_never_take_is_dealt_with_and_keeps_the_reason(desk: Desk) -> None:
    item = desk.item()
    desk.sandbox.fail_next("telegram", 1, status=400, body={"ok": False, "description": "Bad Request: chat not found"})
    say(desk, item, "lost", f"lost-{item.key}")
    assert await deliver(desk.root) == 0
    assert desk.letters[-1].sent_at is not None
    assert "chat not found" in desk.letters[-1].last_error


async def test_a_chat_that_moved_is_written_to_and_people_are_asked_once_to_set_its_id(desk: Desk) -> None:
    item = desk.item()
    desk.sandbox.migrate_chat(1, -100_1)  # for good: this is the last test of the module's sandbox
    for number in range(3):
        say(desk, item, f"message {number}", f"{number}-{item.key}")
        await deliver(desk.root, item.key)
    await deliver(desk.root, item.key)
    there = [one.text for one in desk.sandbox.state().telegram.messages if one.chat_id == -100_1]
    assert [text for text in there if text.startswith("message")] == ["message 0", "message 1", "message 2"]
    [asked] = [text for text in there if "ORCH_TELEGRAM_CHAT_ID" in text]
    assert "-1001" in asked


async def test_a_card_that_was_let_in_after_it_was_refused_is_not_shown_blocked_by_a_late_letter(desk: Desk) -> None:
    card = desk.card(state="To Analyse")
    item = desk.item(card=card)
    desk.store.write(outbox.put, outbox.Kind.STATUS, card.key, {"refused": card.id}, desk.clock.now)
    await deliver(desk.root)
    assert desk.sandbox.card(item.key).state == "To Analyse"


async def test_a_letter_about_a_refused_card_does_not_stand_for_what_its_item_shows(desk: Desk) -> None:
    item = desk.item()
    desk.store.write(outbox.put, outbox.Kind.STATUS, item.key, {"refused": item.tracker_id}, desk.clock.now)
    assert [desk.store.write(outbox.status, item.key, desk.clock.now) for _ in range(2)] == [True, False]


async def test_a_card_that_was_refused_is_shown_blocked(desk: Desk) -> None:
    card = desk.card(state="To Analyse")
    desk.store.write(outbox.put, outbox.Kind.STATUS, card.key, {outbox.REFUSED: card.id}, desk.clock.now)
    await deliver(desk.root)
    assert desk.sandbox.card(card.key).state == "Blocked"
