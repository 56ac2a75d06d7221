"""Telegram's Bot API as a messenger. How it answers is taken from its documentation, not measured."""

import logging
import re
from collections.abc import Sequence
from html import escape, unescape
from http import HTTPStatus
from typing import Any

import httpx
from pydantic import BaseModel, SecretStr

from pipeline.clients.http import Answer, HttpApi, HttpClient
from pipeline.errors import Refused
from pipeline.model import Button
from pipeline.plain_text import html_to_text

log = logging.getLogger("orch.telegram")

LONGEST_TEXT = 4096
"""Characters of a message after its tags are taken off, counted as Telegram does: in UTF-16 units."""

PATIENCE_S = 50.0
"""How long an answer is waited for: what Telegram has taken is in the chat although its answer comes late, and it knows
no identity by which it would refuse the same message a second time."""

_PIECE = re.compile(r"<(?P<closing>/?)(?P<tag>[a-zA-Z][a-zA-Z0-9-]*)[^<>]*>|&#?\w+;|.", re.DOTALL)
_TOKEN_IN_URL = re.compile(r"/bot[^/]+/")

LONGEST_ANSWER = 200
"""Characters that a person who pressed a button is shown."""

UPDATES = ("callback_query",)
"""The only updates that Orch wants: it reads no messages."""

_CANNOT_PARSE = "can't parse entities"
_NOT_MODIFIED = "message is not modified"
_GONE = (
    *("message to edit not found", "message can't be edited", "message_id_invalid", "message is not found"),
    *("message to delete not found", "message can't be deleted"),
)
_TOO_LATE = ("query is too old", "query id is invalid", "query_id_invalid")


class _Message(BaseModel):
    message_id: int


class _Sent(BaseModel):
    result: _Message


class Bot(BaseModel):
    """Who a token belongs to."""

    id: int
    username: str = ""


class _Me(BaseModel):
    result: Bot


class Chat(BaseModel):
    """A chat: a group or channel has a title, a person's has a user name."""

    id: int
    type: str
    title: str = ""
    username: str = ""


class _ChatAnswer(BaseModel):
    result: Chat


class WebhookInfo(BaseModel):
    """Where Telegram sends updates, and how that went last; `url` is empty without a webhook."""

    url: str
    pending_update_count: int = 0
    last_error_message: str = ""
    allowed_updates: tuple[str, ...] = ()


class _Webhook(BaseModel):
    result: WebhookInfo


class _HideToken(logging.Filter):
    """Takes the token out of what httpx logs: at level INFO that is the URL of every request, and it is part of it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                _TOKEN_IN_URL.sub("/bot***/", str(arg)) if isinstance(arg, httpx.URL) else arg for arg in record.args
            )
        return True


logging.getLogger("httpx").addFilter(_HideToken())


class TelegramClient(HttpClient):
    """Fills `pipeline.ports.Messenger` for one chat. One connection pool; close it with `aclose`.

    Every method may raise `Unavailable` (with `retry_after` when there were too many calls) or `Refused`, such as when
    the bot was blocked or removed from the chat. A reference to a message is `<chat>/<message id>`.
    """

    def __init__(self, api_url: str, token: SecretStr, chat_id: str) -> None:
        """`api_url` is the Bot API server's address; `chat_id` a number, or `@name` for a channel."""
        address = f"{api_url.rstrip('/')}/bot{token.get_secret_value()}/"
        super().__init__(HttpApi("Telegram", address, secret=token, patience_s=PATIENCE_S))
        self._configured = chat_id
        self._chat_id = chat_id

    @property
    def moved(self) -> str:
        """The chat's id once Telegram has said that the group is a supergroup now, with another one; else empty."""
        return self._chat_id if self._chat_id != self._configured else ""

    async def send(self, html: str, *, silent: bool = False, buttons: Sequence[Button] = ()) -> str:
        """Send a new message, cut to what Telegram takes, and return its reference. Not idempotent.

        The caller escapes what people wrote. HTML that Telegram cannot parse is sent again as plain text: a message
        without its formatting is better than none. A group that became a supergroup is written to under its new id.
        """
        options = {"disable_notification": silent, **_keyboard(buttons)}
        answer = await self._write("sendMessage", html, {"chat_id": self._chat_id, **options})
        if (new := _migrated_to(answer)) is not None:
            self._chat_id = new
            log.warning(
                "Telegram's chat %s is %s now and written to there: set ORCH_TELEGRAM_CHAT_ID and the block's chat_id.",
                *(self._configured, new),
            )
            answer = await self._write("sendMessage", html, {"chat_id": self._chat_id, **options})
        if answer.status == HTTPStatus.FORBIDDEN:
            text = f"Telegram's chat {self._chat_id} takes no messages: 403 {answer.message}. Unblock the bot or add it again."
            raise Refused(text, status=answer.status, path="sendMessage")
        return f"{self._chat_id}/{answer.read(_Sent).result.message_id}"

    async def edit(self, message: str, html: str) -> bool:
        """Have a message say `html`, without buttons; also true when it says so already. Idempotent.

        False when somebody deleted it, it cannot be edited any more, or it is in a chat that is not ours any more.
        """
        place = _place(message)
        if place["chat_id"] != self._chat_id:
            return False
        answer = await self._write("editMessageText", html, place)
        return _NOT_MODIFIED in answer.message or (_migrated_to(answer) is None and _there(answer))

    async def delete(self, message: str) -> bool:
        """Delete a message; false when it is gone, or older than the 48 hours in which a bot may. Idempotent."""
        return _there(await self._http.send("POST", "deleteMessage", body=_place(message)))

    async def take_buttons_off(self, message: str) -> bool:
        """Leave a message as it is, without its buttons; false when it is gone or cannot be edited. Idempotent."""
        body = {**_place(message), "reply_markup": {"inline_keyboard": []}}
        answer = await self._http.send("POST", "editMessageReplyMarkup", body=body)
        return _NOT_MODIFIED in answer.message or _there(answer)

    async def answer(self, press: str, text: str) -> bool:
        """Show `text` to the person who pressed a button (until then it spins); false when it is too late. Idempotent."""
        body = {"callback_query_id": press, "text": text[:LONGEST_ANSWER], "show_alert": False}
        answer = await self._http.send("POST", "answerCallbackQuery", body=body)
        if not answer.good and any(words in answer.message.casefold() for words in _TOO_LATE):
            return False
        answer.checked()
        return True

    async def set_webhook(self, url: str, secret: SecretStr) -> None:
        """Have pressed buttons told to `url`, with `secret` in the header of each call. Idempotent.

        `secret` is 1 to 256 of the characters A-Z, a-z, 0-9, `_` and `-`.
        """
        body = {"url": url, "secret_token": secret.get_secret_value(), "allowed_updates": list(UPDATES)}
        await self._http.call("POST", "setWebhook", body=body)

    async def me(self) -> Bot:
        """The bot that the token belongs to."""
        return (await self._http.call("POST", "getMe")).read(_Me).result

    async def chat(self) -> Chat:
        """The chat that is written to. Raises `Refused` when the bot is not in it, or was blocked or removed."""
        answer = await self._http.call("POST", "getChat", body={"chat_id": self._chat_id})
        return answer.read(_ChatAnswer).result

    async def webhook_info(self) -> WebhookInfo:
        """Where Telegram sends updates, and how that went last."""
        return (await self._http.call("POST", "getWebhookInfo")).read(_Webhook).result

    async def _write(self, method: str, html: str, fields: dict[str, Any]) -> Answer:
        """Call `method` with a text, as HTML, else as plain text."""
        fields = {**fields, "link_preview_options": {"is_disabled": True}}
        text = cut_html(html, LONGEST_TEXT)
        answer = await self._http.send("POST", method, body={**fields, "text": text, "parse_mode": "HTML"})
        if answer.good or _CANNOT_PARSE not in answer.message:
            return answer
        plain = unescape(cut_html(escape(html_to_text(html)), LONGEST_TEXT))
        return await self._http.send("POST", method, body={**fields, "text": plain})


def reference(chat_id: int, message_id: int) -> str:
    """The reference of a message that an update of Telegram's is about."""
    return f"{chat_id}/{message_id}"


def _place(message: str) -> dict[str, Any]:
    """The fields that name a message."""
    chat_id, _, message_id = message.rpartition("/")
    return {"chat_id": chat_id, "message_id": int(message_id)}


def _keyboard(buttons: Sequence[Button]) -> dict[str, Any]:
    """The field that puts buttons below a message, side by side; nothing without any."""
    row = [{"text": button.label, "callback_data": button.data} for button in buttons]
    return {"reply_markup": {"inline_keyboard": [row]}} if row else {}


def _there(answer: Answer) -> bool:
    """Whether the message that a call was about was there. Raises `Refused` for any other refusal."""
    if not answer.good and any(words in answer.message.casefold() for words in _GONE):
        return False
    answer.checked()
    return True


def _migrated_to(answer: Answer) -> str | None:
    """The new id of a group that became a supergroup."""
    parameters = answer.body.get("parameters") if not answer.good and isinstance(answer.body, dict) else None
    new = parameters.get("migrate_to_chat_id") if isinstance(parameters, dict) else None
    return str(new) if isinstance(new, int) else None


def cut_html(html: str, longest: int) -> str:
    """`html` with at most `longest` UTF-16 units of text, cut between characters, with the open tags closed.

    Tags do not count; an entity counts as what it stands for, and is never cut in two.
    """
    kept: list[str] = []
    open_tags: list[str] = []
    used, cut = 0, ""
    for piece in _PIECE.finditer(html):
        if piece["tag"] is None:
            used += _units(unescape(piece[0]))
            if used >= longest and not cut:  # the last place is kept for the mark that something is missing
                cut = "".join((*kept, "…", *(f"</{tag}>" for tag in reversed(open_tags))))
            if used > longest:
                return cut
        elif not piece["closing"]:
            open_tags.append(piece["tag"])
        elif open_tags:
            open_tags.pop()
        kept.append(piece[0])
    return html


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2
