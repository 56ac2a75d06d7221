"""The blocks that hold how to reach each outside system: made from the settings once, then the operator's."""

from uuid import UUID

from prefect.blocks.core import Block

from blocks import CodingAgent, GiteaServer, PlaneWorkspace, TelegramNotification
from pipeline.settings import Settings
from tasks.services import BLOCK


async def ensure_blocks(settings: Settings) -> UUID | None:
    """Have a block document for each system; the Telegram one's id, None without a bot. Idempotent.

    A document that exists is left as it is, whatever the settings say: it may have been changed in Prefect's pages.
    """
    for block in (PlaneWorkspace, GiteaServer, CodingAgent, TelegramNotification):
        await block.aregister_type_and_schema()
    await _ensure(
        PlaneWorkspace(url=settings.plane_url, workspace=settings.plane_workspace, token=settings.plane_token)
    )
    await _ensure(GiteaServer(url=settings.gitea_url, token=settings.gitea_token))
    kind, command = settings.agent
    await _ensure(
        CodingAgent(
            kind=kind,
            command=list(command),
            pass_env=list(settings.agent_pass_env),
            model=settings.agent_model,
            effort=settings.agent_effort,
            timeout_s=settings.agent_timeout_s,
            idle_timeout_s=settings.agent_idle_timeout_s,
        )
    )
    if not settings.telegram_bot_token.get_secret_value():
        return None
    return await _ensure(
        TelegramNotification(
            token=settings.telegram_bot_token, chat_id=settings.telegram_chat_id, api_url=settings.telegram_api_url
        )
    )


async def _ensure(block: Block) -> UUID | None:
    """The document's id: the one that exists, or one made now."""
    try:
        found: Block = await type(block).aload(BLOCK)
    except ValueError:  # what Prefect raises for a document that does not exist
        return UUID(str(await block.asave(BLOCK)))
    return found._block_document_id
