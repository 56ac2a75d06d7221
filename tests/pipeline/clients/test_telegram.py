"""Telegram's Bot API, as its documentation describes it."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from html import escape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipeline.clients.telegram import TelegramClient, cut_html
from pipeline.errors import Refused, Unavailable
from pipeline.model import Button
from pipeline.plain_text import html_to_text
from tests.support import faulty

TOKEN = "123456:AAF-very-secret"
PATH = f"/bot{TOKEN}/sendMessage"
SENT = {"ok": True, "result": {"message_id": 42, "chat": {"id": 7}}}


@pytest.fixture
async def telegram(replay: Any) -> AsyncIterator[TelegramClient]:
    async with TelegramClient(replay.url, SecretStr(TOKEN), "7") as client:
        yield client


async def test_a_message_is_sent_as_html_without_link_previews(telegram: TelegramClient, replay: Any) -> None:
    replay.on("POST", PATH, 200, SENT)
    assert await telegram.send("<b>Hello</b>", silent=True) == "7/42"
    assert replay.calls[0].body == {
        "chat_id": "7",
        "text": "<b>Hello</b>",
        "parse_mode": "HTML",
        "disable_notification": True,
        "link_preview_options": {"is_disabled": True},
    }


async def test_html_that_telegram_cannot_parse_is_sent_as_plain_text(telegram: TelegramClient, replay: Any) -> None:
    cannot = {"ok": False, "error_code": 400, "description": "Bad Request: can't parse entities: Unsupported tag"}
    replay.on("POST", PATH, 400, cannot)
    replay.on("POST", PATH, 200, SENT)
    assert await telegram.send("<blink>a &lt; b</blink>") == "7/42"
    assert replay.calls[1].body["text"] == "a < b"
    assert "parse_mode" not in replay.calls[1].body


async def test_too_many_messages_tell_how_long_to_wait(telegram: TelegramClient, replay: Any) -> None:
    too_many = {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 8}}
    replay.on("POST", PATH, 429, too_many)
    with pytest.raises(Unavailable) as raised:
        await telegram.send("x")
    assert raised.value.retry_after == 8.0


@pytest.mark.parametrize(
    ("status", "description"), [(403, "Forbidden: bot was blocked by the user"), (400, "Bad Request: chat not found")]
)
async def test_a_chat_that_cannot_be_written_to_is_refused(
    telegram: TelegramClient, replay: Any, status: int, description: str
) -> None:
    replay.on("POST", PATH, status, {"ok": False, "error_code": status, "description": description})
    with pytest.raises(Refused, match=description):
        await telegram.send("x")
    assert len(replay.calls) == 1


@pytest.mark.parametrize("status", [200, 404, 500])
async def test_the_token_is_in_no_log_and_no_error(
    telegram: TelegramClient, replay: Any, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    replay.on("POST", PATH, status, {"ok": False, "description": f"not found: {PATH}"})
    with caplog.at_level(logging.DEBUG), pytest.raises((Refused, Unavailable)) as raised:
        await telegram.send("x")
    assert "AAF-very-secret" not in caplog.text + str(raised.value) + repr(raised.value)
    assert "/bot***/sendMessage" in caplog.text


async def test_a_server_that_is_not_there_is_unavailable_without_its_url() -> None:
    async with TelegramClient("http://127.0.0.1:1", SecretStr(TOKEN), "7") as telegram:
        with pytest.raises(Unavailable, match="Telegram cannot be reached for POST sendMessage") as raised:
            await telegram.send("x")
    assert "AAF-very-secret" not in str(raised.value)


# --- what a message can become


CARD = "7/42"
BAD = "Bad Request: "


def refuses(replay: Any, method: str, description: str, **parameters: int) -> None:
    body = {"ok": False, "error_code": 400, "description": description, "parameters": parameters}
    replay.on("POST", f"/bot{TOKEN}/{method}", 400, body)


async def test_buttons_are_sent_side_by_side(telegram: TelegramClient, replay: Any) -> None:
    replay.on("POST", PATH, 200, SENT)
    await telegram.send("?", buttons=[Button("Yes", "k:approve"), Button("No", "k:reject")])
    assert replay.calls[0].body["reply_markup"] == {
        "inline_keyboard": [
            [{"text": "Yes", "callback_data": "k:approve"}, {"text": "No", "callback_data": "k:reject"}]
        ]
    }


async def test_an_edited_message_is_named_by_chat_and_number(telegram: TelegramClient, replay: Any) -> None:
    replay.on("POST", f"/bot{TOKEN}/editMessageText", 200, SENT)
    assert await telegram.edit(CARD, "<b>new</b>")
    body = replay.calls[0].body
    assert (body["chat_id"], body["message_id"], body["text"], body["parse_mode"]) == ("7", 42, "<b>new</b>", "HTML")


@pytest.mark.parametrize(
    ("description", "shows_it"),
    [
        ("message is not modified: specified new message content is the same", True),
        ("message to edit not found", False),
        ("message can't be edited", False),
        ("MESSAGE_ID_INVALID", False),
    ],
)
async def test_a_message_that_cannot_be_edited_is_told_from_one_that_says_so_already(
    telegram: TelegramClient, replay: Any, description: str, shows_it: bool
) -> None:
    refuses(replay, "editMessageText", BAD + description)
    assert await telegram.edit(CARD, "x") is shows_it
    assert len(replay.calls) == 1


async def test_a_message_in_another_chat_is_left_alone(telegram: TelegramClient, replay: Any) -> None:
    assert not await telegram.edit("8/42", "x")
    assert replay.calls == []


async def test_any_other_refusal_of_an_edit_is_raised(telegram: TelegramClient, replay: Any) -> None:
    refuses(replay, "editMessageText", BAD + "not enough rights")
    with pytest.raises(Refused, match="not enough rights"):
        await telegram.edit(CARD, "x")


async def test_an_edit_that_telegram_cannot_parse_is_made_as_plain_text(telegram: TelegramClient, replay: Any) -> None:
    refuses(replay, "editMessageText", BAD + "can't parse entities: Unsupported start tag")
    replay.on("POST", f"/bot{TOKEN}/editMessageText", 200, SENT)
    assert await telegram.edit(CARD, "<blink>a &lt; b</blink>")
    assert (replay.calls[1].body["text"], "parse_mode" in replay.calls[1].body) == ("a < b", False)


@pytest.mark.parametrize("description", ["message to delete not found", "message can't be deleted for everyone"])
async def test_a_message_that_cannot_be_deleted_says_so(
    telegram: TelegramClient, replay: Any, description: str
) -> None:
    refuses(replay, "deleteMessage", BAD + description)
    assert not await telegram.delete(CARD)


async def test_a_deleted_message_is_gone(telegram: TelegramClient, replay: Any) -> None:
    replay.on("POST", f"/bot{TOKEN}/deleteMessage", 200, {"ok": True, "result": True})
    assert await telegram.delete(CARD)
    assert replay.calls[0].body == {"chat_id": "7", "message_id": 42}


async def test_buttons_are_taken_off_and_the_text_stays(telegram: TelegramClient, replay: Any) -> None:
    replay.on("POST", f"/bot{TOKEN}/editMessageReplyMarkup", 200, SENT)
    assert await telegram.take_buttons_off(CARD)
    assert replay.calls[0].body == {"chat_id": "7", "message_id": 42, "reply_markup": {"inline_keyboard": []}}


@pytest.mark.parametrize(
    ("description", "off"), [("message is not modified", True), ("message to edit not found", False)]
)
async def test_buttons_that_are_off_already_are_no_error(
    telegram: TelegramClient, replay: Any, description: str, off: bool
) -> None:
    refuses(replay, "editMessageReplyMarkup", BAD + description)
    assert await telegram.take_buttons_off(CARD) is off


async def test_a_press_is_answered_with_at_most_what_telegram_shows(telegram: TelegramClient, replay: Any) -> None:
    replay.on("POST", f"/bot{TOKEN}/answerCallbackQuery", 200, {"ok": True, "result": True})
    assert await telegram.answer("q1", "x" * 300)
    assert (replay.calls[0].body["callback_query_id"], len(replay.calls[0].body["text"])) == ("q1", 200)


async def test_a_press_that_is_too_old_to_be_answered_is_no_error(telegram: TelegramClient, replay: Any) -> None:
    refuses(replay, "answerCallbackQuery", BAD + "query is too old and response timeout expired or query ID is invalid")
    assert not await telegram.answer("q1", "x")


async def test_a_group_that_became_a_supergroup_is_written_to_under_its_new_id(
    telegram: TelegramClient, replay: Any, caplog: pytest.LogCaptureFixture
) -> None:
    refuses(replay, "sendMessage", BAD + "group chat was upgraded to a supergroup chat", migrate_to_chat_id=-1007)
    replay.on("POST", PATH, 200, SENT)
    assert telegram.moved == ""
    assert await telegram.send("one") == "-1007/42"
    assert await telegram.send("two") == "-1007/42"
    assert [call.body["chat_id"] for call in replay.calls] == ["7", "-1007", "-1007"]
    assert telegram.moved == "-1007"
    assert "ORCH_TELEGRAM_CHAT_ID" in caplog.text
    assert not await telegram.edit(CARD, "the old chat's messages are gone for us")


async def test_the_webhook_is_set_with_its_secret_for_pressed_buttons_only(
    telegram: TelegramClient, replay: Any
) -> None:
    replay.on("POST", f"/bot{TOKEN}/setWebhook", 200, {"ok": True, "result": True})
    await telegram.set_webhook("https://orch.example.org/webhooks/telegram", SecretStr("s3cret"))
    assert replay.calls[0].body == {
        "url": "https://orch.example.org/webhooks/telegram",
        "secret_token": "s3cret",
        "allowed_updates": ["callback_query"],
    }


async def test_who_the_bot_is_and_how_its_webhook_does_can_be_asked(telegram: TelegramClient, replay: Any) -> None:
    me = {"id": 1, "is_bot": True, "first_name": "Orch", "username": "orch_bot"}
    info = {"url": "https://x", "has_custom_certificate": False, "pending_update_count": 3, "last_error_message": "502"}
    replay.on("POST", f"/bot{TOKEN}/getMe", 200, {"ok": True, "result": me})
    replay.on("POST", f"/bot{TOKEN}/getWebhookInfo", 200, {"ok": True, "result": info})
    assert (await telegram.me()).username == "orch_bot"
    told = await telegram.webhook_info()
    assert (told.url, told.pending_update_count, told.last_error_message) == ("https://x", 3, "502")


# --- a server that misbehaves

OK = {"ok": True, "result": {"message_id": 42}}
MADE: dict[str, Callable[[TelegramClient], Awaitable[object]]] = {
    "send": lambda telegram: telegram.send("x"),
    "edit": lambda telegram: telegram.edit(CARD, "x"),
    "delete": lambda telegram: telegram.delete(CARD),
    "take buttons off": lambda telegram: telegram.take_buttons_off(CARD),
    "answer": lambda telegram: telegram.answer("q", "x"),
    "set webhook": lambda telegram: telegram.set_webhook("https://x", SecretStr("s")),
    "me": lambda telegram: telegram.me(),
    "webhook info": lambda telegram: telegram.webhook_info(),
}


@pytest.mark.parametrize("call", MADE)
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faulty.answer(401, {"ok": False, "error_code": 401, "description": f"Unauthorized {TOKEN}"}), Refused),
        (faulty.answer(403, {"ok": False, "error_code": 403, "description": "Forbidden: bot was kicked"}), Refused),
        (faulty.answer(404, {"ok": False, "error_code": 404, "description": "Not Found"}), Refused),
        (faulty.answer(429, {"ok": False, "parameters": {"retry_after": 3}}), Unavailable),
        (faulty.answer(500), Unavailable),
        (faulty.page(502), Unavailable),
        (faulty.page(200), Unavailable),
        (faulty.redirect("http://127.0.0.1:1/"), Unavailable),
        (faulty.garbage(), Unavailable),
        (faulty.drop(), Unavailable),
        (faulty.cut(OK), Unavailable),
        (faulty.answer(400, [TOKEN]), Refused),
        (faulty.answer(400, {"ok": False, "parameters": {"migrate_to_chat_id": {}}}), Refused),
    ],
)
async def test_a_fault_is_one_typed_exception_that_does_not_tell_the_token(
    call: str, fault: faulty.Fault, kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    with faulty.faulty_server([fault]) as server, caplog.at_level(logging.DEBUG):
        async with TelegramClient(server.url, SecretStr(TOKEN), "7") as telegram:
            with pytest.raises(kind) as raised:
                await MADE[call](telegram)
    assert len(server.requests) == 1
    assert "AAF-very-secret" not in caplog.text + str(raised.value) + repr(raised.value)


@pytest.mark.parametrize("call", ["send", "me", "webhook info"])
@pytest.mark.parametrize("body", [None, {}, {"ok": True}, {"ok": True, "result": []}, {"ok": False}, [], "text"])
async def test_a_good_answer_without_what_is_needed_is_no_success(call: str, body: object) -> None:
    with faulty.faulty_server([faulty.answer(200, body)]) as server:
        async with TelegramClient(server.url, SecretStr(TOKEN), "7") as telegram:
            with pytest.raises(Unavailable):
                await MADE[call](telegram)


# --- cutting


@pytest.mark.parametrize(
    ("html", "longest", "cut"),
    [
        ("<b>abc</b>", 3, "<b>abc</b>"),
        ("<b>abcd</b>", 3, "<b>ab…</b>"),
        ("<a href='x'><i>abcd</i></a>e", 3, "<a href='x'><i>ab…</i></a>"),
        ("a&amp;&lt;b", 4, "a&amp;&lt;b"),
        ("a&amp;&lt;b", 3, "a&amp;…"),
        ("ab🚀", 4, "ab🚀"),
        ("ab🚀c", 4, "ab…"),
        ("a < b", 3, "a …"),
    ],
)
def test_a_long_message_is_cut_at_a_safe_place(html: str, longest: int, cut: str) -> None:
    assert cut_html(html, longest) == cut


@given(text=st.text(alphabet=st.characters(exclude_categories=("C", "Z"))), longest=st.integers(2, 40))
def test_a_cut_message_is_never_too_long_and_begins_as_the_whole_one(text: str, longest: int) -> None:
    shown = html_to_text(cut_html(f"<b>{escape(text)}</b>", longest))
    assert len(shown.encode("utf-16-le")) // 2 <= longest
    assert text.startswith(shown.removesuffix("…"))
