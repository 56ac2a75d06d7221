"""Check 1 against a real receiver."""

from datetime import timedelta

import pytest

from deployments.staging_check import health as module
from deployments.staging_check.checks import CHECKS
from deployments.staging_check.health import health, refuse_production
from deployments.staging_check.runner import carry_out
from deployments.staging_check.staging import Staging
from pipeline.errors import SettingsError
from pipeline.store import heartbeats
from tests.support.hooks import receiving
from tests.support.services import Desk

[CHECK] = [check for check in CHECKS if check.look is health]


async def test_a_receiver_whose_tick_is_alive_is_well(desk: Desk, staging: Staging) -> None:
    desk.store.write(heartbeats.beat, heartbeats.TICK, desk.clock.now)
    async with receiving(desk):
        found = await health(staging)
    assert found.ok
    assert f"ticked at {desk.clock.now:%H:%M:%S} UTC" in found.sentence


async def test_a_late_tick_is_a_failure_that_names_what_to_look_at(desk: Desk, staging: Staging) -> None:
    desk.store.write(heartbeats.beat, heartbeats.TICK, desk.clock.now - heartbeats.TICKS_LATE - timedelta(seconds=1))
    async with receiving(desk):
        found = await health(staging)
    assert not found.ok
    assert found.sentence.startswith("The reconciler is late (its last tick was at ")
    assert "ORCH_RECONCILE_ENABLED" in found.sentence


async def test_the_first_tick_is_waited_for_a_while(
    desk: Desk, staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_TICK_S", 0.1)
    monkeypatch.setattr(module, "LOOK_S", 0.05)
    async with receiving(desk):
        found = await health(staging)
    assert "The reconciler is late (it never ticked)" in found.sentence


async def test_a_receiver_that_is_down_is_a_sentence_with_its_address(staging: Staging) -> None:
    result = await carry_out(CHECK, staging)
    assert not result.ok
    assert f"The receiver does not answer at http://127.0.0.1:{staging.settings.port}/healthz" in result.sentence
    assert "start `orch up`" in result.sentence


async def test_something_else_on_the_port_is_told_apart(desk: Desk, staging: Staging) -> None:
    port = int(desk.sandbox.url.rpartition(":")[2])
    staging.settings = staging.settings.model_copy(update={"port": port})
    result = await carry_out(CHECK, staging)
    assert result.sentence.startswith("/healthz answers 404")
    assert "something else listens there" in result.sentence


async def test_an_orch_that_says_it_is_production_is_not_checked_at_all(desk: Desk, staging: Staging) -> None:
    desk.root.settings.__dict__["stand"] = "production"  # frozen for all others
    async with receiving(desk):
        with pytest.raises(SettingsError, match="says that it is production: nothing was checked"):
            await refuse_production(staging)


async def test_an_orch_that_does_not_answer_is_left_to_the_checks(staging: Staging) -> None:
    await refuse_production(staging)
