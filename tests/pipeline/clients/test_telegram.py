"""Telegram's Bot API, as its documentation describes it."""

import logging
from collections.abc import AsyncIterator
from html import escape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from pipeline.clients.telegram import TelegramClient, cut_html
from pipeline.errors import Refused, Unavailable
from pipeline.plain_text import html_to_text

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
