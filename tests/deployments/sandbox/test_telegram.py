"""The sandbox's Telegram keeps what was sent, refuses what the real one refuses, and has buttons to press."""

from typing import Any

import httpx
import pytest

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.telegram import shown
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


def test_escaped_text_is_shown_as_it_was_meant(sandbox: SandboxClient) -> None:
    text = "<b>a &lt;b&gt; &amp; &#39;c&#x27; &quot;</b>"
    assert call(sandbox, "sendMessage", chat_id=7, text=text, parse_mode="HTML")["ok"]
    assert shown(text, "HTML") == "a <b> & 'c' \""


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


def test_buttons_are_taken_off_and_the_text_stays(sandbox: SandboxClient) -> None:
    keyboard = {"inline_keyboard": [[{"text": "Approve", "callback_data": "approve:1"}]]}
    number = call(sandbox, "sendMessage", chat_id=7, text="?", reply_markup=keyboard)["result"]["message_id"]
    fields = {"chat_id": 7, "message_id": number, "reply_markup": {"inline_keyboard": []}}
    assert call(sandbox, "editMessageReplyMarkup", **fields)["ok"]
    message = sandbox.state().telegram.messages[-1]
    assert (message.text, message.buttons, message.edits) == ("?", [], [])
    assert "not modified" in call(sandbox, "editMessageReplyMarkup", **fields)["description"]


def test_a_group_that_became_a_supergroup_names_its_new_id(sandbox: SandboxClient) -> None:
    sandbox.migrate_chat(8, -1008)
    answer = call(sandbox, "sendMessage", chat_id=8, text="x")
    assert (answer["error_code"], answer["parameters"]) == (400, {"migrate_to_chat_id": -1008})
    assert call(sandbox, "sendMessage", chat_id=-1008, text="x")["ok"]


def test_a_chat_can_put_the_bot_out_and_let_it_in_again(sandbox: SandboxClient) -> None:
    sandbox.close_chat(9)
    assert call(sandbox, "sendMessage", chat_id=9, text="x")["error_code"] == 403
    sandbox.close_chat(9, "")
    assert call(sandbox, "sendMessage", chat_id=9, text="x")["ok"]


def test_only_a_press_that_there_was_can_be_answered(sandbox: SandboxClient) -> None:
    answer = call(sandbox, "answerCallbackQuery", callback_query_id="made-up", text="x")
    assert "query is too old" in answer["description"]


@pytest.mark.parametrize("secret", ["with blanks", "ж", "x" * 257])
def test_a_secret_of_other_characters_is_refused(sandbox: SandboxClient, secret: str) -> None:
    answer = call(sandbox, "setWebhook", url="http://127.0.0.1:1/", secret_token=secret)
    assert "unallowed characters" in answer["description"]


def test_updates_that_were_not_asked_for_are_not_sent(sandbox: SandboxClient, receiver: Receiver) -> None:
    number = call(sandbox, "sendMessage", chat_id=7, text="?")["result"]["message_id"]
    call(sandbox, "setWebhook", url=receiver.url, allowed_updates=["message"])
    sandbox.press(number, "x", person=1)
    call(sandbox, "setWebhook", url=receiver.url, allowed_updates=["callback_query"])
    sandbox.press(number, "y", person=2)
    [only] = receiver.wait_count(1)
    assert only.body["callback_query"]["data"] == "y"


def test_an_update_that_is_refused_comes_again_and_the_last_refusal_is_told(
    sandbox: SandboxClient, receiver: Receiver
) -> None:
    receiver.answers = [502]
    call(sandbox, "setWebhook", url=receiver.url, secret_token="s")
    number = call(sandbox, "sendMessage", chat_id=7, text="?")["result"]["message_id"]
    sandbox.press(number, "x", person=1)
    first, second = receiver.wait_count(2)
    assert first.raw == second.raw
    info = call(sandbox, "getWebhookInfo")["result"]
    assert (info["url"], info["last_error_message"]) == (receiver.url, "Wrong response from the webhook: 502")
