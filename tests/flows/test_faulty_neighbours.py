"""Webhooks that are lost, doubled, late or in the wrong order, and neighbours that fail: the item ends done all the same."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployments.prefect_server import PrefectServer
from deployments.sandbox.client import SandboxClient
from pipeline.stages import Stage
from pipeline.store import evidence, journal
from tests.support.product import Product, repository_of, running_product

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

MANY = 1000
"""More webhooks than one item makes."""

PROJECTS = ("PA", "PB", "PC", "PD", "PE", "PF")


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
    sandbox.delay_webhooks(MANY, 20)


def break_every_neighbour(sandbox: SandboxClient) -> None:
    """Each of them fails, loses its answer or is slow for a while."""
    for peer in ("plane", "gitea", "telegram"):
        sandbox.fail_next(peer, 8, status=503)  # type: ignore[arg-type]
        sandbox.fail_next(peer, 4, status=500, after=True)  # type: ignore[arg-type]
        sandbox.delay(peer, 3, 4)  # type: ignore[arg-type]


FAULTS: dict[str, tuple[str, Callable[[SandboxClient], None]]] = {
    "lost": ("PA", lose_everything),
    "doubled": ("PB", double_everything),
    "in the wrong order": ("PC", mix_everything),
    "late": ("PD", delay_everything),
    "neighbours fail": ("PE", break_every_neighbour),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_item_ends_done_once_whatever_becomes_of_webhooks_and_answers(product: Product, name: str) -> None:
    project, fault = FAULTS[name]
    fault(product.sandbox)
    key = product.start_item(project=project)
    product.decide_for(key, within_s=500)
    done_once(product, key, project)


def test_what_is_told_while_the_receiver_is_away_is_heard_when_it_is_back(product: Product) -> None:
    product.stop("receiver")
    key = product.start_item(project="PF")
    product.sandbox.flush()
    product.start_receiver()
    product.decide_for(key, within_s=500)
    done_once(product, key, "PF")


def done_once(product: Product, key: str, project: str) -> None:
    """Landed as tested, by one landing, with one pull request, and nothing written twice."""
    item, repository = product.item(key), product.sandbox.repository(repository_of(project))
    assert item is not None
    assert item.stage is Stage.DONE
    assert repository.main == item.landed == product.read(lambda s: evidence.tested_for_landing(s, item.id))
    assert repository.main_tips.count(item.landed) == 1
    assert [(e.name, e.open) for e in product.read(lambda s: journal.of_item(s, item.id))] == [("land", False)]
    assert len(repository.pulls) == 1
    product.until(lambda: product.sandbox.card(key).state == "Done", what="the card in Done")
    written = Counter(c.external_id for c in product.sandbox.card(key).comments if c.external_id)
    assert [one for one, count in written.items() if count > 1] == []
