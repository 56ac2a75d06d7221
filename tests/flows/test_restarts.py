"""What is told while something of Orch is away, or comes up: it is heard all the same, once, and the item ends done."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from deployments.prefect_server import PrefectServer
from pipeline.model import WaitKind
from tests.support.databases import POSTGRES, postgres_answers, postgres_database
from tests.support.own_prefect import own_prefect
from tests.support.product import Product, running_product
from tests.support.shop_items import done_once, waiting

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

AWAY_S = 20
PROJECTS = ("PA", "PB")


def tell_of_both(product: Product, waits: str) -> dict[str, str]:
    """One item's approval and another one's start, told now; the items' projects."""
    product.sandbox.move_card(waits, "Approved")
    begins = product.start_item(project="PB")
    return {waits: "PA", begins: "PB"}


def asked(product: Product) -> str:
    """An item whose analysis a person is asked about, also on the board."""
    key = product.start_item(project="PA")
    waiting(product, key, WaitKind.APPROVAL)
    product.until(lambda: product.sandbox.card(key).state == "In Review", what="the card in review")
    return key


def all_done_once(product: Product, keys: dict[str, str]) -> None:
    product.decide_for_all(list(keys), within_s=400)
    for key, project in keys.items():
        done_once(product, key, project)


@pytest.mark.parametrize("child", ["worker", "receiver"])
def test_what_is_told_while_one_of_its_processes_is_away(
    tmp_path: Path, prefect_server: PrefectServer, child: str
) -> None:
    with running_product(tmp_path / "p", prefect_server, projects=PROJECTS) as product:
        waits = asked(product)
        product.stop(child)
        keys = tell_of_both(product, waits)
        time.sleep(AWAY_S)
        {"worker": product.start_worker, "receiver": product.start_receiver}[child]()
        all_done_once(product, keys)


def test_what_is_told_while_the_prefect_server_is_away(tmp_path: Path) -> None:
    with (
        own_prefect(tmp_path) as prefect,
        running_product(tmp_path / "p", prefect.server, projects=PROJECTS) as product,
    ):
        waits = asked(product)
        prefect.kill()
        keys = tell_of_both(product, waits)
        time.sleep(AWAY_S)
        prefect.start()
        all_done_once(product, keys)


def test_what_is_told_while_somebody_keeps_the_database_to_himself(
    tmp_path: Path, prefect_server: PrefectServer
) -> None:
    with running_product(tmp_path / "p", prefect_server, projects=PROJECTS) as product:
        waits = asked(product)
        database = sqlite3.connect(product.settings.state_dir / "orch.db", isolation_level=None)
        database.execute("begin exclusive")
        keys = tell_of_both(product, waits)
        time.sleep(2 * AWAY_S)
        database.rollback()
        database.close()
        all_done_once(product, keys)


@pytest.mark.skipif(not postgres_answers(), reason="no PostgreSQL server answers")
def test_what_is_told_while_the_database_takes_no_connections_and_when_they_break_again_and_again(
    tmp_path: Path, prefect_server: PrefectServer
) -> None:
    with (
        postgres_database("restarts") as url,
        running_product(tmp_path / "p", prefect_server, projects=PROJECTS, database_url=url) as product,
    ):
        waits = asked(product)
        name = url.rpartition("/")[2]
        with closed(name):
            keys = tell_of_both(product, waits)
            time.sleep(AWAY_S)
        with again_and_again(lambda: throw_out(name)):
            time.sleep(AWAY_S)
        all_done_once(product, keys)


@contextmanager
def closed(name: str) -> Iterator[None]:
    """A database that takes no connections, and has none."""
    administrate(f"alter database {name} allow_connections false")
    throw_out(name)
    try:
        yield
    finally:
        administrate(f"alter database {name} allow_connections true")


@contextmanager
def again_and_again(work: Callable[[], None]) -> Iterator[None]:
    """Every second, until the body is over."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(1):
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def throw_out(name: str) -> None:
    """End every connection to a database."""
    administrate("select pg_terminate_backend(pid) from pg_stat_activity where datname = :name", name=name)


def administrate(statement: str, **values: str) -> None:
    engine = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement), values)
    engine.dispose()
