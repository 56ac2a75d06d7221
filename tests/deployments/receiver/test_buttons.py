"""Buttons that people press in Telegram, through a real receiver: each decides once, for what it was below, or not at all."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from deployments.demo import set_telegram_webhook
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.state import PRESSES, TelegramMessage
from pipeline.model import Choice, Hold, Wait, WaitKind, WorkItem
from pipeline.outcomes import Ask
from pipeline.signals import WAIT_ANSWERED
from pipeline.stages import Stage
from pipeline.store import items, leases, waits
from pipeline.store.leases import Lease
from tasks import people
from tasks.outbox import deliver
from tasks.ownership import Claimed
from tests.deployments.receiver.test_refusals import assert_nothing_happened
from tests.pipeline.inbound.test_parse_telegram import pressed, spoiled
from tests.pipeline.store.helpers import claimed
from tests.support.hooks import receiving
from tests.support.services import Desk, open_desk, until

STRANGER = 4711
KINDS = {
    WaitKind.APPROVAL: (Stage.ANALYSIS, "Approve", Choice.APPROVE),
    WaitKind.INTEGRITY: (Stage.REVIEW, "Accept", Choice.APPROVE),
    WaitKind.CONFIRMATION: (Stage.DEPLOY, "Confirm", Choice.CONFIRM),
}


@pytest.fixture
async def web(desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    """A receiver that Telegram tells about pressed buttons."""
    async with receiving(desk) as client:
        await set_telegram_webhook(desk.settings)
        yield client


async def asked(desk: Desk, kind: WaitKind = WaitKind.APPROVAL, **columns: Any) -> tuple[WorkItem, Wait]:
    """An item whose question has been sent, as a stage's run asks it."""
    item = desk.item(KINDS[kind][0], **columns)
    return item, await ask(desk, item, kind)


async def ask(desk: Desk, item: WorkItem, kind: WaitKind, commit: str = "a" * 40) -> Wait:
    lease = claimed(desk.store, item, now=desk.clock.now)
    assert isinstance(lease, Lease)
    asking = Ask(kind, f"A person must decide about the {kind}.", commit)
    wait = await people.begin(desk.root, Claimed(desk.again(item), lease), asking, str(uuid4()))
    desk.store.write(leases.release, item.id, lease.token)
    await deliver(desk.root, item.key)
    await until(lambda: sounding(desk, item), what="the question")  # the receiver may have taken the letter before us
    return wait


def decisions(desk: Desk, item: WorkItem) -> list[tuple[str, str, str, str]]:
    return [(d.kind, d.choice, d.commit, d.actor) for d in desk.store.read(waits.decisions, item.id)]


def message(desk: Desk, item: WorkItem) -> TelegramMessage:
    """The question about the item."""
    return sounding(desk, item)[-1]


def sounding(desk: Desk, item: WorkItem) -> list[TelegramMessage]:
    return [one for one in desk.sandbox.state().telegram.messages if f">{item.key}<" in one.text and not one.silent]


async def press(desk: Desk, label: str, **more: Any) -> None:
    await asyncio.to_thread(lambda: desk.sandbox.press_button(label, **more))


async def told(desk: Desk, count: int = 1) -> list[str]:
    """What the people who pressed were shown, once they all were."""
    await until(lambda: answered(desk) >= count, what="the answers")
    presses = [str(row.payload["press"]) for row in desk.letters if row.kind == "pressed"]
    return [one.text for one in desk.sandbox.state().telegram.answered_callbacks if one.id in presses]


def answered(desk: Desk) -> int:
    return sum(row.kind == "pressed" and row.sent_at is not None for row in desk.letters)


# --- it decides


@pytest.mark.parametrize("kind", KINDS)
async def test_a_pressed_button_is_a_recorded_decision_that_wakes_the_run_and_is_answered(
    web: httpx.AsyncClient, desk: Desk, kind: WaitKind
) -> None:
    _stage, label, choice = KINDS[kind]
    item, wait = await asked(desk, kind)
    await press(desk, label, username="ada")
    [text] = await told(desk)
    assert decisions(desk, item) == [(kind, choice, "a" * 40, "telegram:ada")]
    assert text.startswith(f"{item.key}: recorded")
    await until(lambda: not message(desk, item).buttons, what="the buttons gone")
    await until(lambda: WAIT_ANSWERED in desk.prefect.names, what="the wake")
    [woken] = [event for event in desk.prefect.taken if event["event"] == WAIT_ANSWERED]
    assert woken["related"][0]["prefect.resource.id"] == f"prefect.flow-run.{wait.flow_run_id}"


async def test_reject_rejects(web: httpx.AsyncClient, desk: Desk) -> None:
    item, _ = await asked(desk)
    await press(desk, "Reject")
    await told(desk)
    assert decisions(desk, item) == [("approval", "reject", "a" * 40, f"telegram:{PRESSES}")]


async def test_the_same_update_twice_and_a_second_press_record_one_decision(web: httpx.AsyncClient, desk: Desk) -> None:
    item, _ = await asked(desk)
    shown = message(desk, item)
    data = shown.buttons[0][0]["callback_data"]
    for again in (False, True, True):
        await asyncio.to_thread(desk.sandbox.press, shown.message_id, data, again=again)
    await asyncio.to_thread(desk.sandbox.press, shown.message_id, data)
    assert len(await told(desk, 2)) == 2
    await until(lambda: len(desk.deliveries) == 2)
    assert len(decisions(desk, item)) == 1


async def test_a_question_that_a_new_run_asks_again_is_answered_by_the_button_of_the_old_message(
    web: httpx.AsyncClient, desk: Desk
) -> None:
    item, first = await asked(desk)
    second = await ask(desk, item, WaitKind.APPROVAL)
    assert first.key != second.key
    assert len(sounding(desk, item)) == 1
    await press(desk, "Approve")
    await told(desk)
    assert [choice for _, choice, *_ in decisions(desk, item)] == ["approve"]


# --- it does not decide


async def test_a_stranger_decides_nothing_and_is_told_so(web: httpx.AsyncClient, desk: Desk) -> None:
    item, _ = await asked(desk)
    await press(desk, "Approve", person=STRANGER, username="ada")
    assert "not among those who may decide" in (await told(desk))[0]
    assert (decisions(desk, item), desk.signals) == ([], [])
    assert message(desk, item).buttons


async def test_a_bot_decides_nothing_whatever_its_id(web: httpx.AsyncClient, desk: Desk) -> None:
    item, _ = await asked(desk)
    shown = message(desk, item)
    data = shown.buttons[0][0]["callback_data"]
    await asyncio.to_thread(lambda: desk.sandbox.press(shown.message_id, data, person=PRESSES, is_bot=True))
    assert "not among those who may decide" in (await told(desk))[0]
    assert decisions(desk, item) == []


async def test_with_an_empty_list_nobody_decides(sandbox: SandboxClient, tmp_path: Path) -> None:
    async with open_desk(sandbox, tmp_path, telegram_allowed_user_ids=()) as desk, receiving(desk):
        await set_telegram_webhook(desk.settings)
        item, _ = await asked(desk)
        await press(desk, "Approve")
        assert "not among those who may decide" in (await told(desk))[0]
        assert decisions(desk, item) == []


async def test_a_wrong_secret_opens_nothing(web: httpx.AsyncClient, desk: Desk) -> None:
    item, _ = await asked(desk)
    await set_telegram_webhook(desk.settings, secret=SecretStr("another-secret"))
    await press(desk, "Approve")
    await until(
        lambda: [one.outcome for one in desk.sandbox.state().deliveries if one.peer == "telegram"][-1:] == ["401"]
    )
    assert (decisions(desk, item), desk.deliveries) == ([], [])


async def test_without_a_secret_there_are_no_buttons_and_no_door(sandbox: SandboxClient, tmp_path: Path) -> None:
    async with open_desk(sandbox, tmp_path, telegram_webhook_secret="") as desk, receiving(desk) as web:
        item, _ = await asked(desk)
        assert message(desk, item).buttons == []
        headers = {"X-Telegram-Bot-Api-Secret-Token": ""}
        answer = await web.post("/webhooks/telegram", json=pressed(), headers=headers)
        assert answer.status_code == 401


async def test_a_button_about_another_commit_is_stale(web: httpx.AsyncClient, desk: Desk) -> None:
    item, _ = await asked(desk, WaitKind.CONFIRMATION)
    old = message(desk, item)
    await ask(desk, item, WaitKind.CONFIRMATION, "b" * 40)
    await asyncio.to_thread(desk.sandbox.press, old.message_id, old.buttons[0][0]["callback_data"])
    assert "not what is asked any more" in (await told(desk))[0]
    assert decisions(desk, item) == []


async def test_a_late_button_says_so_and_goes(web: httpx.AsyncClient, desk: Desk) -> None:
    item, _ = await asked(desk)
    desk.move(item, Stage.ARCHITECTURE)
    await press(desk, "Approve")
    assert "not what is asked any more" in (await told(desk))[0]
    assert decisions(desk, item) == []
    await until(lambda: not message(desk, item).buttons, what="the buttons gone")
    assert [row.kind for row in desk.letters if row.kind == "comment"] == []


async def test_a_button_of_a_cancelled_item_does_not_decide_about_the_fresh_start(
    web: httpx.AsyncClient, desk: Desk
) -> None:
    card = desk.card()
    item = desk.item(card=card)
    await ask(desk, item, WaitKind.APPROVAL)
    desk.move(desk.again(item), Stage.CANCELLED)
    fresh = desk.item(card=card)
    assert fresh.id != item.id
    desk.asks(fresh, WaitKind.APPROVAL, commit="a" * 40)
    await press(desk, "Approve")
    assert "not what is asked any more" in (await told(desk))[0]
    assert (decisions(desk, item), decisions(desk, fresh)) == ([], [])


async def test_a_held_item_takes_no_confirmation_but_keeps_its_buttons(web: httpx.AsyncClient, desk: Desk) -> None:
    item, _ = await asked(desk, WaitKind.CONFIRMATION)
    desk.store.write(items.hold, item.id, Hold.BLOCKED, "the registry is down", desk.clock.now)
    await press(desk, "Confirm")
    assert "not what is asked any more" in (await told(desk))[0]
    assert decisions(desk, item) == []
    assert message(desk, item).buttons


async def test_a_question_that_nobody_knows_is_answered_as_such(web: httpx.AsyncClient, desk: Desk) -> None:
    item, _ = await asked(desk)
    shown = message(desk, item)
    await asyncio.to_thread(desk.sandbox.press, shown.message_id, "approval-1-ffffffffffff:approve")
    assert "does not know this question" in (await told(desk))[0]
    assert decisions(desk, item) == []


async def test_a_press_while_telegram_is_away_is_answered_later(web: httpx.AsyncClient, desk: Desk) -> None:
    item, _ = await asked(desk)
    desk.sandbox.fail_next("telegram", 1, status=502, match="answerCallbackQuery")
    await press(desk, "Approve")
    await until(lambda: [row for row in desk.letters if row.kind == "pressed" and row.tries])
    assert len(decisions(desk, item)) == 1
    desk.clock.forward(5)
    assert len(await told(desk)) == 1


async def test_a_message_without_an_address_for_links_is_sent_all_the_same(desk: Desk) -> None:
    item, _ = await asked(desk)
    shown = message(desk, item)
    assert "<a " not in shown.text  # the sandbox is on loopback
    assert [button["text"] for button in shown.buttons[0]] == ["✅ Approve", "❌ Reject"]


async def test_the_question_links_the_requirements_and_the_issue(sandbox: SandboxClient, tmp_path: Path) -> None:
    bases = {"plane_web_url": "https://plane.example.org", "gitea_public_url": "https://git.example.org"}
    async with open_desk(sandbox, tmp_path, **bases, language="ru") as desk:
        item, _ = await asked(desk)
        text = message(desk, item).text
    folder = f"https://git.example.org/acme/shop/src/branch/{item.branch}/{item.artifacts}"
    assert f'<a href="{folder}/01-brd.md">' in text
    assert f'<a href="https://plane.example.org/acme/browse/{item.key}/">{item.key} в Plane</a>' in text


# --- whatever comes


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_no_update_is_a_server_error_or_a_decision_of_somebody_else(
    door: httpx.AsyncClient, desk: Desk, data: st.DataObject
) -> None:
    secret = desk.settings.telegram_webhook_secret.get_secret_value()
    given_secret = data.draw(st.sampled_from([secret, "", "wrong"]))
    body = json.dumps(spoiled(data, pressed(update=data.draw(st.integers()), id=STRANGER))).encode()
    body = data.draw(st.binary(max_size=60)) if data.draw(st.integers(0, 4)) == 0 else body
    headers = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": given_secret}
    answer = await door.post("/webhooks/telegram", content=body, headers=headers)
    assert answer.status_code in ((200, 202, 400) if given_secret == secret else (401,))
    assert (desk.signals, desk.transitions) == ([], [])


async def test_an_update_with_a_wrong_secret_leaves_no_trace(door: httpx.AsyncClient, desk: Desk) -> None:
    answer = await door.post("/webhooks/telegram", json=pressed(), headers={"X-Telegram-Bot-Api-Secret-Token": "no"})
    assert answer.status_code == 401
    assert_nothing_happened(desk)
