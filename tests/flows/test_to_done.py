from pathlib import Path

from deployments.prefect_server import PrefectServer
from pipeline.stages import Stage
from tests.support.product import running_product


def test_an_issue_goes_from_to_analyse_to_done_and_what_landed_is_what_was_tested(
    tmp_path: Path, prefect_server: PrefectServer
) -> None:
    with running_product(tmp_path / "p", prefect_server) as product:
        key = product.start_item()
        item = product.decide_for(key)
        assert item.stage is Stage.DONE
        assert product.sandbox.repository().main == item.landed == item.validated
