"""A run that is told to end, by TERM: a host that goes down or a person who cancels it in Prefect does that.

It keeps its lease, so that whoever finds it dead asks what it died of.
"""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from deployments.prefect_server import PrefectServer
from flows.analysis import analysis
from flows.intake import intake
from pipeline.model import Hold
from pipeline.stages import Stage
from pipeline.store import evidence, leases
from tasks import healing, prefect_api
from tasks.services import Services
from tests.support.forks import make_services
from tests.support.kills import DESCRIPTION, Stand, standing

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Iterator[Stand]:
    """An item whose analysis was told to end while its agent was at work."""
    with standing(tmp_path_factory.mktemp("told"), prefect_server) as made:
        made.register_deployments()
        made.key = made.sandbox.create_card("Print a receipt", DESCRIPTION)
        made.sandbox.move_card(made.key, "To Analyse")
        made.run(intake)

        def term(checkpoint: str) -> None:
            if checkpoint.startswith("command: started"):
                os.kill(os.getpid(), signal.SIGTERM)

        assert made.run(analysis, at_checkpoint=term).killed
        made.snapshot("told to end")
        yield made


def owner_of(stand: Stand) -> leases.Owner:
    found = stand.read(lambda session: leases.owner(session, stand.item.id))
    assert isinstance(found, leases.Owner)
    return found


def heal(stand: Stand, root: Services) -> str | None:
    try:
        return asyncio.run(healing.heal(root, stand.key))
    finally:
        root.store.dispose()


def test_it_leaves_its_lease_its_failure_and_no_process(stand: Stand) -> None:
    stand.restore("told to end")
    root = make_services(stand.settings)
    assert (root.alive(owner_of(stand).process), stand.item.failures) == (False, 1)
    assert stand.read(lambda session: len(evidence.unfinished_agent_runs(session, stand.item.id))) == 1
    assert stand.processes() == []
    root.store.dispose()


def test_one_that_a_person_has_cancelled_holds_the_item(stand: Stand) -> None:
    stand.restore("told to end")
    asyncio.run(prefect_api.cancel(owner_of(stand).flow_run_id, "a person did"))
    assert heal(stand, make_services(stand.settings)) == "its run was cancelled in Prefect"
    assert (stand.item.hold, stand.item.hold_reason) == (Hold.BLOCKED, "Its run was cancelled in Prefect.")


def test_one_that_nobody_has_cancelled_is_followed_by_another(stand: Stand) -> None:
    stand.restore("told to end")
    asyncio.run(prefect_api.crashed(owner_of(stand).flow_run_id, "its worker has seen it end"))
    assert heal(stand, make_services(stand.settings)) == "started analysis again: its run had died"
    assert (stand.item.stage, stand.item.failures) == (Stage.ANALYSIS, 1)
