"""Blocks keep what they are given, hide what is secret, and hand out working clients."""

from importlib.metadata import entry_points
from typing import Any

import pytest
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from pydantic import SecretStr, ValidationError

import blocks
from blocks import CodingAgent, GiteaServer, PlaneWorkspace, TelegramNotification
from pipeline.clients.agent import CommandAgent
from pipeline.clients.gitea import GiteaClient
from pipeline.clients.plane import PlaneClient
from pipeline.clients.telegram import TelegramClient
from pipeline.stages import Role

SECRET = SecretStr("s3cret-t0ken")


def filled() -> list[Block]:
    """One of each, with every field set."""
    return [
        PlaneWorkspace(url="https://plane.example.org", workspace="acme", token=SECRET, bot_tokens={"stream": SECRET}),
        GiteaServer(url="https://git.example.org", token=SECRET),
        TelegramNotification(token=SECRET, chat_id="7", api_url="https://telegram.example.org", silent=True),
        CodingAgent(
            command=["agent", "--headless"],
            pass_env=["MODEL_KEY"],
            model="big",
            effort="high",
            timeout_s=60,
            idle_timeout_s=30,
            roles={Role.REVIEWER: {"model": "bigger"}},
        ),
    ]


KINDS = [type(block) for block in filled()]


@pytest.mark.prefect
@pytest.mark.parametrize("block", filled(), ids=lambda block: type(block).__name__)
async def test_a_saved_block_is_loaded_as_it_was(block: Block, at_prefect: None) -> None:
    await block.save("a-test", overwrite=True)
    loaded = await type(block).load("a-test")
    assert loaded.model_dump() == block.model_dump()


@pytest.mark.prefect
@pytest.mark.parametrize("kind", KINDS)
async def test_registering_twice_changes_nothing(kind: type[Block], at_prefect: None) -> None:
    await kind.register_type_and_schema()
    first = (kind._block_type_id, kind._block_schema_id)
    await kind.register_type_and_schema()
    assert (kind._block_type_id, kind._block_schema_id) == first
    assert None not in first


def test_every_block_is_exported_and_slugs_are_our_own() -> None:
    assert {kind.__name__ for kind in KINDS} == set(blocks.__all__)
    assert [kind.get_block_type_slug() for kind in KINDS] == [
        "plane-workspace",
        "gitea-server",
        "telegram-notification",
        "coding-agent",
    ]


def test_prefect_loads_the_blocks_through_the_entry_point() -> None:
    (entry,) = (entry for entry in entry_points(group="prefect.collections") if entry.name == "orch")
    assert entry.load() is blocks


def test_secrets_are_not_shown() -> None:
    assert SECRET.get_secret_value() not in " ".join(repr(block) + str(block) for block in filled())


async def test_each_block_gives_its_client() -> None:
    clients: list[Any] = [block.get_client() for block in filled()]  # type: ignore[attr-defined]
    assert [type(client) for client in clients] == [PlaneClient, GiteaClient, TelegramClient, CommandAgent]
    for client in clients[:3]:
        await client.aclose()


def test_prefect_takes_the_telegram_block_for_a_notification() -> None:
    assert issubclass(TelegramNotification, NotificationBlock)
    assert "notify" in TelegramNotification.get_block_capabilities()


def test_a_role_has_what_the_block_says_unless_it_has_its_own() -> None:
    agent = CodingAgent(command=["agent"], model="big", roles={"reviewer": {"model": "bigger", "timeout_s": 10}})
    developer, reviewer = agent.terms(Role.DEVELOPER), agent.terms(Role.REVIEWER)
    assert (developer.model, developer.timeout_s, developer.idle_timeout_s) == ("big", 3600, 900)
    assert (reviewer.model, reviewer.timeout_s, reviewer.idle_timeout_s) == ("bigger", 10, 900)


@pytest.mark.parametrize("wrong", [{"command": []}, {"roles": {"janitor": {}}}, {"roles": {"tester": {"modell": "x"}}}])
def test_a_wrong_field_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CodingAgent(**{"command": ["agent"]} | wrong)
