"""While one item is being deployed no run takes another one."""

from datetime import timedelta

from pipeline.stages import Stage
from pipeline.store import drains
from tasks.ownership import Claimed, NotNow, claim, release
from tests.support.services import Desk


def test_no_run_takes_an_item_while_somebody_else_is_being_deployed(desk: Desk) -> None:
    item, now = desk.item(), desk.clock.now
    desk.store.write(drains.begin, "SHOP-999", now, now + timedelta(seconds=60))
    refused = claim(desk.root, item.key, item.stage, "run-1")
    assert refused == NotNow("Draining", "Orch takes no new work while SHOP-999 is being deployed.")
    assert desk.again(item).failures == 0
    desk.clock.forward(60)
    assert isinstance(claim(desk.root, item.key, item.stage, "run-1"), Claimed)


def test_whoever_drains_may_go_on_itself(desk: Desk) -> None:
    item, now = desk.item(Stage.DEPLOY), desk.clock.now
    desk.store.write(drains.begin, item.key, now, now + timedelta(seconds=60))
    assert isinstance(claim(desk.root, item.key, item.stage, "run-1"), Claimed)


def test_work_goes_on_once_the_drain_has_ended(desk: Desk) -> None:
    item, now = desk.item(), desk.clock.now
    desk.store.write(drains.begin, "SHOP-999", now, now + timedelta(seconds=60))
    desk.store.write(drains.end, "SHOP-999", now)
    assert isinstance(claim(desk.root, item.key, item.stage, "run-1"), Claimed)


def test_a_run_that_owns_its_item_already_ends_in_order_during_a_drain(desk: Desk) -> None:
    item, now = desk.item(), desk.clock.now
    owner = claim(desk.root, item.key, item.stage, "run-1")
    assert isinstance(owner, Claimed)
    desk.store.write(drains.begin, "SHOP-999", now, now + timedelta(seconds=60))
    release(desk.store, owner, now, in_order=True)
    assert desk.again(item).failures == 0
