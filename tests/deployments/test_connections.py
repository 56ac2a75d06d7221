"""Blocks are made from the settings once; afterwards they belong to whoever changes them in Prefect's pages."""

from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient
from pydantic import SecretStr

from blocks import LOGOS, CodingAgent, GiteaServer, PlaneWorkspace, TelegramNotification
from blocks.coding_agent import RoleTerms
from deployments.connections import Kept, agent_of, ensure_blocks, keep
from pipeline.settings import Settings
from pipeline.stages import Role
from tasks.services import BLOCK

pytestmark = pytest.mark.prefect

KINDS = (PlaneWorkspace, GiteaServer, CodingAgent, TelegramNotification)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        state_dir=tmp_path,
        plane_url="https://plane.example.org",
        plane_workspace="acme",
        plane_token=SecretStr("plane-token"),
        gitea_url="https://git.example.org",
        gitea_token=SecretStr("gitea-token"),
        agent_command=("agent",),
        telegram_bot_token=SecretStr("1:telegram"),
        telegram_chat_id="7",
    )


@pytest.fixture
async def none_yet(client: PrefectClient) -> PrefectClient:
    """The server without a document of ours; other tests may have left theirs."""
    for document in await client.read_block_documents():
        if document.name == BLOCK:
            await client.delete_block_document(document.id)
    return client


async def test_the_first_start_makes_one_document_of_each_kind(none_yet: PrefectClient, settings: Settings) -> None:
    telegram = await ensure_blocks(settings)
    made = {d.block_type_name: d.id for d in await none_yet.read_block_documents() if d.name == BLOCK}
    assert set(made) == {kind.get_block_type_name() for kind in KINDS}
    assert made[TelegramNotification.get_block_type_name()] == telegram


async def test_what_a_person_changes_in_the_pages_survives_the_next_start(
    none_yet: PrefectClient, settings: Settings
) -> None:
    await ensure_blocks(settings)
    changed = await GiteaServer.aload(BLOCK)
    changed.url = "https://git.internal"
    await changed.asave(BLOCK, overwrite=True)
    await ensure_blocks(settings.model_copy(update={"gitea_url": "https://git.other"}))
    assert (await GiteaServer.aload(BLOCK)).url == "https://git.internal"
    assert (await PlaneWorkspace.aload(BLOCK)).url == "https://plane.example.org"


async def test_connecting_again_changes_how_a_system_is_reached_and_nothing_else(
    none_yet: PrefectClient, settings: Settings
) -> None:
    assert await keep(settings, agent_of(settings)) is Kept.MADE
    changed = await CodingAgent.aload(BLOCK)
    changed.model, changed.roles = "big", {Role.REVIEWER: RoleTerms(model="bigger")}
    await changed.asave(BLOCK, overwrite=True)
    again = settings.model_copy(update={"agent_command": ("other",), "agent_model": "small"})
    assert [await keep(settings, agent_of(again)) for _ in range(2)] == [Kept.CHANGED, Kept.SAME]
    found = await CodingAgent.aload(BLOCK)
    assert (found.command, found.model, found.terms(Role.REVIEWER).model) == (["other"], "big", "bigger")


async def test_without_a_bot_there_is_no_telegram_document(none_yet: PrefectClient, settings: Settings) -> None:
    assert await ensure_blocks(settings.model_copy(update={"telegram_bot_token": SecretStr("")})) is None
    with pytest.raises(ValueError, match="telegram-notification"):
        await TelegramNotification.aload(BLOCK)


async def test_every_kind_has_a_logo_of_this_receiver_a_description_and_documentation(
    none_yet: PrefectClient, settings: Settings
) -> None:
    await ensure_blocks(settings.model_copy(update={"host": "0.0.0.0", "port": 8271}))
    for kind in KINDS:
        slug = kind.get_block_type_slug()
        known = await none_yet.read_block_type_by_slug(slug)
        assert str(known.logo_url) == f"http://127.0.0.1:8271/logos/{slug}.svg"
        assert (LOGOS / f"{slug}.svg").is_file()
        assert known.description
        assert known.documentation_url
