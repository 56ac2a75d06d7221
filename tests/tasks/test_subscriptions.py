"""Webhooks that have stopped telling: Gitea's are made anew, of Plane's people are told; each once."""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from benchmarks.counting import counted_requests
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from flows.reconcile import PARTS
from pipeline.clients.gitea import GiteaClient
from pipeline.clients.gitea_hooks import EVENTS
from pipeline.messages import CATALOGUES
from pipeline.model import Subscription
from pipeline.projects import Project
from pipeline.store import deliveries
from tasks.polling import poll_board
from tasks.subscriptions import LOOK_EVERY, RECENT, SILENCE, see_to_webhooks
from tests.support.services import Desk, open_desk

PUBLIC = "http://127.0.0.1:9"
URL = f"{PUBLIC}/webhooks/gitea"
MADE_ANEW = "SHOP: its webhook in acme/shop was made anew"


@pytest.fixture
async def desk(sandbox: SandboxClient, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(sandbox, tmp_path, public_url=PUBLIC) as opened:
        for hook in hooks(opened):
            change(opened, "DELETE", hook["id"])
        yield opened


def hooks(desk: Desk) -> list[dict[str, Any]]:
    with desk.sandbox.gitea_api() as api:
        found: list[dict[str, Any]] = api.get("/repos/acme/shop/hooks").raise_for_status().json()
    return [hook for hook in found if hook["config"]["url"] == URL]


def change(desk: Desk, method: str, hook: int, **fields: Any) -> None:
    with desk.sandbox.gitea_api() as api:
        api.request(method, f"/repos/acme/shop/hooks/{hook}", json=fields).raise_for_status()


def messages(desk: Desk) -> list[str]:
    return [row.payload["html"] for row in desk.letters if row.kind == "message"]


async def state(desk: Desk) -> Subscription | None:
    return await desk.root.forge.hook_state(desk.project, url=URL)


async def an_hour_later(desk: Desk) -> list[str]:
    desk.clock.forward(LOOK_EVERY.total_seconds())
    return await see_to_webhooks(desk.root)


def test_it_is_a_part_of_each_tick() -> None:
    assert see_to_webhooks in PARTS


# --- Gitea


async def test_a_webhook_that_is_missing_is_made_and_people_are_told_once(desk: Desk) -> None:
    assert await see_to_webhooks(desk.root) == [f"{MADE_ANEW} (there was none)"]
    found = await state(desk)
    assert found is not None
    assert found.sound
    assert await an_hour_later(desk) == []
    assert await state(desk) == found
    [html] = messages(desk)
    assert "acme/shop" in html
    assert URL in html


async def test_one_that_a_person_spoilt_is_made_anew_with_the_reason(desk: Desk) -> None:
    await see_to_webhooks(desk.root)
    change(desk, "PATCH", hooks(desk)[0]["id"], active=False)
    [said] = await an_hour_later(desk)
    assert said.startswith(f"{MADE_ANEW} (it is switched off; ")
    assert [hook["active"] for hook in hooks(desk)] == [True]
    assert "it is switched off" in messages(desk)[1]


async def test_each_loss_is_told(desk: Desk) -> None:
    for _ in range(2):
        await an_hour_later(desk)
        change(desk, "DELETE", hooks(desk)[0]["id"])
    assert len(messages(desk)) == 2


async def test_within_the_hour_gitea_is_not_asked_again(desk: Desk) -> None:
    await see_to_webhooks(desk.root)
    desk.clock.forward(LOOK_EVERY.total_seconds() - 1)
    with counted_requests({}) as asked:
        assert await see_to_webhooks(desk.root) == []
    assert not asked


@pytest.mark.parametrize(
    "settings",
    [{"public_url": ""}, {"gitea_webhook_secret": SecretStr("")}, {"subscriptions_enabled": False}],
    ids=lambda changed: next(iter(changed)),
)
async def test_gitea_is_not_asked_when_it_is_not_to_be(desk: Desk, settings: dict[str, Any]) -> None:
    root = replace(desk.root, settings=desk.settings.model_copy(update=settings))
    with counted_requests({}) as asked:
        assert await see_to_webhooks(root) == []
    assert not asked


async def test_a_refusal_is_told_once_and_again_only_after_it_was_over(desk: Desk) -> None:
    async with GiteaClient(desk.settings.gitea_url, SecretStr(Options().gitea_reader_token)) as reader:
        barred = replace(desk.root, forge=reader)
        for _ in range(2):
            [said] = await see_to_webhooks(barred)
            assert said.startswith("SHOP: its webhook in acme/shop cannot be seen to: ")
            desk.clock.forward(LOOK_EVERY.total_seconds())
        [html] = messages(desk)
        assert "acme/shop" in html
        assert URL in html
        assert "administrate the repository" in html
        await see_to_webhooks(desk.root)
        desk.clock.forward(LOOK_EVERY.total_seconds())
        await see_to_webhooks(barred)
    assert messages(desk).count(html) == 2


async def test_a_gitea_that_does_not_answer_says_nothing_about_webhooks(desk: Desk) -> None:
    desk.sandbox.fail_next("gitea", 100, status=503)
    [said] = await see_to_webhooks(desk.root)
    assert said.startswith("SHOP could not be polled: ")
    desk.sandbox.clear_faults()
    assert messages(desk) == []
    assert await an_hour_later(desk) == [f"{MADE_ANEW} (there was none)"]


class Demanding(GiteaClient):
    """Wants to be told of what the Gitea at hand does not have, as of an event of a later version."""

    async def hook_state(
        self, project: Project, *, url: str, events: Collection[str] = (*EVENTS, "of_tomorrow")
    ) -> Subscription | None:
        return await super().hook_state(project, url=url, events=events)

    async def ensure_hook(
        self, project: Project, *, url: str, secret: SecretStr, events: Collection[str] = (*EVENTS, "of_tomorrow")
    ) -> Subscription:
        return await super().ensure_hook(project, url=url, secret=secret, events=events)


async def test_what_a_new_webhook_cannot_tell_is_not_tried_every_hour(desk: Desk) -> None:
    async with Demanding(desk.settings.gitea_url, desk.settings.gitea_token) as forge:
        demanding = replace(desk.root, forge=forge)
        [said] = await see_to_webhooks(demanding)
        assert said == f"{MADE_ANEW} (there was none); still, it does not tell of of_tomorrow"
        made = hooks(desk)
        desk.clock.forward(LOOK_EVERY.total_seconds())
        assert await see_to_webhooks(demanding) == []
    assert hooks(desk) == made
    assert len(messages(desk)) == 1


# --- Plane


async def a_move_that_only_polling_finds(desk: Desk) -> None:
    await poll_board(desk.root, desk.project)
    card = desk.card()
    await asyncio.to_thread(desk.sandbox.move_card, card.key, "To Analyse")
    assert any(card.key in sentence for sentence in await poll_board(desk.root, desk.project))


def delivered(desk: Desk, digest: str) -> None:
    desk.store.write(
        deliveries.deliver, digest=digest, source="plane", event="issue", body="{}", inbound=[], now=desk.clock.now
    )


@pytest.fixture
async def deaf(sandbox: SandboxClient, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk that has heard of Plane once, and then only by polling."""
    async with open_desk(sandbox, tmp_path) as opened:
        delivered(opened, "first")
        opened.clock.forward(1)
        await a_move_that_only_polling_finds(opened)
        yield opened


def told_of_plane(desk: Desk) -> list[str]:
    return [html for html in messages(desk) if html.startswith("🔕")]


async def test_a_plane_that_went_silent_is_told_once(deaf: Desk) -> None:
    deaf.clock.forward(SILENCE.total_seconds())
    [said] = await see_to_webhooks(deaf.root)
    assert said == "Plane's webhook seems to be switched off: it told nothing of moves in SHOP"
    await an_hour_later(deaf)
    [html] = told_of_plane(deaf)
    assert "SHOP" in html
    assert deaf.settings.webhook_url("plane") in html


async def test_a_webhook_may_take_its_time(deaf: Desk) -> None:
    deaf.clock.forward(SILENCE.total_seconds() - 2)
    assert await see_to_webhooks(deaf.root) == []


async def test_a_delivery_after_the_move_ends_the_doubt(deaf: Desk) -> None:
    deaf.clock.forward(SILENCE.total_seconds())
    delivered(deaf, "second")
    deaf.clock.forward(SILENCE.total_seconds())
    assert await see_to_webhooks(deaf.root) == []


async def test_a_second_silence_is_told_again(deaf: Desk) -> None:
    for digest in ("second", "third"):
        deaf.clock.forward(SILENCE.total_seconds())
        await see_to_webhooks(deaf.root)
        delivered(deaf, digest)
        deaf.clock.forward(1)
        await a_move_that_only_polling_finds(deaf)
    assert len(told_of_plane(deaf)) == 2


async def test_moves_of_long_ago_say_nothing(deaf: Desk) -> None:
    deaf.clock.forward(RECENT.total_seconds() + 1)
    assert await see_to_webhooks(deaf.root) == []


@pytest.mark.parametrize(
    "settings", [{"plane_webhook_secret": SecretStr("")}, {"subscriptions_enabled": False}], ids=["no secret", "off"]
)
async def test_nobody_listens_for_a_webhook_that_is_not_to_come(deaf: Desk, settings: dict[str, Any]) -> None:
    deaf.clock.forward(SILENCE.total_seconds())
    root = replace(deaf.root, settings=deaf.settings.model_copy(update=settings))
    assert await see_to_webhooks(root) == []


@pytest.mark.parametrize("language", sorted(CATALOGUES))
def test_each_message_names_the_place_in_every_language(language: str) -> None:
    values = {"repository": "acme/shop", "url": URL, "why": "403", "since": "today", "projects": "SHOP"}
    for key in ("webhook_was_missing", "webhook_was_faulty", "webhook_refused", "plane_silent"):
        assert URL in CATALOGUES[language][key].format(**values)
