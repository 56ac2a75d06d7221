"""A sandbox and a desk on it, whose settings are those of a staging stand."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.running import running_sandbox
from deployments.staging_check.mode import Mode
from deployments.staging_check.staging import Staging, staging_of
from tests.support.services import Desk, open_desk


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxClient]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as client:
        yield client


@pytest.fixture
async def desk(sandbox: SandboxClient, tmp_path: Path) -> AsyncIterator[Desk]:
    async with open_desk(sandbox, tmp_path) as opened:
        yield opened


@pytest.fixture
def staging(desk: Desk) -> Staging:
    """The desk's stand; nothing runs there unless the test starts a receiver."""
    return staging_of(desk.settings, Mode.STUB, mark="m4rk")
