"""One live message about each item: silent, true, and where it was, or below the others."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.state import TelegramMessage
from pipeline.messages import CATALOGUES, Texts
from pipeline.model import AgentEnd, AgentOutcome, Choice, Decision, Hold, Usage, WaitKind, WorkItem
from pipeline.settings import Settings
from pipeline.stages import Role, Stage
from pipeline.store import cards, evidence, items, outbox, waits
from tasks.cards import Seen, render
from tasks.outbox import deliver
from tests.support.services import Desk, open_desk, until


@pytest.fixture
async def bumping(sandbox: SandboxClient, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(sandbox, tmp_path, tracker_mode="Bump") as opened:
        yield opened


def of(desk: Desk, item: WorkItem) -> list[TelegramMessage]:
    """Every message about the item that was not deleted."""
    return [one for one in desk.sandbox.state().telegram.messages if f"{item.key}</" in one.text and not one.deleted]


async def shown(desk: Desk, item: WorkItem) -> None:
    """The item's news go out, the tracker's aside."""
    desk.store.write(outbox.live_card, item.key, desk.clock.now)
    desk.clock.forward(outbox.CARD_PAUSE.total_seconds())
    await deliver(desk.root, item.key)


def delete_by_hand(desk: Desk, message: TelegramMessage) -> None:
    url = f"{desk.sandbox.telegram_url}/bot{desk.sandbox.options.telegram_bot_token}/deleteMessage"
    httpx.post(url, json={"chat_id": message.chat_id, "message_id": message.message_id}, trust_env=False)


# --- in place


async def test_an_item_has_one_silent_message_that_follows_it(desk: Desk) -> None:
    item = desk.item()
    await shown(desk, item)
    desk.asks(item, WaitKind.APPROVAL)
    await shown(desk, item)
    desk.move(item, Stage.ARCHITECTURE)
    await shown(desk, item)
    [card] = of(desk, item)
    assert card.silent
    assert "Stage: architecture, visit 1" in card.text
    assert "At work" in card.text
    assert "Waits for approval: waits for approval" in card.edits[-1]


async def test_any_mode_that_nobody_knows_edits(sandbox: SandboxClient, tmp_path: Path) -> None:
    async with open_desk(sandbox, tmp_path, tracker_mode="sideways") as desk:
        item = desk.item()
        await shown(desk, item)
        desk.asks(item, WaitKind.APPROVAL)
        await shown(desk, item)
        assert len(of(desk, item)) == 1


async def test_a_change_of_status_brings_its_own_letter(desk: Desk) -> None:
    item = desk.item()
    desk.store.write(outbox.status, item.key, desk.clock.now)
    desk.store.write(outbox.status, item.key, desk.clock.now)
    assert [row.kind for row in desk.letters] == ["card", "status"]


async def test_nothing_is_called_when_there_is_no_news(desk: Desk) -> None:
    item = desk.item()
    await shown(desk, item)
    calls = desk.sandbox.state().calls
    await shown(desk, item)
    assert desk.sandbox.state().calls == calls


async def test_a_message_that_a_person_deleted_is_sent_anew_and_followed(desk: Desk) -> None:
    item = desk.item()
    await shown(desk, item)
    delete_by_hand(desk, of(desk, item)[0])
    desk.asks(item, WaitKind.APPROVAL)
    await shown(desk, item)
    [second] = of(desk, item)
    desk.move(item, Stage.ARCHITECTURE)
    await shown(desk, item)
    [third] = of(desk, item)
    assert (second.message_id, len(third.edits)) == (third.message_id, 1)


async def test_an_edit_whose_answer_was_lost_is_no_second_message(desk: Desk) -> None:
    item = desk.item()
    await shown(desk, item)
    desk.asks(item, WaitKind.APPROVAL)
    desk.sandbox.fail_next("telegram", 1, status=502, match="editMessageText", after=True)
    await shown(desk, item)
    desk.clock.forward(outbox.BACK_OFF[0])
    await deliver(desk.root, item.key)
    assert len(of(desk, item)) == 1
    assert [row.kind for row in desk.letters if row.sent_at is None] == []


async def test_too_many_calls_put_the_card_off_for_as_long_as_telegram_says(desk: Desk) -> None:
    item = desk.item()
    body = {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 30}}
    desk.sandbox.fail_next("telegram", 1, status=429, body=body, match="sendMessage")
    await shown(desk, item)
    desk.clock.forward(29)
    assert await deliver(desk.root, item.key) == 0
    desk.move(item, Stage.ARCHITECTURE)
    desk.clock.forward(1)
    assert await deliver(desk.root, item.key) == 1
    [card] = of(desk, item)
    assert "architecture" in card.text  # what is true when it is sent, not what was when it was written


async def test_two_senders_at_once_make_one_message(desk: Desk) -> None:
    item = desk.item()
    desk.store.write(outbox.live_card, item.key, desk.clock.now)
    desk.clock.forward(1)
    desk.sandbox.delay("telegram", 0.3, 1, match="sendMessage")
    slow = asyncio.create_task(deliver(desk.root, item.key))
    taken = await until(lambda: desk.store.read(cards.find, item.id))
    assert taken.message is None
    desk.move(item, Stage.ARCHITECTURE)
    await shown(desk, item)
    await slow
    desk.clock.forward(5)
    await deliver(desk.root, item.key)
    [card] = of(desk, item)
    assert "architecture" in card.text


async def test_a_chat_that_lets_the_bot_in_no_more_ends_in_a_letter_that_says_so(desk: Desk) -> None:
    item = desk.item()
    desk.sandbox.close_chat(1)
    try:
        await shown(desk, item)
    finally:
        desk.sandbox.close_chat(1, "")
    assert "takes no messages: 403 Forbidden: bot was kicked" in desk.letters[-1].last_error
    await shown(desk, item)
    assert len(of(desk, item)) == 1


# --- below the others


async def test_a_bumped_card_is_deleted_and_sent_anew_silently(bumping: Desk) -> None:
    item = bumping.item()
    await shown(bumping, item)
    [first] = of(bumping, item)
    bumping.asks(item, WaitKind.APPROVAL)
    await shown(bumping, item)
    [second] = of(bumping, item)
    assert (second.message_id > first.message_id, second.silent, second.edits) == (True, True, [])


@pytest.mark.parametrize("status", [400, 403, 500])
async def test_a_failed_delete_never_stops_the_send(bumping: Desk, status: int) -> None:
    item = bumping.item()
    await shown(bumping, item)
    bumping.asks(item, WaitKind.APPROVAL)
    bumping.sandbox.fail_next("telegram", 1, status=status, match="deleteMessage")
    await shown(bumping, item)
    old, new = of(bumping, item)
    card = bumping.store.read(cards.find, item.id)
    assert card is not None
    assert card.message == f"1/{new.message_id}"
    assert old.message_id < new.message_id


async def test_a_card_is_pointed_to_only_once_it_was_sent(bumping: Desk) -> None:
    item = bumping.item()
    await shown(bumping, item)
    before = bumping.store.read(cards.find, item.id)
    bumping.asks(item, WaitKind.APPROVAL)
    bumping.sandbox.fail_next("telegram", 1, status=500, match="sendMessage")
    await shown(bumping, item)
    assert bumping.store.read(cards.find, item.id) == before
    bumping.clock.forward(outbox.BACK_OFF[0])
    await deliver(bumping.root, item.key)
    assert len(of(bumping, item)) == 1
    assert bumping.store.read(cards.find, item.id) != before


async def test_a_card_without_news_is_not_bumped(bumping: Desk) -> None:
    item = bumping.item()
    await shown(bumping, item)
    await shown(bumping, item)
    assert [one.message_id for one in of(bumping, item)] == [of(bumping, item)[0].message_id]


# --- what it says


async def test_it_tells_attempts_cost_and_where_to_read_on(sandbox: SandboxClient, tmp_path: Path) -> None:
    bases = {"plane_web_url": "https://plane.example.org", "gitea_public_url": "https://git.example.org"}
    async with open_desk(sandbox, tmp_path, **bases) as desk:
        item = desk.item(Stage.DEVELOPMENT, attempts={"developer": 2}, pull_number=3)
        for cost in (0.5, 0.75):
            await worked(desk, item, cost)
        by_label = Decision(
            WaitKind.APPROVAL, Choice.APPROVE, "a" * 40, f"{waits.BY_LABEL}autoApprove", "", desk.clock.now
        )
        desk.store.write(waits.decide, item, by_label)
        desk.store.write(items.hold, item.id, Hold.ESCALATED, "red <again>", desk.clock.now)
        await shown(desk, item)
        text = of(desk, item)[0].text
    assert text.splitlines() == [
        f'📌 <b><a href="https://plane.example.org/acme/browse/{item.key}/">{item.key}</a></b> Print a receipt',
        "Stage: development, visit 1",
        "🆘 Escalated, a person has to look: red &lt;again&gt;",
        "Attempts spent: developer 2",
        "🏷 The label autoApprove has decided.",
        "Cost so far: $1.25",
        '<a href="https://git.example.org/acme/shop/pulls/3">Pull request</a> · '
        f'<a href="https://git.example.org/acme/shop/src/branch/{item.branch}/{item.artifacts}">Artifacts</a>',
    ]


async def worked(desk: Desk, item: WorkItem, cost: float) -> None:
    number = desk.store.write(
        evidence.agent_started, item, Role.DEVELOPER, model="", effort="", log=Path("x"), start_commit="a" * 40, run=None,
        now=desk.clock.now,
    )  # fmt: skip
    outcome = AgentOutcome(AgentEnd.FINISHED, "done", 0, Usage(cost_usd=cost), 1.0)
    desk.store.write(evidence.agent_finished, number, outcome, desk.clock.now)


async def test_long_words_of_others_leave_the_card_whole(desk: Desk) -> None:
    item = desk.item(card=desk.card("<b>" * 300))
    desk.store.write(items.hold, item.id, Hold.BLOCKED, "& " * 5000, desk.clock.now)
    await shown(desk, item)
    [card] = of(desk, item)
    assert card.parse_mode == "HTML"
    assert "Cost so far: $0.00" in card.text


@pytest.mark.parametrize("language", CATALOGUES)
async def test_every_standing_has_words_in_every_language(
    sandbox: SandboxClient, tmp_path: Path, language: str
) -> None:
    async with open_desk(sandbox, tmp_path, language=language) as desk:
        item = desk.item(attempts={role.value: 1 for role in Role})
        waits = [desk.asks(item, kind) for kind in WaitKind]
        seen = [Seen(item, wait, 0.0) for wait in waits]
        for kind in Hold:
            desk.store.write(items.unhold, item.id, reset=None)
            seen.append(Seen(desk.store.write(items.hold, item.id, kind, "so", desk.clock.now), None, 0.0))
        desk.store.write(items.unhold, item.id, reset=None)
        seen += [
            Seen(desk.store.write(items.update, desk.again(item), None, desk.clock.now, **changes), None, 0.0)
            for changes in (
                {},
                {"cancel_requested_at": desk.clock.now},
                *({"stage": stage, "cancel_requested_at": None} for stage in Stage),
                {"stage": Stage.DONE, "landed": "c" * 40},
            )
        ]
        texts = [render(desk.root, one) for one in seen]
    assert all(item.key in text for text in texts)
    assert len(set(texts)) == len(seen) - 1  # "at work at analysis" is there twice


def test_the_two_languages_differ_where_there_is_something_to_say() -> None:
    same = {"ignored", "link_issue", "wait ci"}
    english, russian = CATALOGUES["en"], CATALOGUES["ru"]
    assert {key for key in english if english[key] == russian[key]} <= same
    assert Texts("ru")("stage review") == "ревью"


@pytest.mark.parametrize(
    ("mode", "bumps"), [("bump", True), (" BUMP ", True), ("edit", False), ("", False), ("x", False)]
)
def test_only_bump_bumps(mode: str, bumps: bool) -> None:
    assert Settings.model_validate({"tracker_mode": mode}).bumps_cards is bumps
