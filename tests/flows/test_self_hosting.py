"""Orch deploys Orch: the hook ends the Orch that started it, and the Orch that comes up finalises, exactly once."""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from deployments.prefect_server import PrefectServer
from deployments.sandbox.stand_settings import stand_settings
from pipeline.stages import Stage
from pipeline.store import drains, journal
from tests.support import new_orch
from tests.support.product import Product, registry_of, running_product

pytestmark = pytest.mark.long

WORKER = [sys.executable, "-m", "tests.support.warm_worker"]
RECEIVER = [sys.executable, "-m", "deployments.receiver"]


@contextmanager
def self_hosting(folder: Path, server: PrefectServer) -> Iterator[Product]:
    """A product whose project is Orch's own: its deploy hook kills worker and receiver and starts others."""
    plan = folder / "plan.json"

    def registry(sandbox: Any) -> str:
        stands = stand_settings(sandbox.url)
        hook = [sys.executable, "-I", "-S", new_orch.__file__, str(plan), *stands["deploy_hook"]]  # type: ignore[misc]
        return registry_of(sandbox, ("SHOP",), **{**stands, "deploy_hook": hook, "self_hosting": True})

    folder.mkdir(parents=True, exist_ok=True)
    with running_product(folder / "p", server, registry=registry, deploy_look_again_s=1) as product:
        logs = product.folder / "logs"
        pids = folder / "pids.json"
        plan.write_text(
            json.dumps(
                {
                    "pids": str(pids),
                    "counts": str(folder / "counts"),
                    "logs": str(logs),
                    "environment": product.environment,
                    "start": [[*WORKER, str(logs)], RECEIVER],
                }
            )
        )
        pids.write_text(json.dumps([child.pid for child in product.children.values()]))
        try:
            yield product
        finally:
            for pid in json.loads(pids.read_text()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for guard in guards(folder):
                guard.kill()


def guards(folder: Path) -> list[psutil.Process]:
    """Detached hooks of this test that are alive."""
    return [p for p in psutil.process_iter(["cmdline"]) if _is_guard(p.info["cmdline"] or [], folder)]


def _is_guard(words: list[str], folder: Path) -> bool:
    return any(word.endswith("deploy_guard.py") for word in words) and any(str(folder) in word for word in words)


def hooks_run(folder: Path) -> list[str]:
    """The revisions that the deploy hook was run for, in order."""
    counts = folder / "counts"
    return counts.read_text().split() if counts.exists() else []


def assert_deployed_once(product: Product, folder: Path, key: str) -> None:
    item = product.item(key)
    assert item is not None
    assert (item.stage, item.deployed) == (Stage.DONE, item.landed)
    assert product.sandbox.repository().main == item.landed
    assert product.sandbox.stand("production").revision == item.landed
    assert hooks_run(folder) == [item.landed]
    deploys = [e for e in product.read(lambda s: journal.of_item(s, item.id)) if e.name == "deploy"]
    assert [e.open for e in deploys] == [False]
    assert product.read(lambda s: drains.in_the_way(s, "ANOTHER-1", item.entered_at)) is None


MOMENTS = {
    "before the guard is planned": "store: drains.begin",
    "before the guard is started": "store: journal.note",
    "once the guard is started": "store: leaving.wait_for",
    "in the Orch that came up, with the outcome on record": "store: stands.hook_ran",
    "in the Orch that came up, with the deploy settled": "store: production._settle",
}
"""When the run that is at the deploy is killed on top of it all."""

BY_DEFAULT = ("before the guard is started", "in the Orch that came up, with the outcome on record")


@pytest.mark.timeout(420)
@pytest.mark.parametrize("moment", MOMENTS if os.environ.get("ORCH_KILL_EVERY") == "1" else BY_DEFAULT)
def test_the_orch_that_comes_up_finalises_exactly_one_deploy_also_when_its_run_is_killed(
    moment: str, tmp_path: Path, prefect_server: PrefectServer
) -> None:
    with self_hosting(tmp_path, prefect_server) as product:
        product.plan_kill("deploy", MOMENTS[moment])
        key = product.start_item()
        product.decide_for(key, within_s=300)
        assert not product.kill_pending
        assert_deployed_once(product, tmp_path, key)


@pytest.mark.timeout(420)
def test_a_guard_that_is_killed_with_its_hook_under_way_is_started_again_and_the_hook_is_not(
    tmp_path: Path, prefect_server: PrefectServer
) -> None:
    with self_hosting(tmp_path, prefect_server) as product:
        key = product.start_item()
        product.decide_for(key, until=Stage.DEPLOY, within_s=200)
        product.sandbox.break_stand("production", "slow_hook", 1, seconds=3, hook="deploy")
        product.until(lambda: _confirm(product, key) and hooks_run(tmp_path), what="the hook")
        for guard in guards(tmp_path):
            guard.kill()
        product.decide_for(key, within_s=200)
        assert_deployed_once(product, tmp_path, key)


def _confirm(product: Product, key: str) -> bool:
    wait = product.wait(key)
    if wait is not None and wait.kind.human and wait.wake_requested_at is None:
        product.sandbox.move_card(key, "Confirm Deploy")
    return True
