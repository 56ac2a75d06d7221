"""A run that is ended while its agent works, by a person in Prefect or by STOP: with the stock worker, which reports it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.states import Cancelling

from deployments.pools import AGENTS
from deployments.prefect_server import PrefectServer, worker_command
from pipeline.model import Hold
from pipeline.stages import Stage
from pipeline.store import evidence, leases
from tests.flows.test_limits import HANGING
from tests.support.product import Product, running_product

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def test_a_run_that_a_person_cancels_while_its_agent_works_is_not_started_again(
    tmp_path: Path, prefect_server: PrefectServer
) -> None:
    with hanging(tmp_path, prefect_server) as (product, key, run):
        product.prefect(lambda client: client.set_flow_run_state(run, Cancelling(), force=True))
        assert product.ended(run).type.value == "CANCELLED"
        product.start_worker()
        held = product.until(lambda: (i := product.item(key)) and i.hold and i, what="the held item")
        assert (held.hold, held.hold_reason) == (Hold.BLOCKED, "Its run was cancelled in Prefect.")


def test_of_a_run_that_ended_because_its_item_was_stopped_nobody_is_told_that_it_crashed(
    tmp_path: Path, prefect_server: PrefectServer
) -> None:
    with hanging(tmp_path, prefect_server) as (product, key, run):
        product.sandbox.move_card(key, "Stop")
        assert product.ended(run).type.value == "CANCELLED"
        product.start_worker()
        product.until(lambda: (i := product.item(key)) and i.stage is Stage.CANCELLED, what="cancelled")
        product.until(lambda: "cancelled at analysis" in loud(product), what="the message")
        assert not any(word in loud(product) for word in ("Crashed", "Failed"))
        assert product.run_of(run).state.type.value == "CANCELLED"


def loud(product: Product) -> str:
    return "\n".join(m.text for m in product.sandbox.state().telegram.messages if not m.silent)


@contextmanager
def hanging(folder: Path, server: PrefectServer) -> Iterator[tuple[Product, str, str]]:
    """A product with an item whose agent works for ever, its key, and the id of its run."""
    scenario = folder / "hanging.toml"
    scenario.write_text(HANGING)
    with running_product(folder / "p", server, scenario=scenario) as product:
        key = product.start_item("It hangs")
        item = product.until(lambda: product.item(key), what="the item")
        product.stop("worker")
        product.spawn("agents", *worker_command(AGENTS, "agents"))
        product.until(lambda: at_work(product, item.id), what="the agent")
        [owner] = product.read(leases.owners)
        yield product, key, owner.flow_run_id


def at_work(product: Product, item_id: int) -> bool:
    return any(run.process for run in product.read(lambda s: evidence.unfinished_agent_runs(s, item_id)))
