"""A dependency and STOP through the whole product, on a real Prefect server."""

from pathlib import Path

import pytest

from deployments import control
from deployments.prefect_server import PrefectServer
from pipeline.model import WaitKind
from pipeline.stages import Stage
from tests.support.product import Product, running_product

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def waits_for(product: Product, key: str, kind: WaitKind) -> None:
    product.until(lambda: (w := product.wait(key)) and w.kind is kind, what=f"{key} waiting for {kind}")


def test_the_stop_of_one_item_leaves_no_branch_and_lets_the_one_that_depends_on_it_go_on(
    tmp_path: Path, prefect_server: PrefectServer
) -> None:
    with running_product(tmp_path / "p", prefect_server) as product:
        first = product.start_item("Print a receipt")
        waits_for(product, first, WaitKind.APPROVAL)
        item = product.item(first)
        assert item is not None
        assert item.branch in product.sandbox.repository().branches

        second = product.sandbox.create_card("Print a label", "A description that is long enough to be analysed.")
        product.sandbox.block(second, by=[first])
        product.sandbox.move_card(second, "To Analyse")
        waits_for(product, second, WaitKind.DEPENDENCY)
        assert control.explain(product.settings, second)["waits_for"] == f"It waits for {first} (at analysis)."

        product.sandbox.move_card(first, "Stop")
        product.until(lambda: (i := product.item(first)) and i.stage is Stage.CANCELLED, what=f"{first} cancelled")
        assert item.branch not in product.sandbox.repository().branches
        assert list((product.settings.runs_folder / first).glob(f"archive-{item.id}/{item.artifacts}/*.md"))
        waits_for(product, second, WaitKind.APPROVAL)
