"""Every shipped scenario does what it is called, whichever of its items comes first."""

import subprocess

import pytest

from deployments.sandbox.agent.scenario import load
from pipeline.model import AgentEnd
from tests.deployments.sandbox.scripted import SCENARIOS, Shop, git, green

CONFLICTING = (("WID-1", "Raise the flat rate"), ("WID-2", "Offer express parcels"))
RED_TOGETHER = (("WID-1", "Round half a cent up"), ("WID-2", "Sell things as a bundle"))


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


def two(shop, scenario, items):
    return [shop.item(key, title, SCENARIOS / scenario) for key, title in items]


async def test_happy_adds_a_feature_with_its_tests(shop):
    item = shop.item("WID-1", "Print receipts", SCENARIOS / "happy.toml")
    assert green(item.folder)
    await item.run("developer")
    changed = git(item.folder, "diff", "--name-only", "main...HEAD").splitlines()
    assert changed == ["README.md", "shop/receipt.py", "tests/test_receipt.py"]
    assert green(item.folder)


@pytest.mark.parametrize("items", [CONFLICTING, CONFLICTING[::-1]])
async def test_the_conflicting_items_are_green_alone_and_the_second_settles_the_conflict(shop, items):
    first, second = two(shop, "two-conflicting.toml", items)
    for item in (first, second):
        await item.run("analyst")
        await item.run("developer")
        assert green(item.folder)
    with pytest.raises(subprocess.CalledProcessError):
        shop.merged(first, second)
    shop.land(first)
    assert (await second.run("developer", visit=2)).end is AgentEnd.FINISHED
    assert git(second.folder, "merge-base", "main", "HEAD") == first.tip
    assert (green(second.folder), second.dirty()) == (True, False)
    tests = {path.name for path in (second.folder / "tests").glob("test_*.py")}
    assert {"test_flat_rate.py", "test_express.py"} <= tests


@pytest.mark.parametrize("items", [CONFLICTING, CONFLICTING[::-1]])
async def test_a_conflicting_item_that_is_built_later_fits_at_once(shop, items):
    first, second = two(shop, "two-conflicting.toml", items)
    await first.run("developer")
    await second.run("analyst")
    shop.land(first)
    assert (await second.run("developer")).end is AgentEnd.FINISHED
    assert green(second.folder)


@pytest.mark.parametrize("items", [RED_TOGETHER, RED_TOGETHER[::-1]])
async def test_the_other_two_merge_cleanly_are_red_together_and_green_after_the_fix(shop, items):
    first, second = two(shop, "green-alone-red-together.toml", items)
    for item in (first, second):
        await item.run("analyst")
        await item.run("developer")
        assert green(item.folder)
    assert not green(shop.merged(first, second))
    shop.land(first)
    assert (await second.run("developer", visit=2)).end is AgentEnd.FINISHED
    assert git(second.folder, "merge-base", "main", "HEAD") == first.tip
    assert (green(second.folder), second.dirty()) == (True, False)
    before = second.tip
    await second.run("developer", visit=3)
    assert second.tip == before


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_scenario_can_be_loaded(path):
    assert load(path)
