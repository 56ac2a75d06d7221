"""A detached deploy whose guard nobody can see: it is waited for until its deadline is long past, and never doubled."""

import os
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.stand_settings import stand_settings
from pipeline.clients.process_identity import identity
from pipeline.model import HookEnd
from pipeline.stages import Stage
from pipeline.store import drains, journal
from tasks import detached
from tasks.production import DEPLOY
from tasks.stands import ItemStands
from tests.support.services import Desk, open_desk

COMMIT = "a" * 40
GIVEN_S = 60


@pytest.fixture
async def desk(sandbox: SandboxClient, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(sandbox, tmp_path, project=stand_settings(sandbox.url)) as desk:
        yield desk


async def test_a_guard_on_a_host_that_is_gone_is_waited_for_until_its_deadline_and_no_longer(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY, validated=COMMIT, landed=COMMIT)
    lease = desk.owned(item)
    guard = replace(identity(os.getpid()), host="orch-7c9f")
    effect, _ = desk.store.write(
        journal.start, item, DEPLOY, lease, subject=f"{COMMIT}#1", now=desk.clock.now,
        commit=COMMIT, previous=None, guard=asdict(guard), deadline=desk.clock.seconds() + GIVEN_S,
    )  # type: ignore[call-arg]  # mypy: a ParamSpec with **details  # fmt: skip
    desk.store.write(drains.begin, item.key, desk.clock.now, desk.clock.now.replace(year=2100))
    there = ItemStands(desk.root, item, desk.project)
    assert await detached.finalise_or_start(there, effect, lease) is None
    desk.clock.forward(GIVEN_S + detached.rollback_s(desk.project) + 1)
    ran = await detached.finalise_or_start(there, effect, lease)
    assert ran is not None
    assert ran.end is HookEnd.REFUSED
    assert ran.sentence.startswith("The detached hook ended without a word; production is ")
    assert desk.store.read(drains.in_the_way, "SHOP-999", desk.clock.now) is None
