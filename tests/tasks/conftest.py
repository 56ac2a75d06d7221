from collections.abc import Callable

import pytest

from tasks import steps
from tests.support.desks import desk, sandbox
from tests.support.services import Desk

__all__ = ["at_work", "desk", "sandbox"]


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch) -> Callable[[Desk], None]:
    """Has tasks, called without Prefect, find a desk's services."""

    def at_work(desk: Desk) -> None:
        async def services() -> object:
            return desk.root

        monkeypatch.setattr(steps, "services", services)

    return at_work
