"""Claiming an item: what others have written meanwhile counts, also where transactions do not queue up."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text

from pipeline.model import Hold
from pipeline.stages import Stage
from pipeline.store import items
from pipeline.store.engine import Store
from pipeline.store.schema import migrate
from tasks.ownership import NotNow, claim
from tests.support.databases import postgres_answers, postgres_database
from tests.support.services import Desk


@pytest.fixture
def postgres_desk(desk: Desk) -> Iterator[Desk]:
    if not postgres_answers():
        pytest.skip("no PostgreSQL answers")
    with postgres_database("ownership") as url:
        store = Store(url)
        migrate(store)
        yield replace(desk, root=replace(desk.root, store=store))
        store.dispose()


def waits_for_a_lock(store: Store) -> bool:
    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with store.engine.connect() as connection:
        return connection.execute(text(waiting)).scalar_one() > 0


def test_a_hold_that_is_committed_while_a_run_is_about_to_claim_keeps_it_out(postgres_desk: Desk) -> None:
    desk = postgres_desk
    item = desk.item(Stage.REVIEW)
    with ThreadPoolExecutor(1) as pool:
        with desk.store.begin() as session:
            items.hold(session, item.id, Hold.BLOCKED, "somebody said so", desk.clock.now)
            session.flush()
            claiming = pool.submit(claim, desk.root, item.key, item.stage, "run-1")
            while not waits_for_a_lock(desk.store):
                time.sleep(0.01)
        claimed = claiming.result(10)
    assert isinstance(claimed, NotNow)
    assert claimed.name == "Held"
