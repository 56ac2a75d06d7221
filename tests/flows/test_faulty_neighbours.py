"""Webhooks that are lost, doubled, late or in the wrong order, and neighbours that fail: the item ends done all the same."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployments.prefect_server import PrefectServer
from deployments.sandbox.client import SandboxClient
from tests.support.product import Product, running_product
from tests.support.shop_items import done_once

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

MANY = 1000
"""More webhooks than one item makes."""

LATE_S = 180
"""Later than polling has heard of it, and than much of what followed."""

PROJECTS = ("PA", "PB", "PC", "PD", "PE")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Iterator[Product]:
    """The whole product, with a project for each test; what was not told is looked for at every tick."""
    folder: Path = tmp_path_factory.mktemp("faulty") / "p"
    with running_product(
        folder, prefect_server, projects=PROJECTS, ci_look_again_s=5, outage_look_again_s=5
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def _mended(product: Product) -> Iterator[None]:
    yield
    product.sandbox.clear_faults()
    product.sandbox.flush()


def lose_everything(sandbox: SandboxClient) -> None:
    sandbox.drop_all_webhooks()


def double_everything(sandbox: SandboxClient) -> None:
    sandbox.duplicate_webhooks(MANY)


def mix_everything(sandbox: SandboxClient) -> None:
    for _ in range(MANY // 3):
        sandbox.reorder_webhooks(3)


def delay_everything(sandbox: SandboxClient) -> None:
    sandbox.delay_webhooks(MANY, LATE_S)


def break_every_neighbour(sandbox: SandboxClient) -> None:
    """Each of them fails, loses its answer or is slow for a while."""
    for peer in ("plane", "gitea", "telegram"):
        sandbox.fail_next(peer, 8, status=503)  # type: ignore[arg-type]
        sandbox.fail_next(peer, 4, status=500, after=True)  # type: ignore[arg-type]
        sandbox.delay(peer, 3, 4)  # type: ignore[arg-type]


FAULTS: dict[str, tuple[str, Callable[[SandboxClient], None], int]] = {
    "lost": ("PA", lose_everything, 0),
    "doubled": ("PB", double_everything, 0),
    "in the wrong order": ("PC", mix_everything, 0),
    "late": ("PD", delay_everything, LATE_S),
    "neighbours fail": ("PE", break_every_neighbour, 0),
}
"""By name: the project, the fault, and how many seconds after the item is done the last webhook comes."""


@pytest.mark.parametrize("name", FAULTS)
def test_an_item_ends_done_once_whatever_becomes_of_webhooks_and_answers(product: Product, name: str) -> None:
    project, fault, late_s = FAULTS[name]
    fault(product.sandbox)
    key = product.start_item(project=project)
    product.decide_for(key, within_s=500)
    time.sleep(late_s)
    done_once(product, key, project)
