"""Checks 7 and 8 against a real receiver."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from deployments.staging_check.checks import CHECKS
from deployments.staging_check.runner import Result, carry_out
from deployments.staging_check.staging import Staging
from tests.support.hooks import receiving
from tests.support.services import Desk

LOOK = {check.name: check for check in CHECKS}


@pytest.fixture
async def received(desk: Desk) -> AsyncIterator[Desk]:
    """The desk with its receiver running."""
    async with receiving(desk):
        yield desk


async def look(staging: Staging, name: str, **changes: object) -> Result:
    staging.settings = staging.settings.model_copy(update=changes)
    return await carry_out(LOOK[name], staging)


async def test_what_is_signed_with_our_secrets_is_accepted_and_stored_nowhere(received: Desk, staging: Staging) -> None:
    assert (await look(staging, "signed_webhook")).ok
    assert received.deliveries == []


@pytest.mark.parametrize("setting", ["plane_webhook_secret", "gitea_webhook_secret"])
@pytest.mark.parametrize("secret", ["another", ""])
async def test_another_secret_here_is_a_failure_that_names_the_setting(
    received: Desk, staging: Staging, setting: str, secret: str
) -> None:
    result = await look(staging, "signed_webhook", **{setting: SecretStr(secret)})
    assert not result.ok
    assert f"answers 401 to a delivery that is signed with ORCH_{setting.upper()}" in result.sentence
    assert result.sentence.endswith("set the same secret here and for the running `orch up`.")


async def test_unsigned_and_wrongly_signed_deliveries_are_refused(received: Desk, staging: Staging) -> None:
    assert (await look(staging, "unsigned_refused")).ok


async def test_a_receiver_that_takes_anything_is_a_failure(desk: Desk, staging: Staging) -> None:
    """Prefect's stand-in, which answers every POST with 204, plays such a receiver on every path but its own."""
    desk.prefect.answers = [204]
    result = await look(staging, "unsigned_refused", port=int(desk.prefect.url.split(":")[2].partition("/")[0]))
    assert not result.ok
    assert result.sentence.startswith("The receiver answers 204 to an unsigned delivery of plane, not 401: stop it")


@pytest.mark.parametrize("name", ["signed_webhook", "unsigned_refused"])
async def test_a_receiver_that_is_down_is_a_sentence(staging: Staging, name: str) -> None:
    result = await look(staging, name)
    assert not result.ok
    assert "The receiver does not answer" in result.sentence
