"""Two items of one project that cannot both land as they are: main is never broken, and both end done."""

import subprocess
from pathlib import Path

import pytest

from deployments.demo_scenarios import SCENARIOS
from deployments.prefect_server import PrefectServer
from deployments.sandbox.options import Options
from pipeline.stages import Stage
from tests.support.product import Product, running_product


def broken_tips(product: Product, folder: Path) -> list[str]:
    """Which of the commits that main ever stood on fail their tests, looked at in a clone of our own."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", product.sandbox.clone_url_with_token(), str(clone)], check=True)
    broken = []
    for tip in product.sandbox.repository().main_tips:
        subprocess.run(["git", "checkout", "-q", "--detach", tip], cwd=clone, check=True)
        if subprocess.run(Options().test_command, cwd=clone, capture_output=True, check=False).returncode:
            broken.append(tip)
    return broken


@pytest.mark.long
@pytest.mark.parametrize("name", ["two-conflicting", "green-alone-red-together"])
@pytest.mark.timeout(400)
def test_both_items_end_done_the_second_after_a_rollback_and_no_tip_of_main_was_ever_broken(
    name: str, tmp_path: Path, prefect_server: PrefectServer
) -> None:
    scenario = SCENARIOS[name]
    with running_product(tmp_path / "p", prefect_server, scenario=scenario.file) as product:
        keys = [product.start_item(card.title, card.description) for card in scenario.cards]
        items = product.decide_for_all(keys, within_s=300)
        assert {item.stage for item in items} == {Stage.DONE}
        assert all(item.landed == item.validated for item in items)
        sent_back = [key for key in keys if product.moves(key).count("development") == 2]
        assert len(sent_back) == 1
        assert product.item(sent_back[0]).attempts == {"developer": 1}  # type: ignore[union-attr]
        tips = product.sandbox.repository().main_tips
        assert len(tips) == 3
        assert set(tips[1:]) == {item.landed for item in items}
        assert broken_tips(product, tmp_path) == []
