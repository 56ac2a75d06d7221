"""Intake without a Prefect server: what it leaves of a wish that nothing can come of."""

import pytest

from flows import intake
from pipeline.projects import Registry
from pipeline.signals import Signal
from pipeline.store import inbox
from tests.support.services import Desk


async def test_a_start_in_a_project_that_was_taken_out_of_the_registry_is_refused_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.store.write(
        inbox.signal, delivery_id=None, project="SHOP", item_key="SHOP-7", signal=Signal.START_REQUESTED,
        actor="ada", payload={}, now=desk.clock.now,
    )  # fmt: skip
    object.__setattr__(desk.root, "projects", Registry())

    async def services() -> object:
        return desk.root

    monkeypatch.setattr(intake, "services", services)
    assert (await intake.intake.fn("SHOP-7")).name == "Unknown project"
    assert desk.store.read(inbox.unconsumed) == []
    assert [row.consequence for row in desk.signals] == ["refused: No project of the registry has items like SHOP-7."]
