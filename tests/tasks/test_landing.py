"""Landing: exactly the validated commit, once; what a person merged counts only where it is what was validated."""

from collections.abc import Callable

import pytest

from deployments.sandbox.client import SandboxClient
from pipeline.errors import CouldNotRun, Unavailable
from pipeline.model import Landed, MovedOn, WorkItem
from pipeline.stages import Stage
from pipeline.store import items, journal
from pipeline.store.leases import Lease
from tasks import landing
from tasks.landing import MergeLock
from tests.support.services import Desk

LOCK = MergeLock("SHOP")


@pytest.fixture(scope="module")
def sandbox(sandbox: SandboxClient) -> SandboxClient:
    sandbox.ci("off")
    return sandbox


@pytest.fixture
def desk(desk: Desk, at_work: Callable[[Desk], None]) -> Desk:
    at_work(desk)
    return desk


def validated(desk: Desk, name: str) -> tuple[WorkItem, Lease]:
    """An item whose commit was validated on what the default branch is now, with its pull request; owned by a run."""
    card, branch, base = desk.card(f"Write {name}"), f"feature/{name}", desk.sandbox.repository().main
    tip = desk.sandbox.commit(branch, {name: name}, f"Write {name}", who="api")
    with desk.sandbox.gitea_api() as gitea:
        pull = gitea.post("/repos/acme/shop/pulls", json={"title": name, "head": branch, "base": "main"})
        number = pull.raise_for_status().json()["number"]
    item = desk.item(Stage.DEPLOY, card, tip=tip, validated=tip, validated_base=base, pull_number=number)
    return item, desk.owned(item)


def merge(desk: Desk, item: WorkItem) -> str:
    """A person merges the pull request; what the default branch is then."""
    with desk.sandbox.gitea_api() as gitea:
        gitea.post(f"/repos/acme/shop/pulls/{item.pull_number}/merge", json={"Do": "merge"}).raise_for_status()
    return desk.sandbox.repository().main


async def test_the_validated_commit_lands_and_a_second_call_finds_it_landed(desk: Desk) -> None:
    item, lease = validated(desk, "apples")
    for _ in range(2):
        assert await landing.land.fn(item.key, lease, LOCK) == Landed(item.validated or "")
    assert desk.sandbox.repository().main == item.validated == desk.again(item).landed


async def test_what_a_person_merged_has_landed_where_the_files_are_those_that_were_validated(desk: Desk) -> None:
    item, lease = validated(desk, "bread")
    assert merge(desk, item) != item.validated
    assert await landing.land.fn(item.key, lease, LOCK) == Landed(item.validated or "")


async def test_what_a_person_merged_onto_another_change_has_to_be_validated_with_it(desk: Desk) -> None:
    item, lease = validated(desk, "cheese")
    desk.sandbox.commit("main", {"neighbour": "Not in the validated commit."}, "Land first", who="ada")
    tip = merge(desk, item)
    assert await landing.land.fn(item.key, lease, LOCK) == MovedOn(tip)
    assert desk.again(item).landed is None


async def test_a_landing_of_our_own_counts_although_others_have_landed_on_top_since(desk: Desk) -> None:
    item, lease = validated(desk, "dates")
    begun = {"subject": item.validated, "now": desk.clock.now, "base": item.validated_base}
    desk.store.write(lambda session: journal.start(session, item, landing.LAND, lease, **begun))
    merge(desk, item)
    desk.sandbox.commit("main", {"neighbour": "Landed on top."}, "Land second", who="ada")
    assert await landing.land.fn(item.key, lease, LOCK) == Landed(item.validated or "")


async def test_a_gitea_that_is_away_leaves_a_landing_that_is_looked_at_again(desk: Desk) -> None:
    item, lease = validated(desk, "eggs")
    desk.sandbox.fail_next("gitea", 1, status=503, match="/pulls/")
    with pytest.raises(Unavailable):
        await landing.land.fn(item.key, lease, LOCK)
    assert [effect.open for effect in desk.store.read(journal.of_item, item.id)] == [True]
    assert await landing.land.fn(item.key, lease, LOCK) == Landed(item.validated or "")
    assert [effect.open for effect in desk.store.read(journal.of_item, item.id)] == [False]


def landings(desk: Desk, item: WorkItem) -> list[tuple[str, bool]]:
    """The landings on record: of which commit, and whether they are still open."""
    return [(e.key.rpartition(":")[2], e.open) for e in desk.store.read(journal.of_item, item.id)]


async def answer_is_lost(desk: Desk, item: WorkItem, lease: Lease) -> None:
    desk.sandbox.fail_next("gitea", 1, status=503, match="/pulls/")
    with pytest.raises(Unavailable):
        await landing.land.fn(item.key, lease, LOCK)
    assert landings(desk, item) == [(item.validated, True)]
    assert desk.store.read(landing.under_way, item)


async def test_a_landing_without_an_answer_is_struck_out_when_the_default_branch_has_moved_on_without_it(
    desk: Desk,
) -> None:
    item, lease = validated(desk, "grapes")
    await answer_is_lost(desk, item, lease)
    tip = desk.sandbox.commit("main", {"neighbour": "Was faster than the grapes."}, "Land first", who="ada")
    assert await landing.land.fn(item.key, lease, LOCK) == MovedOn(tip)
    assert landings(desk, item) == []
    assert not desk.store.read(landing.under_way, item)


async def test_a_landing_without_an_answer_of_what_was_validated_before_ends_with_the_next_landing(desk: Desk) -> None:
    item, lease = validated(desk, "honey")
    await answer_is_lost(desk, item, lease)
    tip = desk.sandbox.commit("feature/honey", {"honey": "More honey."}, "Write more", who="api")
    again = desk.store.write(items.update, item, lease.token, desk.clock.now, tip=tip, validated=tip)
    assert not desk.store.read(landing.under_way, again)
    assert await landing.land.fn(item.key, lease, LOCK) == Landed(tip)
    assert (item.validated, True) not in landings(desk, item)


async def test_another_projects_merge_lock_lands_nothing(desk: Desk) -> None:
    item, lease = validated(desk, "flour")
    with pytest.raises(CouldNotRun, match="cannot land"):
        await landing.land.fn(item.key, lease, MergeLock("OTHER"))
    assert desk.store.read(journal.of_item, item.id) == []
