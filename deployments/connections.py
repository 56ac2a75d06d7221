"""The blocks that hold how to reach each outside system: made from the settings once, then the operator's."""

from enum import StrEnum
from uuid import UUID

from prefect.blocks.core import Block
from pydantic import HttpUrl

from blocks import CodingAgent, GiteaServer, PlaneWorkspace, TelegramNotification
from pipeline.settings import Settings
from tasks.services import BLOCK


async def ensure_blocks(settings: Settings) -> UUID | None:
    """Have a block document for each system; the Telegram one's id, None without a bot. Idempotent.

    A document that exists is left as it is, whatever the settings say: it may have been changed in Prefect's pages.
    """
    await register_types(settings)
    await _ensure(plane_of(settings))
    await _ensure(gitea_of(settings))
    await _ensure(agent_of(settings))
    return await _ensure(telegram_of(settings)) if settings.telegram_bot_token.get_secret_value() else None


def plane_of(settings: Settings) -> PlaneWorkspace:
    """The block that these settings make."""
    return PlaneWorkspace(
        url=settings.plane_url,
        workspace=settings.plane_workspace,
        token=settings.plane_token,
        bot_tokens=dict(settings.plane_bot_tokens),
    )


def gitea_of(settings: Settings) -> GiteaServer:
    """The block that these settings make."""
    return GiteaServer(url=settings.gitea_url, token=settings.gitea_token)


def agent_of(settings: Settings) -> CodingAgent:
    """The block that these settings make."""
    kind, command = settings.agent
    return CodingAgent(
        kind=kind,
        command=list(command),
        pass_env=list(settings.agent_pass_env),
        model=settings.agent_model,
        effort=settings.agent_effort,
        timeout_s=settings.agent_timeout_s,
        idle_timeout_s=settings.agent_idle_timeout_s,
    )


def telegram_of(settings: Settings) -> TelegramNotification:
    """The block that these settings make."""
    return TelegramNotification(
        token=settings.telegram_bot_token, chat_id=settings.telegram_chat_id, api_url=settings.telegram_api_url
    )


CONNECTING = frozenset({"url", "workspace", "token", "chat_id", "api_url", "command", "pass_env"})
"""Fields of blocks that say how a system is reached; all others are an operator's choices."""


class Kept(StrEnum):
    """What became of a block's document."""

    MADE = "The block was made."
    CHANGED = "The block was changed: start `orch up` again."
    SAME = "The block says so already."


async def keep(settings: Settings, block: Block) -> Kept:
    """Have the document reach the system as `block` does; what else an operator changed in it stays. Idempotent."""
    await register_types(settings)
    try:
        found: Block = await type(block).aload(BLOCK)
    except ValueError:  # what Prefect raises for a document that does not exist
        await block.asave(BLOCK)
        return Kept.MADE
    names = CONNECTING & set(type(block).model_fields)
    if all(getattr(found, name) == getattr(block, name) for name in names):
        return Kept.SAME
    for name in names:
        setattr(found, name, getattr(block, name))
    await found.asave(BLOCK, overwrite=True)
    return Kept.CHANGED


async def register_types(settings: Settings) -> None:
    """Let the Prefect server know the kinds of blocks, with logos that this Orch's receiver serves. Idempotent."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104  compared, not bound
    for block in (PlaneWorkspace, GiteaServer, CodingAgent, TelegramNotification):
        slug = block.get_block_type_slug()
        block._logo_url = HttpUrl(f"http://{host}:{settings.port}/logos/{slug}.svg")
        await block.aregister_type_and_schema()


async def _ensure(block: Block) -> UUID | None:
    """The document's id: the one that exists, or one made now."""
    try:
        found: Block = await type(block).aload(BLOCK)
    except ValueError:  # what Prefect raises for a document that does not exist
        return UUID(str(await block.asave(BLOCK)))
    return found._block_document_id
