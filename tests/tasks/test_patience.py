"""How long a wait may last before people are told: longer than it takes in good order."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.stand_settings import stand_settings
from flows import leaving
from pipeline.model import WaitKind
from pipeline.outcomes import WaitFor
from pipeline.stages import Stage
from tasks.ownership import Claimed
from tests.support.services import Desk, open_desk

HOURS = 3600.0


@pytest.mark.parametrize("kind", [WaitKind.MONITOR, WaitKind.DEPLOY])
async def test_a_window_and_a_detached_deploy_are_not_overdue_before_their_own_time_is_over(
    sandbox: SandboxClient, tmp_path: Path, at_work: Callable[[Desk], None], kind: WaitKind
) -> None:
    stands = {**stand_settings(sandbox.url), "monitor_window_s": 2 * HOURS}
    async with open_desk(sandbox, tmp_path, project=stands, deploy_deadline_s=2 * HOURS) as desk:
        item = desk.item(Stage.DEPLOY)
        claimed = Claimed(item, desk.owned(item))
        desk.store.write(leaving.wait_for, desk.root, claimed, "run-1", WaitFor(kind, "It takes its time.", "a" * 40))
        wait = desk.wait_of(item)
        assert wait is not None
        assert wait.deadline is not None
        assert timedelta(hours=2) < wait.deadline - desk.clock.now < timedelta(hours=3)
