from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.running import running_sandbox
from tests.deployments.sandbox.receiver import Receiver


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SandboxClient]:
    with running_sandbox(tmp_path / "sandbox") as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()
