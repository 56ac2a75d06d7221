"""Production's journal: a deploy is begun once, keeps others from landing, and ends; a rollback is made when it may be."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import Session

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.stand_settings import stand_settings
from pipeline.errors import CouldNotRun, Unavailable
from pipeline.model import Baseline, CoverageRun, Health, Hook, HookEnd, WorkItem
from pipeline.monitoring import Watched
from pipeline.stages import Stage
from pipeline.store import journal, queue, stands
from pipeline.store.leases import Lease
from tasks import production
from tasks.landing import MergeLock
from tasks.production import _settle as settle
from tasks.stands import ItemStands
from tests.support.services import Desk, open_desk

A, B = "a" * 40, "b" * 40
LOCK = MergeLock("SHOP")


@pytest.fixture
async def desk(sandbox: SandboxClient, tmp_path: Path, at_work: Callable[[Desk], None]) -> AsyncIterator[Desk]:
    """A desk whose project has the sandbox's stands; tasks find its services."""
    async with open_desk(sandbox, tmp_path, project=stand_settings(sandbox.url)) as desk:
        at_work(desk)
        yield desk


def landed(desk: Desk, commit: str = A) -> tuple[WorkItem, Lease]:
    """An item whose change has landed, owned by a run."""
    item = desk.item(Stage.DEPLOY, validated=commit, landed=commit)
    return item, desk.owned(item)


def deploy_of(desk: Desk, item: WorkItem) -> journal.Effect | None:
    return desk.store.read(production.open_deploy, item)


def in_the_way(desk: Desk, item: WorkItem) -> str | None:
    return desk.store.read(production.deploy_in_the_way, item)


def begun(desk: Desk, item: WorkItem, lease: Lease, *, subject: str = "#1", **details: object) -> journal.Effect:
    """A deploy of what the item has landed, as it stands in the journal."""
    about = {"commit": item.landed, "previous": B} | details

    def write(session: Session) -> tuple[journal.Effect, bool]:
        return journal.start(
            session, item, production.DEPLOY, lease, subject=f"{item.landed}{subject}", now=desk.clock.now, **about
        )

    return desk.store.write(write)[0]


def deploys(desk: Desk, item: WorkItem) -> list[tuple[str, bool]]:
    effects = desk.store.read(journal.of_item, item.id)
    return [(e.key.rpartition(":")[2], e.open) for e in effects if e.name == production.DEPLOY]


def fails(desk: Desk, item: WorkItem, why: str = "it did not come up") -> None:
    desk.store.write(production.end_failed, item, why, desk.clock.now)


async def overtaken(desk: Desk) -> tuple[WorkItem, Lease, str]:
    """A landed item, and the later commit that a neighbour has brought to production since."""
    older = desk.sandbox.repository().main
    newer = desk.sandbox.commit("main", {"NEWS": f"After {older}."}, "Tell the news", who="ada")
    item, lease = landed(desk, older)
    for hook in (Hook.STAGE, Hook.DEPLOY):
        assert (await ItemStands(desk.root, item, desk.project).run(hook, newer)).end is HookEnd.DONE
    return item, lease, newer


def gitea_is_away(desk: Desk) -> None:
    desk.sandbox.fail_next("gitea", 100, status=503)


# --- an open deploy


def test_a_deploy_is_open_from_its_beginning_until_it_has_ended(desk: Desk) -> None:
    item, lease = landed(desk)
    assert deploy_of(desk, item) is None
    effect = begun(desk, item, lease)
    assert deploy_of(desk, item) == effect
    desk.store.write(journal.finish, effect, "done", desk.clock.now)
    assert deploy_of(desk, item) is None


def test_only_a_deploy_of_what_has_landed_is_the_items_open_deploy(desk: Desk) -> None:
    item, lease = landed(desk)
    begun(desk, item, lease, commit=B)
    assert deploy_of(desk, item) is None


def test_an_open_deploy_is_in_the_way_of_every_other_item_of_the_project_and_says_which(desk: Desk) -> None:
    item, lease = landed(desk)
    other = desk.item(Stage.DEPLOY)
    assert in_the_way(desk, other) is None
    effect = begun(desk, item, lease)
    assert in_the_way(desk, other) == f"A deploy of {A[:12]} is under way; nothing lands before it has ended."
    assert in_the_way(desk, item) is None
    desk.store.write(journal.finish, effect, "done", desk.clock.now)
    assert in_the_way(desk, other) is None


def test_another_effect_that_is_open_is_in_nobodys_way(desk: Desk) -> None:
    item, lease = landed(desk)

    def write(session: Session) -> None:
        journal.start(session, item, "stage", lease, subject=A, now=desk.clock.now)

    desk.store.write(write)
    assert in_the_way(desk, desk.item(Stage.DEPLOY)) is None


def test_a_deploy_that_failed_is_over_and_production_is_not_said_to_run_it(desk: Desk) -> None:
    item, lease = landed(desk)
    begun(desk, item, lease)
    desk.store.write(production._settle, item, lease, desk.clock.now, desk.root)
    assert desk.again(item).deployed == A
    fails(desk, desk.again(item))
    again = desk.again(item)
    assert (again.deployed, again.monitor_until, again.landed) == (None, None, A)
    assert deploy_of(desk, again) is None


def test_a_failed_deploy_says_why_in_the_journal_and_the_first_word_stands(desk: Desk) -> None:
    item, lease = landed(desk)
    begun(desk, item, lease)
    for why in ("it did not come up", "something else"):
        fails(desk, item, why)
    [effect] = desk.store.read(journal.of_item, item.id)
    assert (effect.open, effect.outcome) == (False, "failed: it did not come up")


def test_an_item_that_never_deployed_is_failed_without_harm(desk: Desk) -> None:
    item, _lease = landed(desk)
    fails(desk, item)
    assert desk.store.read(journal.of_item, item.id) == []


# --- beginning


async def test_a_deploy_is_begun_once_and_notes_what_serves_now(desk: Desk) -> None:
    item, lease = landed(desk)
    for _ in range(2):
        assert await production.begin.fn(item.key, lease, LOCK) is None
    effect = deploy_of(desk, item)
    assert effect is not None
    assert deploys(desk, item) == [(f"{A}#1", True)]
    first = desk.sandbox.stand("production").revision
    assert dict(effect.details) == {"commit": A, "previous": first, "artifact": desk.project.artifact_of(A)}


async def test_a_deploy_that_failed_is_begun_anew_as_another_one(desk: Desk) -> None:
    item, lease = landed(desk)
    await production.begin.fn(item.key, lease, LOCK)
    fails(desk, item)
    await production.begin.fn(item.key, lease, LOCK)
    assert deploys(desk, item) == [(f"{A}#1", False), (f"{A}#2", True)]


async def test_what_was_verified_is_not_deployed_again(desk: Desk) -> None:
    item, lease = landed(desk)
    await production.begin.fn(item.key, lease, LOCK)
    await production.settle.fn(item.key, lease, desk.clock.now)
    await production.begin.fn(item.key, lease, LOCK)
    assert deploys(desk, item) == [(f"{A}#1", False)]


async def test_nothing_is_begun_under_another_projects_lock(desk: Desk) -> None:
    item, lease = landed(desk)
    with pytest.raises(CouldNotRun, match="the merge lock is another project's"):
        await production.begin.fn(item.key, lease, MergeLock("OTHER"))
    assert deploys(desk, item) == []


async def test_nothing_is_begun_before_the_change_has_landed(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY, validated=A)
    await production.begin.fn(item.key, desk.owned(item), LOCK)
    assert deploys(desk, item) == []


async def test_an_older_commit_is_not_deployed_over_a_newer_one_that_contains_it(desk: Desk) -> None:
    item, lease, newer = await overtaken(desk)
    later = await production.begin.fn(item.key, lease, LOCK)
    assert later is not None
    assert (later.health, later.revision) == (Health.HEALTHY, newer)
    assert deploys(desk, item) == []


async def test_nothing_is_begun_while_nobody_can_tell_whether_production_runs_a_later_commit(desk: Desk) -> None:
    item, lease, _newer = await overtaken(desk)
    gitea_is_away(desk)
    with pytest.raises(Unavailable):
        await production.begin.fn(item.key, lease, LOCK)
    assert deploys(desk, item) == []


async def test_the_end_of_a_deploy_wakes_whoever_it_kept_out(desk: Desk) -> None:
    item, lease = landed(desk)
    for ends in (lambda: fails(desk, item), lambda: desk.store.write(settle, item, lease, desk.clock.now, desk.root)):
        begun(desk, item, lease, subject=f"#{len(deploys(desk, item)) + 1}")
        kept_out = desk.item(Stage.DEPLOY)
        desk.store.write(queue.take, kept_out, desk.clock.now)
        ends()
        woken = [letter for letter in desk.letters if letter.payload.get("work_item") == kept_out.key]
        assert len(woken) == 1
        desk.store.write(queue.leave, kept_out, desk.clock.now)


async def test_no_deploy_begins_beside_one_that_began_a_moment_before(desk: Desk) -> None:
    (first, lease), (second, seconds_lease) = landed(desk), landed(desk)
    begun(desk, first, lease)
    with pytest.raises(Unavailable, match="is under way; nothing lands before it has ended"):
        await production.begin.fn(second.key, seconds_lease, LOCK)
    assert deploys(desk, second) == []


async def test_what_was_not_begun_is_not_carried_out(desk: Desk) -> None:
    item, lease = landed(desk)
    with pytest.raises(CouldNotRun, match=f"No deploy of {item.key} has been begun"):
        await production.carry_out.fn(item.key, lease)
    assert item.key not in [one.work_item for one in desk.sandbox.stand("production").deploys]


# --- the window


async def watched(desk: Desk) -> tuple[WorkItem, str]:
    """An item in its window, and the later commit that production runs by now."""
    item, lease, newer = await overtaken(desk)
    await production.settle.fn(item.key, lease, desk.clock.now)
    return item, newer


async def look(desk: Desk, item: WorkItem) -> Watched:
    return (await production.watch.fn(item.key, over=False))[0]


async def test_a_neighbours_later_commit_is_healthy_for_the_change_that_it_contains(desk: Desk) -> None:
    item, _newer = await watched(desk)
    assert await look(desk, item) is Watched.WATCHING


async def test_a_gitea_that_is_away_degrades_nothing_it_is_asked_again_whose_commit_serves(desk: Desk) -> None:
    item, _newer = await watched(desk)
    gitea_is_away(desk)
    with pytest.raises(Unavailable):
        await look(desk, item)
    desk.sandbox.clear_faults()
    assert await look(desk, item) is Watched.WATCHING


async def test_gitea_is_not_asked_about_a_commit_that_the_mirror_has(desk: Desk) -> None:
    item, newer = await watched(desk)
    assert desk.root.workspace(desk.project).fetch() == newer
    gitea_is_away(desk)
    assert await look(desk, item) is Watched.WATCHING


async def test_what_serves_and_is_no_commit_of_the_repository_does_not_contain_the_change(desk: Desk) -> None:
    item, lease = landed(desk)
    await production.settle.fn(item.key, lease, desk.clock.now)
    assert await look(desk, item) is Watched.DEGRADED


# --- the ratchet


def measure(desk: Desk, item: WorkItem, percent: float, commit: str = A) -> None:
    run = CoverageRun(commit, percent, "told by coverage.xml", 1.0, Path("coverage.log"))
    desk.store.write(stands.coverage_measured, item.id, run, desk.clock.now)


async def test_the_baseline_is_raised_to_what_has_landed_once(desk: Desk) -> None:
    item, lease = landed(desk)
    measure(desk, item, 71.5)
    for _ in range(2):
        await production.ratchet.fn(item.key, lease)
    assert desk.store.read(stands.baseline, "SHOP") == Baseline(71.5, A)
    [effect] = desk.store.read(journal.of_item, item.id)
    assert (effect.name, effect.open, effect.outcome) == ("ratchet", False, "raised")


async def test_a_landing_whose_coverage_is_lower_leaves_the_baseline(desk: Desk) -> None:
    desk.store.write(stands.ratchet, "SHOP", 90.0, B, desk.clock.now)
    item, lease = landed(desk)
    measure(desk, item, 71.5)
    await production.ratchet.fn(item.key, lease)
    assert desk.store.read(stands.baseline, "SHOP") == Baseline(90.0, B)


async def test_only_the_coverage_of_the_landed_commit_counts(desk: Desk) -> None:
    item, lease = landed(desk)
    measure(desk, item, 99.0, commit=B)
    await production.ratchet.fn(item.key, lease)
    assert desk.store.read(stands.baseline, "SHOP") is None


# --- what keeps production from being rolled back


async def rolled_back(desk: Desk, item: WorkItem, lease: Lease) -> str:
    """What rolling back says; production itself was left alone."""
    said = await production.roll_back.fn(item.key, lease)
    assert item.key not in [one.work_item for one in desk.sandbox.stand("production").deploys]
    assert production.ROLLBACK not in [e.name for e in desk.store.read(journal.of_item, item.id)]
    return said


async def test_somebody_elses_revision_is_not_rolled_back(desk: Desk) -> None:
    item, lease = landed(desk)
    begun(desk, item, lease)
    runs = desk.sandbox.stand("production").revision
    said = f"Production runs {runs[:12]} by now, which is not this change; it was left as it is."
    assert await rolled_back(desk, item, lease) == said


async def test_what_served_before_must_be_known(desk: Desk) -> None:
    item, lease = landed(desk)
    begun(desk, item, lease, previous=None)
    assert await rolled_back(desk, item, lease) == "Nobody knows what served before; production was left as it is."


async def test_a_row_of_unhealthy_looks_that_began_within_the_window_may_roll_back_after_its_end(desk: Desk) -> None:
    item, lease = landed(desk)
    begun(desk, item, lease)
    await production.settle.fn(item.key, lease, desk.clock.now + timedelta(seconds=5))
    desk.clock.forward(5 + desk.project.monitor_failures * desk.project.monitor_interval_s)
    assert "which is not this change" in await rolled_back(desk, item, lease)


async def test_nothing_is_rolled_back_after_the_window(desk: Desk) -> None:
    item, lease = landed(desk)
    begun(desk, item, lease)
    await production.settle.fn(item.key, lease, desk.clock.now + timedelta(seconds=5))
    row_s = desk.project.monitor_failures * (desk.project.monitor_interval_s + desk.project.probe_timeout_s)
    desk.clock.forward(5 + row_s + production.LATE_S + 1)
    assert await rolled_back(desk, item, lease) == "The window is over; production was left as it is."


def killed_in_its_rollback(desk: Desk, previous: str | None = None) -> tuple[WorkItem, Lease]:
    """A landed item whose run died when it had begun to bring `previous` back, by default what serves now."""
    item, lease = landed(desk)
    previous = previous or desk.sandbox.stand("production").revision
    begun(desk, item, lease, previous=previous)
    said = {"subject": A, "now": desk.clock.now, "previous": previous}
    desk.store.write(lambda session: journal.start(session, item, production.ROLLBACK, lease, **said))
    return item, lease


def rollbacks(desk: Desk, item: WorkItem) -> list[tuple[bool, str]]:
    effects = desk.store.read(journal.of_item, item.id)
    return [(e.open, e.outcome) for e in effects if e.name == production.ROLLBACK]


async def test_a_rollback_whose_run_died_after_it_is_found_done_and_ends(desk: Desk) -> None:
    item, lease = killed_in_its_rollback(desk)
    hooks = len(desk.sandbox.stand("production").deploys)
    said = f"Production was rolled back to {desk.sandbox.stand('production').revision[:12]}."
    assert await production.roll_back.fn(item.key, lease) == said
    assert rollbacks(desk, item) == [(False, said)]
    assert len(desk.sandbox.stand("production").deploys) == hooks


async def test_a_rollback_whose_run_died_goes_on_where_production_is_not_what_it_was_before(desk: Desk) -> None:
    item, lease = killed_in_its_rollback(desk)
    served = desk.sandbox.stand("production").revision
    desk.sandbox.break_stand("production", "unhealthy", 2)
    said = f"Production was rolled back to {served[:12]}."
    assert await production.roll_back.fn(item.key, lease) == said
    assert rollbacks(desk, item) == [(False, said)]


async def test_a_rollback_whose_run_died_ends_where_somebody_else_has_deployed_since(desk: Desk) -> None:
    item, lease = killed_in_its_rollback(desk, previous=B)
    said = await production.roll_back.fn(item.key, lease)
    assert "which is not this change" in said
    assert rollbacks(desk, item) == [(False, said)]


async def test_no_rollback_is_open_once_a_person_is_called(desk: Desk) -> None:
    item, _lease = killed_in_its_rollback(desk)
    fails(desk, item)
    assert rollbacks(desk, item) == [(False, "nobody saw how it ended: it did not come up")]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"self_hosting": True},
            "The self-hosting project is not rolled back from here: its detached hook does that.",
        ),
        ({"rollback_hook": []}, "No rollback hook is configured; production was left as it is."),
    ],
    ids=["self-hosting", "no hook"],
)
async def test_some_projects_are_never_rolled_back(
    sandbox: SandboxClient, tmp_path: Path, at_work: Callable[[Desk], None], changes: dict[str, object], said: str
) -> None:
    project = {**stand_settings(sandbox.url), **changes}
    async with open_desk(sandbox, tmp_path, project=project) as desk:
        at_work(desk)
        item, lease = landed(desk)
        begun(desk, item, lease)
        assert await rolled_back(desk, item, lease) == said
