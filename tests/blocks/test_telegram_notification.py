"""A notification that cannot be sent fails in the one way that Prefect's server understands."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from prefect.blocks.abstract import NotificationError
from pydantic import SecretStr

from blocks import TelegramNotification
from pipeline.clients.telegram import TelegramClient

TOKEN = "123:very-secret"


class BotApi(HTTPServer):
    """A Bot API server that answers as it is told and remembers what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply: tuple[int, Any] = (200, {"ok": True, "result": {"message_id": 1}})
        self.messages: list[dict[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    server: BotApi

    def do_POST(self) -> None:
        self.server.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status, body = self.server.reply
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def bot_api() -> Iterator[BotApi]:
    server = BotApi()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def block(api_url: str) -> TelegramNotification:
    return TelegramNotification(token=SecretStr(TOKEN), chat_id="7", api_url=api_url)


async def test_body_and_subject_arrive_as_text(bot_api: BotApi) -> None:
    await block(f"http://127.0.0.1:{bot_api.server_port}").notify("a < b & c", subject="<WID-1>")
    assert bot_api.messages[0]["text"] == "<b>&lt;WID-1&gt;</b>\na &lt; b &amp; c"
    assert bot_api.messages[0]["disable_notification"] is False


async def test_a_body_alone_arrives_alone(bot_api: BotApi) -> None:
    await block(f"http://127.0.0.1:{bot_api.server_port}").notify("hello")
    assert bot_api.messages[0]["text"] == "hello"


@pytest.mark.parametrize(
    ("status", "body", "log"),
    [
        (403, {"ok": False, "description": "Forbidden: bot was kicked"}, "403 Forbidden: bot was kicked"),
        (429, {"ok": False, "description": "Too Many Requests"}, "429 Too Many Requests"),
        (500, {}, "500"),
        (200, {"ok": True}, "not as expected"),
    ],
)
async def test_a_message_that_is_not_taken_is_a_notification_error(
    bot_api: BotApi, status: int, body: Any, log: str
) -> None:
    bot_api.reply = (status, body)
    with pytest.raises(NotificationError) as raised:
        await block(f"http://127.0.0.1:{bot_api.server_port}").notify("x")
    assert log in raised.value.log
    assert len(bot_api.messages) == 1


@pytest.mark.parametrize("api_url", ["http://127.0.0.1:1", "nonsense", "http://[", "http://h:notaport"])
async def test_an_address_that_does_not_work_is_a_notification_error(api_url: str) -> None:
    with pytest.raises(NotificationError) as raised:
        await block(api_url).notify("x")
    assert TOKEN not in raised.value.log


async def test_a_bug_of_ours_is_a_notification_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> str:
        raise ZeroDivisionError(TOKEN)

    monkeypatch.setattr(TelegramClient, "send", broken)
    with pytest.raises(NotificationError) as raised:
        await block("http://127.0.0.1:1").notify("x")
    assert raised.value.log == "Telegram could not be written to: ZeroDivisionError."
