"""Whether the Telegram bot is known, reaches its chat, and is told of pressed buttons."""

from deployments.checkup.finding import Finding, fine, less, missing
from pipeline.clients.telegram import TelegramClient
from pipeline.errors import OrchError, Refused
from pipeline.settings import Settings

ABOUT = "Telegram"


async def look_at_telegram(client: TelegramClient, settings: Settings, *, set_webhook: bool = False) -> list[Finding]:
    """Everything about Telegram; only the first finding when nothing can be asked. Writes no message.

    Changes nothing, unless `set_webhook`.
    """
    try:
        bot = await client.me()
    except Refused as error:
        return [missing(ABOUT, str(error), "Ask BotFather for the token; then set ORCH_TELEGRAM_BOT_TOKEN.")]
    except OrchError as error:
        return [missing(ABOUT, str(error), "Correct ORCH_TELEGRAM_API_URL, or try again in a moment.")]
    return [
        fine(ABOUT, f"The bot is {bot.username or bot.id}."),
        await _chat(client),
        await _buttons(client, settings, set_webhook=set_webhook),
    ]


async def _chat(client: TelegramClient) -> Finding:
    try:
        chat = await client.chat()
    except OrchError as error:
        step = "Write to the bot, or add it to the group; then set ORCH_TELEGRAM_CHAT_ID to that chat's id."
        return missing(ABOUT, f"The chat cannot be reached: {error}", step)
    return fine(ABOUT, f"The {chat.type} chat {chat.title or chat.username or chat.id} is reached.")


async def _buttons(client: TelegramClient, settings: Settings, *, set_webhook: bool) -> Finding:
    url, secret = settings.webhook_url("telegram"), settings.telegram_webhook_secret
    if not secret.get_secret_value():
        step = "Set ORCH_TELEGRAM_WEBHOOK_SECRET and ORCH_TELEGRAM_ALLOWED_USER_IDS if you want them."
        return less(ABOUT, "Messages have no buttons: ORCH_TELEGRAM_WEBHOOK_SECRET is not set.", step)
    step = "`orch connect telegram --set-webhook` sets it; Telegram needs an https address, in ORCH_PUBLIC_URL."
    try:
        if set_webhook:
            await client.set_webhook(url, secret)
        info = await client.webhook_info()
    except OrchError as error:
        return missing(ABOUT, f"The webhook: {error}", step)
    if info.url != url:
        return missing(ABOUT, f"Buttons are not told to {url} but to {info.url or 'nobody'}.", step)
    if not settings.telegram_allowed_user_ids:
        step = "Set ORCH_TELEGRAM_ALLOWED_USER_IDS to the ids of those who may decide."
        return less(ABOUT, "Nobody's buttons count: ORCH_TELEGRAM_ALLOWED_USER_IDS is empty.", step)
    if info.last_error_message:
        step = "Look whether the proxy passes /webhooks/ on; an old error stays until the next button is pressed."
        return less(ABOUT, f"Buttons are told to {url}; the last error was: {info.last_error_message}.", step)
    return fine(ABOUT, f"Pressed buttons are told to {url}.")
