"""Telegram's Bot API, as its public documentation describes it: the methods that Orch uses, and their refusals."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deployments.sandbox.clock import now
from deployments.sandbox.core import Core
from deployments.sandbox.plane_payloads import Json
from deployments.sandbox.state import CallbackAnswer, TelegramMessage
from deployments.sandbox.webhooks import Delivery

STYLES = frozenset({"b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "a", "code", "pre", "span"})
TAGS = STYLES | {"blockquote", "tg-spoiler", "tg-emoji"}
LONGEST_TEXT = 4096
LONGEST_CALLBACK = 64
LONGEST_ANSWER = 200
DELETABLE = timedelta(hours=48)
SECRET = re.compile(r"[A-Za-z0-9_-]{0,256}")
NOT_MODIFIED = (
    "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a "
    "current content and reply markup of the message"
)
BOT = {"id": 1, "is_bot": True, "first_name": "Orch", "username": "orch_bot"}


class TelegramError(Exception):
    """A refused call: `code` and `description` as the Bot API words them."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(code, description)
        self.code = code
        self.description = description
        self.parameters = parameters


class _Entities(HTMLParser):
    """Telegram's reading of `parse_mode=HTML`: few tags, all of them closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        if tag not in TAGS:
            raise TelegramError(400, f'Bad Request: can\'t parse entities: Unsupported start tag "{tag}"')
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise TelegramError(400, f'Bad Request: can\'t parse entities: Unexpected end tag "{tag}"')

    def handle_data(self, data: str) -> None:
        if "<" in data:
            raise TelegramError(400, "Bad Request: can't parse entities: Unexpected start of a tag")
        self.text.append(data)

    def handle_entityref(self, name: str) -> None:
        known = name in ("lt", "gt", "amp", "quot")  # other names stay as they are written
        self.text.append(unescape(f"&{name};") if known else f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.text.append(unescape(f"&#{name};"))


def shown(text: str, parse_mode: object) -> str:
    """The text that people see; `TelegramError` 400 for markup that Telegram does not take."""
    if parse_mode != "HTML":
        return text
    parser = _Entities()
    parser.feed(text)
    parser.close()
    if parser.open:
        raise TelegramError(400, f"Bad Request: can't parse entities: Can't find end tag of \"{parser.open[-1]}\"")
    return "".join(parser.text)


class Telegram:
    """One bot and its chats."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.world = core.world.telegram
        self._methods: Mapping[str, Callable[[Json], object]] = {
            "getMe": lambda _: BOT | {"can_join_groups": True},
            "getChat": self._chat,
            "sendMessage": self._send,
            "editMessageText": self._edit,
            "editMessageReplyMarkup": self._edit_buttons,
            "deleteMessage": self._delete,
            "answerCallbackQuery": self._answer,
            "setWebhook": self._set_webhook,
            "deleteWebhook": lambda _: self._set_webhook({}),
            "getWebhookInfo": lambda _: self._webhook_info(),
        }

    def routes(self) -> list[Route]:
        """The one route, relative to `/telegram`."""
        return [Route("/bot{token}/{method}", self._call, methods=["GET", "POST"])]

    async def _call(self, request: Request) -> Response:
        try:
            if request.path_params["token"] != self._core.options.telegram_bot_token:
                raise TelegramError(401, "Unauthorized")
            method = self._methods.get(request.path_params["method"])
            if method is None:
                raise TelegramError(404, "Not Found")
            raw = await request.body()
            fields = json.loads(raw) if raw else dict(request.query_params)
            return JSONResponse({"ok": True, "result": method(fields)})
        except TelegramError as error:
            body: Json = {"ok": False, "error_code": error.code, "description": error.description}
            return JSONResponse(body | ({"parameters": error.parameters} if error.parameters else {}), error.code)

    def _chat(self, fields: Json) -> object:
        """Every chat is a group that the bot is in, unless it was closed or moved; a name belongs to nobody."""
        try:
            chat = self._open_chat(fields)
        except ValueError:
            raise TelegramError(400, "Bad Request: chat not found") from None
        return {"id": chat, "type": "group", "title": f"Chat {chat}"}

    def _send(self, fields: Json) -> object:
        if not fields.get("chat_id"):
            raise TelegramError(400, "Bad Request: chat_id is empty")
        message = TelegramMessage(
            message_id=len(self.world.messages) + 1,
            chat_id=self._open_chat(fields),
            text=_checked_text(fields),
            parse_mode=str(fields["parse_mode"]) if fields.get("parse_mode") else None,
            silent=bool(fields.get("disable_notification")),
            buttons=_checked_buttons(fields),
        )
        self.world.messages.append(message)
        self._core.changed()
        return _body(message)

    def _open_chat(self, fields: Json) -> int:
        """The chat that is meant, if it takes messages."""
        chat = int(str(fields["chat_id"]))
        if chat in self.world.closed:
            raise TelegramError(403, self.world.closed[chat])
        if (new := self.world.migrated.get(chat)) is not None:
            text = "Bad Request: group chat was upgraded to a supergroup chat"
            raise TelegramError(400, text, migrate_to_chat_id=new)
        return chat

    def _edit(self, fields: Json) -> object:
        message = self._find(fields, "message to edit not found")
        return self._changed(message, _checked_text(fields), _checked_buttons(fields))

    def _edit_buttons(self, fields: Json) -> object:
        message = self._find(fields, "message to edit not found")
        return self._changed(message, message.text, _checked_buttons(fields))

    def _changed(self, message: TelegramMessage, text: str, buttons: list[list[dict[str, str]]]) -> object:
        if (message.text, message.buttons) == (text, buttons):
            raise TelegramError(400, NOT_MODIFIED)
        if text != message.text:
            message.edits.append(message.text)
        message.text, message.buttons = text, buttons
        self._core.changed()
        return _body(message)

    def _delete(self, fields: Json) -> object:
        message = self._find(fields, "message to delete not found")
        if now() - message.sent_at > DELETABLE:
            raise TelegramError(400, "Bad Request: message can't be deleted for everyone")
        message.deleted = True
        self._core.changed()
        return True

    def _find(self, fields: Json, otherwise: str) -> TelegramMessage:
        wanted = (str(fields.get("chat_id")), str(fields.get("message_id")))
        for one in self.world.messages:
            if (str(one.chat_id), str(one.message_id)) == wanted and not one.deleted:
                return one
        raise TelegramError(400, f"Bad Request: {otherwise}")

    def _answer(self, fields: Json) -> object:
        number = str(fields.get("callback_query_id"))
        if number not in self.world.asked_callbacks:
            text = "Bad Request: query is too old and response timeout expired or query ID is invalid"
            raise TelegramError(400, text)
        text = str(fields.get("text") or "")
        if len(text) > LONGEST_ANSWER:
            raise TelegramError(400, "Bad Request: MESSAGE_TOO_LONG")
        self.world.answered_callbacks.append(CallbackAnswer(id=number, text=text))
        self._core.changed()
        return True

    def _set_webhook(self, fields: Json) -> object:
        """Any address is taken, as a Bot API server of one's own does in its local mode; Telegram's wants HTTPS."""
        secret = str(fields.get("secret_token") or "")
        if not SECRET.fullmatch(secret):
            raise TelegramError(400, "Bad Request: secret token contains unallowed characters")
        self.world.webhook_url = str(fields.get("url") or "")
        self.world.webhook_secret = secret
        allowed = fields.get("allowed_updates")
        self.world.allowed_updates = [str(name) for name in allowed] if isinstance(allowed, list) else []
        self._core.changed()
        return True

    def _webhook_info(self) -> Json:
        told = [sent for sent in self._core.webhooks.report() if sent["peer"] == "telegram"]
        failed = next((sent for sent in reversed(told) if not sent["outcome"].startswith("2")), None)
        info: Json = {"url": self.world.webhook_url, "has_custom_certificate": False, "pending_update_count": 0}
        info |= {"allowed_updates": self.world.allowed_updates} if self.world.allowed_updates else {}
        return info | (
            {"last_error_message": f"Wrong response from the webhook: {failed['outcome']}"} if failed else {}
        )

    def press(
        self, message_id: int, data: str, person: int, *, username: str = "", is_bot: bool = False, again: bool = False
    ) -> int:
        """A person presses a button; the update goes to the webhook. `again` repeats the last update id."""
        message = next((one for one in self.world.messages if one.message_id == message_id), None)
        if message is None:
            raise TelegramError(400, "Bad Request: message not found")
        self.world.last_update += 0 if again else 1
        number = self.world.last_update
        self.world.asked_callbacks.append(f"callback-{number}")
        query = {
            "id": f"callback-{number}",
            "from": {"id": person, "is_bot": is_bot, "first_name": "Ada"}
            | ({"username": username} if username else {}),
            "message": _body(message),
            "chat_instance": str(message.chat_id),
            "data": data,
        }
        self._deliver({"update_id": number, "callback_query": query})
        return number

    def migrate(self, chat: int, new: int) -> None:
        """A group becomes a supergroup: its old id takes no messages any more."""
        self.world.migrated[chat] = new
        self._core.changed()

    def close(self, chat: int, why: str) -> None:
        """A chat lets the bot in no more; an empty `why` lets it in again."""
        self.world.closed = {other: text for other, text in self.world.closed.items() if other != chat}
        if why:
            self.world.closed[chat] = why
        self._core.changed()

    def _deliver(self, update: Json) -> None:
        self._core.changed()
        allowed = self.world.allowed_updates
        if not self.world.webhook_url or (allowed and "callback_query" not in allowed):
            return
        secret = self.world.webhook_secret
        headers = {"Content-Type": "application/json"}
        headers |= {"X-Telegram-Bot-Api-Secret-Token": secret} if secret else {}
        raw = json.dumps(update).encode()
        url, delays = self.world.webhook_url, self._core.options.plane_retry_delays_s
        sent = Delivery("telegram", "callback_query", url, lambda: raw, lambda _: headers, delays, wants_2xx=True)
        self._core.webhooks.send(sent)


def _checked_text(fields: Json) -> str:
    text = str(fields.get("text") or "")
    visible = shown(text, fields.get("parse_mode"))
    if not visible.strip():
        raise TelegramError(400, "Bad Request: message text is empty")
    if len(visible) > LONGEST_TEXT:
        raise TelegramError(400, "Bad Request: message is too long")
    return text


def _checked_buttons(fields: Json) -> list[list[dict[str, str]]]:
    markup = fields.get("reply_markup")
    rows = markup.get("inline_keyboard", []) if isinstance(markup, dict) else []
    for button in (button for row in rows for button in row):
        if len(str(button.get("callback_data", "")).encode()) > LONGEST_CALLBACK:
            raise TelegramError(400, "Bad Request: BUTTON_DATA_INVALID")
    return [[{str(k): str(v) for k, v in button.items()} for button in row] for row in rows]


def _body(message: TelegramMessage) -> Json:
    body: Json = {
        "message_id": message.message_id,
        "from": BOT,
        "chat": {"id": message.chat_id, "type": "private"},
        "date": int(message.sent_at.timestamp()),
        "text": message.text,
    }
    return body | {"reply_markup": {"inline_keyboard": message.buttons}} if message.buttons else body
