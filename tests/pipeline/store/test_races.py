"""Twenty processes at one item: whoever comes first does it, and nobody else."""

import multiprocessing
import os
from collections.abc import Callable

from sqlmodel import Session, select

from pipeline.errors import LeaseLost, StaleWrite
from pipeline.model import ProcessIdentity, WorkItem
from pipeline.stages import Stage
from pipeline.store import items, leases
from pipeline.store.engine import Store
from pipeline.store.leases import Lease
from pipeline.store.tables import TransitionRow, WorkItemRow
from tests.pipeline.store.helpers import NOW, new_item

RACERS = 20


def race(url: str, work: Callable[[Store, int], bool]) -> int:
    """Have forked processes do the same at the same moment; how many of them did it. A crash of one is a failure."""
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(RACERS)

    def run(number: int) -> None:
        store = Store(url)
        gate.wait(60)
        try:
            os._exit(0 if work(store, number) else 1)
        except (StaleWrite, LeaseLost):
            os._exit(1)
        except BaseException:  # noqa: BLE001  it shows as an exit code that no racer has
            os._exit(2)

    racers = [context.Process(target=run, args=(number,)) for number in range(RACERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    codes = [racer.exitcode for racer in racers]
    assert set(codes) <= {0, 1}, codes
    return codes.count(0)


def test_of_twenty_processes_that_advance_one_item_one_does(store: Store, store_url: str) -> None:
    item = new_item(store)
    store.dispose()
    assert race(store_url, lambda racer, number: _claimed_and_moved(racer, item, number)) == 1
    assert _moves(store) == ["analysis", "architecture"]


def test_without_any_lease_the_stage_is_still_written_once(store: Store, store_url: str) -> None:
    item = new_item(store)
    store.dispose()
    assert race(store_url, lambda racer, number: _moved(racer, item, number, None)) == 1
    assert _moves(store) == ["analysis", "architecture"]


def test_of_twenty_starts_of_one_card_one_makes_the_item(store: Store, store_url: str) -> None:
    store.dispose()
    assert race(store_url, _created) == 1
    assert _moves(store) == ["analysis"]
    assert len(store.read(lambda session: session.exec(select(WorkItemRow)).all())) == 1


def _claimed_and_moved(store: Store, item: WorkItem, number: int) -> bool:
    """Take the item and move it on; the first owner lives on, as far as the others can tell."""
    lease = store.write(
        leases.claim, item.id, flow_run_id=f"run-{number}", stage=item.stage, token=f"token-{number}",
        process=ProcessIdentity("here", "boot", number + 1, 1.0), now=NOW, ttl=30, alive=lambda _: True,
    )  # fmt: skip
    return isinstance(lease, Lease) and _moved(store, item, number, lease.token)


def _moved(store: Store, item: WorkItem, number: int, token: str | None) -> bool:
    store.write(
        items.move,  # type: ignore[arg-type]  # mypy: a ParamSpec with **changes
        item,
        Stage.ARCHITECTURE,
        actor="orch",
        reason="green",
        run=f"run-{number}",
        token=token,
        now=NOW,
    )
    return True


def _created(store: Store, number: int) -> bool:
    new = items.NewItem("WID-1", "WID", "card-1", "Make it spin", "feature/WID-1")
    return store.write(items.create, new, actor="ada", reason="", run=f"run-{number}", now=NOW)[1]


def _moves(store: Store) -> list[str]:
    def read(session: Session) -> list[str]:
        return [str(stage) for stage in session.exec(select(TransitionRow.to_stage).order_by(TransitionRow.id)).all()]

    return store.read(read)
