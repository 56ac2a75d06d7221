"""What `orch up` hands on to its processes, and what stays in the store when it ends."""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from deployments.stack import as_environment, free_what_was_stopped
from pipeline.clients.process_identity import identity
from pipeline.settings import Settings
from pipeline.stages import Stage
from pipeline.store import crashes, items, leases
from tests.pipeline.store.helpers import NOW, new_item
from tests.support.services import migrated


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"plane_bot_tokens": {"analyst": SecretStr("plane_api_1"), "stream": SecretStr('it\'s "secret"')}},
        {"telegram_allowed_user_ids": (11, 22)},
        {"agent_command": ("my agent", "--quickly"), "people": ("Ada Lovelace", "bob@example.org")},
        {"crash_backoff_s": (0.5, 60.0), "republish_s": ()},
        {"projects_file": Path("/etc/orch/projects.toml"), "agent_timeout_s": 1.5, "reconcile_enabled": False},
        {"plane_token": SecretStr("plane_api_2"), "agent_kind": "command", "projects_json": '[{"key": "WID"}]'},
    ],
    ids=lambda changed: ", ".join(changed) or "nothing",
)
def test_the_processes_that_are_started_read_the_settings_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ORCH_")]:
        monkeypatch.delenv(name)
    settings = Settings(state_dir=tmp_path, **changed)
    for name, value in as_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


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
