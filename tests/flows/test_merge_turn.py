"""Who is next at the merge gate: a validated item that nobody has to be asked about lands before another is validated."""

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from deployments.prefect_server import PrefectServer
from pipeline.stages import Stage
from pipeline.store import items, queue
from pipeline.store.engine import Store
from tests.support.kills import FLOWS, Stand, standing
from tests.support.shop_items import item_at

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Iterator[Stand]:
    """A confirmed item under which the default branch has moved, and another one behind it in the merge queue."""
    with standing(tmp_path_factory.mktemp("turn"), prefect_server) as made:
        made.sandbox.ci("off")
        base, store = made.sandbox.repository().main, Store(made.settings.store_url)
        try:
            shop = SimpleNamespace(sandbox=made.sandbox, store=store)
            made.key, other = (item_at(shop, name, Stage.DEPLOY_STAGING) for name in ("apples", "bells"))
            item, now = made.item, datetime.now(UTC)
            said = {"validated": item.tip, "validated_base": base, "confirmed": item.tip}
            store.write(items.update, item, None, now, **said)  # type: ignore[arg-type]
            for one in (item, store.read(items.find, other)):
                assert one is not None
                store.write(queue.take, one, now)
        finally:
            store.dispose()
        made.sandbox.commit("main", {"NOTES.md": "Something else.\n"})
        yield made


def test_an_item_whose_confirmation_survives_lands_before_the_next_one_is_woken(stand: Stand) -> None:
    stand.run(FLOWS[Stage.DEPLOY_STAGING])
    item = stand.item
    assert (item.stage, item.confirmed) == (Stage.DEPLOY, item.validated)
    assert [(t.item_id == item.id, t.first) for t in stand.read(lambda s: queue.tickets(s, "SHOP"))] == [
        (True, True),
        (False, False),
    ]
    stand.run(FLOWS[Stage.DEPLOY])
    assert (stand.item.stage, stand.sandbox.repository().main) == (Stage.DONE, item.validated)
    [other] = stand.read(lambda s: queue.tickets(s, "SHOP"))
    assert (other.first, other.woken_at is not None) == (True, True)
