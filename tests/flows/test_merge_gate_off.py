"""With the merge gate switched off nothing is rebased or tested anew, and still nothing lands that was not tested."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from deployments.prefect_server import PrefectServer
from pipeline.model import Hold, TestRun, WorkItem
from pipeline.stages import Stage
from pipeline.store import evidence
from pipeline.store.engine import Store
from tests.support.kills import FLOWS, Stand, standing
from tests.support.shop_items import item_at


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("gate"), prefect_server) as made:
        made.sandbox.ci("off")
        made.settings = made.settings.model_copy(update={"merge_gate_enabled": False})
        yield made


def green_at_testing(stand: Stand, name: str) -> WorkItem:
    """An item at staging whose tip was green in Orch's own run at testing."""
    store = Store(stand.settings.store_url)
    try:
        stand.key = item_at(SimpleNamespace(sandbox=stand.sandbox, store=store), name, Stage.DEPLOY_STAGING)
        item = stand.item
        green = TestRun(str(item.tip), True, "9 tests passed", 1.0, Path("tests.log"), ())
        store.write(evidence.tests_ran, item.id, "tests_passed", green, datetime.now(UTC))
    finally:
        store.dispose()
    return item


def test_what_was_green_at_testing_is_validated_as_it_stands(stand: Stand) -> None:
    item = green_at_testing(stand, "apples")
    ran = stand.run(FLOWS[Stage.DEPLOY_STAGING])
    assert (stand.item.stage, stand.item.validated) == (Stage.DEPLOY, item.tip)
    assert stand.read(lambda s: evidence.tested_for_landing(s, item.id)) == item.tip
    assert [one for one in ran.passed if one.startswith(("command:", "git: rebase", "git: push"))] == []


def test_where_the_default_branch_has_moved_on_a_person_has_to_rebase(stand: Stand) -> None:
    item = green_at_testing(stand, "bells")
    stand.sandbox.commit("main", {"NOTES.md": "Something else.\n"})
    stand.run(FLOWS[Stage.DEPLOY_STAGING])
    held = stand.item
    assert (held.stage, held.hold, held.validated, held.attempts) == (Stage.DEPLOY_STAGING, Hold.BLOCKED, None, {})
    assert "nothing is rebased while the merge gate of acme/shop is off" in held.hold_reason
    assert stand.sandbox.repository().branches[item.branch] == item.tip
