"""Telegram's Bot API as a messenger. How it answers is taken from its documentation, not measured."""

import logging
import re
from html import escape, unescape
from http import HTTPStatus

import httpx
from pydantic import BaseModel, SecretStr

from pipeline.clients.http import Answer, HttpApi, HttpClient
from pipeline.plain_text import html_to_text

LONGEST_TEXT = 4096
"""Characters of a message after its tags are taken off, counted as Telegram does: in UTF-16 units."""

_PIECE = re.compile(r"<(?P<closing>/?)(?P<tag>[a-zA-Z][a-zA-Z0-9-]*)[^<>]*>|&#?\w+;|.", re.DOTALL)
_TOKEN_IN_URL = re.compile(r"/bot[^/]+/")
_CANNOT_PARSE = "can't parse entities"


class _Message(BaseModel):
    message_id: int


class _Sent(BaseModel):
    result: _Message


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
    """Fills `pipeline.ports.Messenger` for one chat. One connection pool; close it with `aclose`."""

    def __init__(self, api_url: str, token: SecretStr, chat_id: str) -> None:
        """`api_url` is the Bot API server's address; `chat_id` a number, or `@name` for a channel."""
        address = f"{api_url.rstrip('/')}/bot{token.get_secret_value()}/"
        super().__init__(HttpApi("Telegram", address, secret=token))
        self._chat_id = chat_id

    async def send(self, html: str, *, silent: bool = False) -> str:
        """Send a new message, cut to what Telegram takes, and return its id. Not idempotent.

        The caller escapes what people wrote. HTML that Telegram cannot parse is sent again as plain text: a message
        without its formatting is better than none. Raises `Unavailable` (with `retry_after` when there were too many),
        or `Refused`, such as when the bot was blocked or removed from the chat.
        """
        answer = await self._send(cut_html(html, LONGEST_TEXT), silent=silent, parse_mode="HTML")
        if answer.status == HTTPStatus.BAD_REQUEST and _CANNOT_PARSE in answer.message:
            plain = unescape(cut_html(escape(html_to_text(html)), LONGEST_TEXT))
            answer = await self._send(plain, silent=silent)
        return str(answer.read(_Sent).result.message_id)

    async def _send(self, text: str, *, silent: bool, **options: str) -> Answer:
        message = {
            "chat_id": self._chat_id,
            "text": text,
            "disable_notification": silent,
            "link_preview_options": {"is_disabled": True},
            **options,
        }
        return await self._http.send("POST", "sendMessage", body=message)


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
