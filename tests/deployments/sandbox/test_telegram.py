"""The sandbox's Telegram keeps what was sent, refuses what the real one refuses, and has buttons to press."""

from typing import Any

import httpx
import pytest

from deployments.sandbox.client import SandboxClient
from tests.deployments.sandbox.receiver import Receiver


def call(sandbox: SandboxClient, method: str, **fields: Any) -> dict[str, Any]:
    url = f"{sandbox.telegram_url}/bot{sandbox.options.telegram_bot_token}/{method}"
    answer: dict[str, Any] = httpx.post(url, json=fields, trust_env=False).json()
    return answer


def test_a_message_is_sent_edited_and_deleted(sandbox: SandboxClient) -> None:
    sent = call(sandbox, "sendMessage", chat_id=7, text="<b>one</b>", parse_mode="HTML", disable_notification=True)
    number = sent["result"]["message_id"]
    call(sandbox, "editMessageText", chat_id=7, message_id=number, text="two")
    call(sandbox, "deleteMessage", chat_id=7, message_id=number)
    message = sandbox.state().telegram.messages[0]
    assert (message.text, message.edits, message.deleted, message.silent) == ("two", ["<b>one</b>"], True, True)


@pytest.mark.parametrize(
    ("method", "fields", "description"),
    [
        ("editMessageText", {"message_id": 1, "text": "same"}, "message is not modified"),
        ("editMessageText", {"message_id": 99, "text": "x"}, "message to edit not found"),
        ("deleteMessage", {"message_id": 99}, "message to delete not found"),
        ("sendMessage", {"text": "a < b", "parse_mode": "HTML"}, "can't parse entities"),
        ("sendMessage", {"text": "<h1>x</h1>", "parse_mode": "HTML"}, "Unsupported start tag"),
        ("sendMessage", {"text": "<b>x", "parse_mode": "HTML"}, "Can't find end tag"),
        ("sendMessage", {"text": " "}, "message text is empty"),
        ("sendMessage", {"text": "x" * 4097}, "message is too long"),
        (
            "sendMessage",
            {"text": "x", "reply_markup": {"inline_keyboard": [[{"text": "b", "callback_data": "y" * 65}]]}},
            "BUTTON_DATA_INVALID",
        ),
    ],
)
def test_what_telegram_refuses_is_refused(
    sandbox: SandboxClient, method: str, fields: dict[str, Any], description: str
) -> None:
    call(sandbox, "sendMessage", chat_id=7, text="same")
    answer = call(sandbox, method, chat_id=7, **fields)
    assert (answer["ok"], answer["error_code"]) == (False, 400)
    assert description in answer["description"]


def test_markup_does_not_count_towards_the_length(sandbox: SandboxClient) -> None:
    text = "<b>" + "&amp;" * 4096 + "</b>"
    assert call(sandbox, "sendMessage", chat_id=7, text=text, parse_mode="HTML")["ok"]


def test_a_wrong_token_is_unauthorised(sandbox: SandboxClient) -> None:
    answer = httpx.post(f"{sandbox.telegram_url}/botnope/getMe", trust_env=False)
    assert (answer.status_code, answer.json()["ok"]) == (401, False)


def test_pressing_a_button_reaches_the_webhook_with_its_secret(sandbox: SandboxClient, receiver: Receiver) -> None:
    call(sandbox, "setWebhook", url=receiver.url, secret_token="tg-secret")
    keyboard = {"inline_keyboard": [[{"text": "Approve", "callback_data": "approve:1"}]]}
    number = call(sandbox, "sendMessage", chat_id=7, text="?", reply_markup=keyboard)["result"]["message_id"]
    sandbox.press(number, "approve:1", person=99)
    sandbox.press(number, "approve:1", person=99, again=True)
    first, second = receiver.wait_count(2)
    assert first.header("X-Telegram-Bot-Api-Secret-Token") == "tg-secret"
    query = first.body["callback_query"]
    assert (query["from"]["id"], query["data"], query["message"]["message_id"]) == (99, "approve:1", number)
    assert first.body["update_id"] == second.body["update_id"]
    call(sandbox, "answerCallbackQuery", callback_query_id=query["id"])
    assert [told.id for told in sandbox.state().telegram.answered_callbacks] == [query["id"]]
