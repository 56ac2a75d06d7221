"""With both pools' limits at one and an agent that hangs, a merge and a STOP still go through."""

from pathlib import Path

import psutil
import pytest

from deployments.prefect_server import PrefectServer
from pipeline.stages import Stage
from pipeline.store import evidence, leases
from tests.support.product import Product, running_product

HANGING = """
[[items]]
title = "hangs"
[items.changes.any.files]
"shop/nothing.py" = ""
[items.behaviours]
analyst = ["hang"]
"""


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_hanging_agent_holds_up_neither_a_merge_nor_a_stop(tmp_path: Path, prefect_server: PrefectServer) -> None:
    scenario = tmp_path / "hanging.toml"
    happy = (Path(__file__).parents[2] / "deployments" / "sandbox" / "scenarios" / "happy.toml").read_text()
    scenario.write_text(HANGING + happy)
    with running_product(
        tmp_path / "p", prefect_server, scenario=scenario, max_concurrency=1, control_concurrency=1
    ) as product:
        merging = product.start_item("Print a receipt")
        product.decide_for(merging, until=Stage.DEPLOY, within_s=150)
        hanging = product.start_item("It hangs")
        agent = product.until(lambda: _agent(product, hanging), what="the hanging agent")
        item = product.decide_for(merging, within_s=120)
        assert item.landed == product.sandbox.repository().main
        product.sandbox.move_card(hanging, "Stop")
        product.until(lambda: (i := product.item(hanging)) and i.stage is Stage.CANCELLED, what="cancelled")
        product.until(lambda: not psutil.pid_exists(agent), what="the agent's end")
        assert product.read(leases.owners) == []


def _agent(product: Product, key: str) -> int | None:
    item = product.item(key)
    runs = product.read(lambda s: evidence.unfinished_agent_runs(s, item.id)) if item else []
    return runs[0].process.pgid if runs and runs[0].process else None
