"""Fixtures of the folders whose tests work at a desk; a folder's `conftest.py` takes them from here."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.running import running_sandbox
from tests.support.services import Desk, open_desk


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxClient]:
    """A sandbox for the tests of a file."""
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as client:
        yield client


@pytest.fixture
async def desk(sandbox: SandboxClient, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk on the file's sandbox, with the settings that it has by itself."""
    async with open_desk(sandbox, tmp_path) as opened:
        yield opened
