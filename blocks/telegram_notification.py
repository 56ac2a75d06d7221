"""Block: a Telegram chat that Prefect's automations can write to."""

from html import escape

from prefect.blocks.abstract import NotificationBlock, NotificationError
from pydantic import Field, HttpUrl, SecretStr

from pipeline.clients.telegram import TelegramClient
from pipeline.errors import OrchError


class TelegramNotification(NotificationBlock):
    """A Telegram chat. Usable wherever Prefect takes a notification block, automations made in its pages included."""

    _block_type_name = "Telegram Notification"
    _block_type_slug = "telegram-notification"
    _description = "Sends messages to a Telegram chat."
    _documentation_url = HttpUrl("https://core.telegram.org/bots/api")

    token: SecretStr = Field(description="Token of the bot, as BotFather gave it.")
    chat_id: str = Field(description="Chat that is written to: a number, or @name for a channel.")
    api_url: str = Field(default="https://api.telegram.org", description="Address of the Bot API server.")
    silent: bool = Field(default=False, description="Whether messages arrive without a sound.")

    def get_client(self) -> TelegramClient:
        """A new client with its own connections; the caller closes it."""
        return TelegramClient(self.api_url, self.token, self.chat_id)

    async def notify(self, body: str, subject: str | None = None) -> None:
        """Send `body` below `subject`, both as plain text. Not idempotent.

        Raises `NotificationError` for whatever goes wrong: with any other exception Prefect's server runs the action
        again, four sends in all, and emits no failure event (measured on 3.8.8).
        """
        html = f"<b>{escape(subject)}</b>\n{escape(body)}" if subject else escape(body)
        try:
            async with self.get_client() as client:
                await client.send(html, silent=self.silent)
        except OrchError as error:
            raise NotificationError(log=str(error)) from error
        except Exception as error:  # noqa: BLE001  see the docstring; the type alone, its text may hold the token
            raise NotificationError(log=f"Telegram could not be written to: {type(error).__name__}.") from None
