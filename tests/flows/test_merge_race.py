"""Ten items of one project come to the merge gate together: all land, one after another, each as it was tested."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.prefect_server import PrefectServer
from pipeline.model import WaitKind
from pipeline.stages import Stage
from pipeline.store import evidence, queue
from tests.support.product import Product, running_product
from tests.support.shop_items import come_to_staging, confirm, the

NAMES = ("apples", "bells", "candles", "dishes", "envelopes", "flags", "gloves", "hooks", "irons", "jugs")

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Iterator[Product]:
    folder: Path = tmp_path_factory.mktemp("race") / "p"
    with running_product(folder, prefect_server, merge_defer_s=1) as running:
        running.sandbox.ci("off")
        yield running


def test_ten_items_at_the_merge_gate_at_once_all_land_one_after_another_as_tested(product: Product) -> None:
    before = product.sandbox.repository().main_tips
    keys = come_to_staging(product, *NAMES)
    confirmed: set[int] = set()

    def all_done() -> bool:
        for key in keys:
            assert the(product, key).hold is None, the(product, key).hold_reason
            wait = product.wait(key)
            if wait is not None and wait.kind is WaitKind.CONFIRMATION and wait.id not in confirmed:
                confirmed.add(wait.id)
                confirm(product, key)
        return all(the(product, key).stage is Stage.DONE for key in keys)

    product.until(all_done, what="all done", within_s=1000)
    landed = [the(product, key).landed for key in keys]
    tips = product.sandbox.repository().main_tips[len(before) :]
    assert sorted(tips) == sorted(str(one) for one in landed)
    for key in keys:
        item = the(product, key)
        assert product.read(lambda s, item=item: evidence.tested_for_landing(s, item.id)) == item.landed
        assert item.attempts == {}
    assert product.read(lambda s: queue.tickets(s, "SHOP")) == []
