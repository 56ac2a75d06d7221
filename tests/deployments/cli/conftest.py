"""The `orch` command in an empty folder, and the sandbox as the servers that it is told of."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.running import running_sandbox
from pipeline.settings import Settings
from tests.support.services import Desk, open_desk


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxClient]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting but the state folder, whatever the developer's shell or `.env` says."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ORCH_{name.upper()}", raising=False)
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ORCH_STATE_DIR", str(tmp_path / "orch"))
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def desk(sandbox: SandboxClient, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk whose database the command finds in the state folder."""
    async with open_desk(sandbox, tmp_path) as opened:
        yield opened
