"""What a person cancels in Prefect's pages stays so: with the stock worker, whose word ends the run's process."""

from pathlib import Path

import pytest
from prefect.states import Cancelling

from deployments.pools import AGENTS
from deployments.prefect_server import PrefectServer, worker_command
from pipeline.model import Hold
from pipeline.store import evidence, leases
from tests.flows.test_limits import HANGING
from tests.support.product import Product, running_product


@pytest.mark.timeout(300)
def test_a_run_that_a_person_cancels_while_its_agent_works_is_not_started_again(
    tmp_path: Path, prefect_server: PrefectServer
) -> None:
    scenario = tmp_path / "hanging.toml"
    scenario.write_text(HANGING)
    with running_product(tmp_path / "p", prefect_server, scenario=scenario) as product:
        key = product.start_item("It hangs")
        item = product.until(lambda: product.item(key), what="the item")
        product.stop("worker")
        product.spawn("agents", *worker_command(AGENTS, "agents"))
        product.until(lambda: at_work(product, item.id), what="the agent")
        [owner] = product.read(leases.owners)
        run = owner.flow_run_id
        product.prefect(lambda client: client.set_flow_run_state(run, Cancelling(), force=True))
        assert product.ended(run).type.value == "CANCELLED"
        product.start_worker()
        held = product.until(lambda: (i := product.item(key)) and i.hold and i, what="the held item")
        assert (held.hold, held.hold_reason) == (Hold.BLOCKED, "Its run was cancelled in Prefect.")


def at_work(product: Product, item_id: int) -> bool:
    return any(run.process for run in product.read(lambda s: evidence.unfinished_agent_runs(s, item_id)))
