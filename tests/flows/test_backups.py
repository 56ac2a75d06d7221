"""One of the two databases is put back to an earlier moment and knows less than the other: nothing is done twice.

What is lost is what people have said since; they are asked again, or the item says what is to be done.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from deployments import operator
from deployments.prefect_server import PrefectServer
from pipeline.errors import OrchError
from pipeline.model import WaitKind
from pipeline.stages import Stage
from pipeline.store import evidence
from tests.support.own_prefect import own_prefect
from tests.support.product import Product, repository_of, running_product
from tests.support.shop_items import done_once, waiting

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


def test_prefects_database_of_before_the_approval_knows_no_run_of_what_came_after(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with (
        own_prefect(tmp_path) as prefect,
        running_product(tmp_path / "p", prefect.server, projects=("PA",)) as product,
    ):
        key = asked_to_approve(product)
        prefect.kill()
        shutil.copytree(prefect.home, backup)
        prefect.start()
        product.decide_for(key, until=Stage.DEPLOY)
        waiting(product, key, WaitKind.CONFIRMATION)
        prefect.kill()
        shutil.rmtree(prefect.home)
        shutil.copytree(backup, prefect.home)
        prefect.start()
        product.decide_for(key, within_s=300)
        done_once(product, key, "PA")


def test_orchs_database_of_before_the_confirmation_lets_nothing_land_twice(
    tmp_path: Path, prefect_server: PrefectServer
) -> None:
    with running_product(tmp_path / "p", prefect_server, projects=("PA",)) as product:
        key = asked_to_approve(product)
        product.decide_for(key, until=Stage.DEPLOY)
        waiting(product, key, WaitKind.CONFIRMATION)
        with taken_back(product, tmp_path / "backup.db"):
            product.decide_for(key)
            done_once(product, key, "PA")
        helped_to_the_end(product, key)
        done_once(product, key, "PA")


def test_orchs_database_of_before_the_approval_has_it_worked_on_again_and_lands_only_what_was_tested(
    tmp_path: Path, prefect_server: PrefectServer
) -> None:
    with running_product(tmp_path / "p", prefect_server, projects=("PA",)) as product:
        key = asked_to_approve(product)
        with taken_back(product, tmp_path / "backup.db"):
            first = product.decide_for(key)
        helped_to_the_end(product, key)
        item, tips = product.item(key), product.sandbox.repository(repository_of("PA")).main_tips
        assert item is not None
        assert len(tips) == len(set(tips))
        assert tips[-2:] in ([first.landed, item.landed], [tips[-2], first.landed])
        assert item.landed in (None, product.read(lambda s: evidence.tested_for_landing(s, item.id)))


def asked_to_approve(product: Product) -> str:
    key = product.start_item(project="PA")
    waiting(product, key, WaitKind.APPROVAL)
    product.until(lambda: product.sandbox.card(key).state == "In Review", what="the card in review")
    return key


@contextmanager
def taken_back(product: Product, backup: Path) -> Iterator[None]:
    """A backup of Orch's database is made as the runbook says; what the body brings about is forgotten."""
    database = product.settings.state_dir / "orch.db"
    with closing(sqlite3.connect(database)) as live, closing(sqlite3.connect(backup)) as copy:
        live.backup(copy)
    yield
    for child in ("receiver", "worker"):
        product.stop(child)
    product.store.dispose()
    for file in (database, *(database.with_name(f"orch.db-{kind}") for kind in ("wal", "shm"))):
        file.unlink(missing_ok=True)
    shutil.copy(backup, database)
    product.start_worker()
    product.start_receiver()


def helped_to_the_end(product: Product, key: str) -> None:
    """A person decides what is asked, and lets go on what is held, until the item is done."""
    decided: set[int] = set()

    def helped() -> bool:
        item, wait = product.item(key), product.wait(key)
        assert item is not None
        if item.hold is not None:
            try:
                operator.retry(product.settings, key, "ada")
            except OrchError:
                return False  # its run still holds it
        elif wait is not None and wait.kind.human and wait.id not in decided:
            decided.add(wait.id)
            name = "approved" if wait.kind is WaitKind.APPROVAL else "deploy_confirmed"
            operator.signal(product.settings, key, name, "", "ada")
        return item.stage is Stage.DONE

    product.until(helped, what=f"{key} done", within_s=300)
