from pipeline.store import leases
from pipeline.store.engine import Store
from pipeline.store.leases import Lease, Owner
from tests.pipeline.store.helpers import claimed, later, new_item


def test_a_second_actor_that_meets_a_living_owner_does_not_start(store: Store) -> None:
    item = new_item(store)
    claimed(store, item, run="run-1")
    second = claimed(store, item, run="run-2")
    assert isinstance(second, Owner)
    assert second.flow_run_id == "run-1"


def test_a_dead_owners_lease_is_taken_over_at_once_and_the_generation_rises(store: Store) -> None:
    item = new_item(store)
    first = claimed(store, item, run="run-1")
    second = claimed(store, item, run="run-2", alive=False)
    assert isinstance(first, Lease)
    assert isinstance(second, Lease)
    assert second.stolen_from is not None
    assert (second.stolen_from.flow_run_id, second.generation) == ("run-1", first.generation + 1)


def test_an_owner_on_another_host_counts_until_its_lease_runs_out(store: Store) -> None:
    item = new_item(store)
    claimed(store, item, run="run-1", alive=None)
    assert isinstance(claimed(store, item, run="run-2", now=later(29), alive=None), Owner)
    assert isinstance(claimed(store, item, run="run-3", now=later(31), alive=None), Lease)


def test_a_living_process_that_does_not_renew_for_minutes_loses_its_lease(store: Store) -> None:
    item = new_item(store)
    claimed(store, item, run="run-1")
    assert isinstance(claimed(store, item, run="run-2", now=later(60), alive=True), Owner)
    assert isinstance(claimed(store, item, run="run-3", now=later(331), alive=True), Lease)


def test_renewing_prolongs_only_ones_own_lease(store: Store) -> None:
    item = new_item(store)
    first = claimed(store, item, run="run-1")
    assert isinstance(first, Lease)
    assert store.write(leases.renew, first, now=later(20), ttl=30)
    assert isinstance(claimed(store, item, run="run-2", now=later(45)), Owner)
    claimed(store, item, run="run-3", now=later(400))
    assert not store.write(leases.renew, first, now=later(401), ttl=30)


def test_releasing_deletes_only_ones_own_token(store: Store) -> None:
    item = new_item(store)
    claimed(store, item, run="run-1")
    assert not store.write(leases.release, item.id, "token-run-2")
    assert store.write(leases.release, item.id, "token-run-1")
    assert not store.write(leases.release, item.id, "token-run-1")
    assert store.read(leases.owner, item.id) is None


def test_the_generation_goes_on_rising_after_a_release(store: Store) -> None:
    item = new_item(store)
    first = claimed(store, item, run="run-1")
    store.write(leases.release, item.id, "token-run-1")
    second = claimed(store, item, run="run-2")
    assert isinstance(first, Lease)
    assert isinstance(second, Lease)
    assert second.generation == first.generation + 1
