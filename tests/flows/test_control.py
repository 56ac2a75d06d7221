"""Dependencies, places, a freeze and STOP through the whole product, on a real Prefect server."""

from pathlib import Path

import pytest

from deployments import control
from deployments.prefect_server import PrefectServer
from pipeline.model import WaitKind
from pipeline.stages import Stage
from pipeline.store import places
from tests.support.product import Product, registry_of, running_product

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


def test_items_wait_for_one_another_and_go_on_by_the_event_that_ends_the_wait(
    tmp_path: Path, prefect_server: PrefectServer
) -> None:
    with running_product(
        tmp_path / "p",
        prefect_server,
        registry=lambda sandbox: registry_of(sandbox, ("SHOP",), max_active_items=1),
    ) as product:
        settings = product.settings
        first = product.start_item("Print a receipt")
        product.decide_for(first, until=Stage.DEVELOPMENT)

        # a place: the second may be analysed, and no more while the first has the only place
        second = product.start_item("Print a gift")
        product.until(lambda: (w := product.wait(second)) and w.kind is WaitKind.APPROVAL, what="the analysis shown")
        product.sandbox.move_card(second, "Approved")
        waits_for(product, second, WaitKind.SERIAL)
        assert f"now {first}" in control.explain(settings, second)["waits_for"]
        assert second not in product.read(lambda s: places.active(s, "SHOP")).values()

        # a dependency: the third is not even analysed before the second has ended
        third = product.sandbox.create_card("Print a label", "A description that is long enough to be analysed.")
        product.sandbox.block(third, by=[second])
        product.sandbox.move_card(third, "To Analyse")
        waits_for(product, third, WaitKind.DEPENDENCY)

        # a freeze: the first does not land, and lands after the thaw
        control.freeze(settings, "SHOP", "release day", "cli:ada")
        product.until(lambda: (w := product.wait(first)) and w.kind is WaitKind.CONFIRMATION, what="the confirmation")
        product.sandbox.move_card(first, "Confirm Deploy")
        waits_for(product, first, WaitKind.FREEZE)
        main = product.sandbox.repository().main
        assert "release day" in control.explain(settings, first)["waits_for"]
        control.thaw(settings, "SHOP")
        done = product.until(lambda: (i := product.item(first)) and i.stage is Stage.DONE and i, what="the first done")
        assert product.sandbox.repository().main == done.landed != main

        # its place goes to the second, whose stop lets the third go on, and leaves no branch
        item = product.until(lambda: (i := product.item(second)) and i.visits.get("development") and i, what="its turn")
        product.sandbox.move_card(second, "Stop")
        product.until(lambda: (i := product.item(second)) and i.stage is Stage.CANCELLED, what=f"{second} cancelled")
        product.until(lambda: (w := product.wait(third)) and w.kind is WaitKind.APPROVAL, what="the third analysed")
        assert item.branch not in product.sandbox.repository().branches
        assert all(not pull.merged for pull in product.sandbox.repository().pulls if pull.head == item.branch)
        assert list((settings.runs_folder / second).glob(f"archive-{item.id}/docs/work-items/{second}/*.md"))
