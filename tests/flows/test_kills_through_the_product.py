"""One `kill -9` a stage through real workers, automations and the tick: with nobody's help the item ends done."""

from pathlib import Path

import pytest

from deployments.prefect_server import PrefectServer
from pipeline.stages import Stage
from pipeline.store import evidence, journal, transitions
from tests.support.product import running_product

pytestmark = pytest.mark.long

KILLS = [
    pytest.param("development", 12, id="while the developer's work is published"),
    pytest.param("deploy_staging", 14, id="inside the merge gate with the merge lock in its hands"),
]


@pytest.mark.timeout(420)
@pytest.mark.parametrize(("flow", "at"), KILLS)
def test_a_killed_run_is_made_good_and_the_item_ends_done(
    flow: str, at: int, tmp_path: Path, prefect_server: PrefectServer
) -> None:
    with running_product(tmp_path, prefect_server, crash_backoff_s=(1, 2, 3)) as product:
        product.plan_kill(flow, at)
        key = product.start_item()
        item = product.decide_for(key, within_s=300)
        assert not product.kill_pending
        assert item.stage is Stage.DONE
        assert product.sandbox.repository().main == item.landed == item.validated
        assert product.read(lambda s: evidence.tested_for_landing(s, item.id)) == item.landed
        landings = [e for e in product.read(lambda s: journal.of_item(s, item.id)) if e.name == "land"]
        assert [(e.open, e.details.get("base") is not None) for e in landings] == [(False, True)]
        stages = [move.to_stage for move in product.read(lambda s: transitions.history(s, item.id))]
        assert stages.count(Stage(flow)) == 1
