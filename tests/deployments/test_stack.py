"""What stays in the store when `orch up` ends."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from deployments.stack import free_what_was_stopped
from pipeline.clients.process_identity import identity
from pipeline.settings import Settings
from pipeline.stages import Stage
from pipeline.store import crashes, items, leases
from tests.pipeline.store.helpers import NOW, new_item
from tests.support.services import migrated


def test_runs_that_end_with_an_orch_that_was_told_to_stop_are_no_failures_of_their_items(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    store = migrated(settings)
    found = [new_item(store, f"WID-{number}") for number in range(crashes.TOO_MANY)]
    for item in found:
        entered = store.write(items.update, item, None, NOW, failures=1)
        gone = replace(identity(os.getpid()), started=1.0)
        store.write(
            leases.claim, entered.id, flow_run_id="run", stage=Stage.ANALYSIS, token=item.key, process=gone, now=NOW,
            ttl=30, alive=lambda _: True,
        )  # fmt: skip
    assert free_what_was_stopped(settings) == [item.key for item in found]
    assert {one.failures for one in store.read(items.live)} == {0}
    assert store.read(leases.owners) == []
    store.dispose()


def test_a_run_that_goes_on_elsewhere_keeps_its_item(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    store = migrated(settings)
    item = new_item(store)
    elsewhere = replace(identity(os.getpid()), host="elsewhere")
    store.write(
        leases.claim, item.id, flow_run_id="run", stage=Stage.ANALYSIS, token="t", process=elsewhere,
        now=datetime.now(UTC), ttl=30, alive=lambda _: True,
    )  # fmt: skip
    assert free_what_was_stopped(settings) == []
    store.dispose()
