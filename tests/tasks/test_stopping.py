"""STOP: what an item left outside goes, its artifacts stay, and only then it is cancelled."""

import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun

from deployments.sandbox.client import SandboxClient
from flows import reconcile
from flows import stop as stop_flow
from pipeline.clients.process_identity import identity
from pipeline.errors import Unavailable
from pipeline.model import Hold, ProcessIdentity, WorkItem
from pipeline.projects import Registry
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import due, inbox, items, journal, leases, outbox, reactions
from pipeline.store.leases import Lease
from tasks import landing, leftovers, prefect_api, production, reverting, stopping
from tasks.due_items import stop_due
from tasks.healing import is_over
from tests.support.services import Desk

BRD = "# What\n\nÜmlaut.\n"


@pytest.fixture(scope="module")
def sandbox(sandbox: SandboxClient) -> SandboxClient:
    sandbox.ci("off")
    return sandbox


@pytest.fixture
def desk(desk: Desk, at_work: Callable[[Desk], None]) -> Desk:
    at_work(desk)
    return desk


def asked_to_stop(desk: Desk, stage: Stage = Stage.DEVELOPMENT, **columns: object) -> WorkItem:
    """An item that a person has stopped."""
    item = desk.item(stage, **columns)
    desk.store.write(reactions.request_stop, item, desk.clock.now)
    return desk.again(item)


def pushed(desk: Desk, item: WorkItem) -> int:
    """Have the item's branch, with an artifact, and its pull request on the forge; the pull request's number."""
    files = {f"{item.artifacts}/01-brd.md": BRD, f"{item.key}.txt": "code"}
    desk.sandbox.commit(item.branch, files, "Write it", who="api")
    with desk.sandbox.gitea_api() as gitea:
        wanted = {"title": item.key, "head": item.branch, "base": "main"}
        return int(gitea.post("/repos/acme/shop/pulls", json=wanted).raise_for_status().json()["number"])


async def taken(desk: Desk, item: WorkItem) -> Lease:
    lease = await stopping.take_over(desk.root, item)
    assert isinstance(lease, Lease)
    return lease


async def stopped(desk: Desk, item: WorkItem) -> list[str]:
    """What the flow does after the processes have ended; what was left."""
    lease = await taken(desk, item)
    left = await leftovers.clean_up.fn(item.key, lease)
    await stopping.cancel_item(desk.root, item, lease, left)
    return left


def archived(desk: Desk, item: WorkItem) -> Path:
    return desk.settings.runs_folder / item.key / f"archive-{item.id}" / item.artifacts / "01-brd.md"


def pull(desk: Desk, number: int) -> dict[str, object]:
    with desk.sandbox.gitea_api() as gitea:
        answer: dict[str, object] = gitea.get(f"/repos/acme/shop/pulls/{number}").raise_for_status().json()
        return answer


async def test_branch_and_pull_request_go_and_the_artifacts_stay_in_the_archive(desk: Desk) -> None:
    item = asked_to_stop(desk)
    number = pushed(desk, item)
    assert await stopped(desk, item) == []
    assert item.branch not in desk.sandbox.repository().branches
    assert (pull(desk, number)["state"], pull(desk, number)["merged"]) == ("closed", False)
    assert archived(desk, item).read_text() == BRD
    assert desk.again(item).stage is Stage.CANCELLED


async def test_what_an_agent_had_not_committed_is_archived_and_its_worktree_removed(desk: Desk) -> None:
    item = asked_to_stop(desk)
    workspace = desk.root.workspace(desk.project)
    workspace.fetch()
    worktree = workspace.worktree(item.key, item.branch)
    half = worktree / item.artifacts / "01-brd.md"
    half.parent.mkdir(parents=True)
    half.write_text("# Half")
    await stopped(desk, item)
    assert archived(desk, item).read_text() == "# Half"
    assert not worktree.exists()
    assert workspace.worktrees() == ()


async def test_what_was_archived_first_stays_when_the_forge_does_not_answer_for_a_while(desk: Desk) -> None:
    item = asked_to_stop(desk)
    pushed(desk, item)
    workspace = desk.root.workspace(desk.project)
    workspace.fetch()
    newer = workspace.worktree(item.key, item.branch) / item.artifacts / "01-brd.md"
    newer.write_text("# Newer")
    lease = await taken(desk, item)
    desk.sandbox.fail_next("gitea", 1000, status=500, match="/branches/")
    with pytest.raises(Unavailable):
        await leftovers.clean_up.fn(item.key, lease)
    desk.sandbox.clear_faults()
    assert await leftovers.clean_up.fn(item.key, lease) == []
    assert archived(desk, item).read_text() == "# Newer"


async def test_an_item_that_never_pushed_anything_is_stopped_too(desk: Desk) -> None:
    item = asked_to_stop(desk, Stage.ANALYSIS)
    assert await stopped(desk, item) == []
    assert not archived(desk, item).exists()
    assert desk.again(item).stage is Stage.CANCELLED


async def test_removing_the_branch_is_in_the_journal_with_the_commit_it_stood_at(desk: Desk) -> None:
    item = asked_to_stop(desk)
    pushed(desk, item)
    tip = desk.sandbox.repository().branches[item.branch]
    await stopped(desk, item)
    [effect] = desk.store.read(journal.of_item, item.id)
    assert (effect.name, effect.open, effect.details["tip"]) == (journal.REMOVE_BRANCH, False, tip)


async def test_a_fresh_start_gets_a_fresh_branch_under_the_same_keys(desk: Desk) -> None:
    card = desk.card()
    item = desk.item(Stage.DEVELOPMENT, card)
    desk.store.write(reactions.request_stop, item, desk.clock.now)
    pushed(desk, item)
    await stopped(desk, desk.again(item))
    fresh = desk.item(card=card)
    assert (fresh.id != item.id, fresh.branch, fresh.stage) == (True, item.branch, Stage.ANALYSIS)
    workspace = desk.root.workspace(desk.project)
    main = workspace.fetch()
    workspace.worktree(fresh.key, fresh.branch)
    assert workspace.tip(fresh.key) == main


async def test_a_start_that_was_asked_for_meanwhile_is_announced_at_the_end(desk: Desk) -> None:
    item = asked_to_stop(desk)
    wish = desk.store.write(
        inbox.signal, delivery_id=None, project="SHOP", item_key=item.key, signal=Signal.START_REQUESTED, actor="ada",
        payload={}, now=desk.clock.now,
    )  # fmt: skip
    assert desk.store.write(reactions.apply, wish, desk.clock.now, desk.root.texts) is None
    await stopped(desk, item)
    events = [row.payload["event"] for row in desk.letters if row.kind == outbox.Kind.EVENT]
    assert events == [Signal.STOP_REQUESTED.event, Signal.START_REQUESTED.event]


@pytest.mark.parametrize("signal", [s for s in Signal if s not in (Signal.STOP_REQUESTED, Signal.START_REQUESTED)])
async def test_an_item_that_is_stopped_or_cancelled_ignores_everything_but_a_start(desk: Desk, signal: Signal) -> None:
    item = asked_to_stop(desk, Stage.REVIEW)

    def said() -> str | None:
        stored = desk.store.write(
            inbox.signal, delivery_id=None, project="SHOP", item_key=item.key, signal=signal, actor="eve",
            payload={}, now=desk.clock.now,
        )  # fmt: skip
        return desk.store.write(reactions.apply, stored, desk.clock.now, desk.root.texts)

    assert said() == f"ignored: {item.key} is being stopped."
    assert desk.again(item) == item
    await stopped(desk, item)
    assert said() == "ignored: There is no such work item."
    assert desk.again(item).stage is Stage.CANCELLED


# --- what goes wrong


async def test_a_forge_that_is_away_leaves_the_item_for_the_next_try(desk: Desk) -> None:
    item = asked_to_stop(desk)
    pushed(desk, item)
    lease = await taken(desk, item)
    desk.sandbox.fail_next("gitea", 1000, status=500, match="/branches/")
    with pytest.raises(Unavailable):
        await leftovers.clean_up.fn(item.key, lease)
    assert desk.again(item).stage is Stage.DEVELOPMENT
    desk.sandbox.clear_faults()
    await stopping.give_back(desk.root, item, lease)
    assert await stopped(desk, item) == []
    assert item.branch not in desk.sandbox.repository().branches


async def test_a_proxy_that_turns_git_away_leaves_the_item_for_the_next_try(desk: Desk) -> None:
    item = asked_to_stop(desk)
    pushed(desk, item)
    lease = await taken(desk, item)
    desk.sandbox.fail_next("gitea", 1000, status=404, match="info/refs")
    with pytest.raises(Unavailable, match="git was turned away"):
        await leftovers.clean_up.fn(item.key, lease)
    desk.sandbox.clear_faults()
    assert await leftovers.clean_up.fn(item.key, lease) == []


async def test_a_repository_that_is_gone_for_good_keeps_no_item_from_being_stopped(desk: Desk) -> None:
    item = asked_to_stop(desk)
    lease = await taken(desk, item)
    desk.sandbox.fail_next("gitea", 1000, status=404, match="info/refs")
    desk.sandbox.fail_next("gitea", 1000, status=404, match="/api/v1/repos/acme/shop")
    [left] = await leftovers.clean_up.fn(item.key, lease)
    assert "Gitea refused GET repos/acme/shop: 404" in left


async def test_a_branch_that_is_no_task_branch_is_never_removed(desk: Desk) -> None:
    item = asked_to_stop(desk)
    item = desk.store.write(items.update, item, None, desk.clock.now, branch="main")
    left = await stopped(desk, item)
    assert left == ["main is not the name of a task branch; remove it by hand."]
    assert "main" in desk.sandbox.repository().branches
    assert desk.again(item).stage is Stage.CANCELLED


async def test_what_was_left_is_said_on_the_card(desk: Desk) -> None:
    item = asked_to_stop(desk)
    desk.store.write(items.update, item, None, desk.clock.now, branch="main")
    await stopped(desk, item)
    told = [row.payload["html"] for row in desk.letters if row.kind == outbox.Kind.COMMENT]
    assert any("left as it is: main is not the name of a task branch" in html for html in told)


async def test_an_item_whose_project_was_taken_out_of_the_registry_can_be_stopped(desk: Desk) -> None:
    item = asked_to_stop(desk)
    object.__setattr__(desk.root, "projects", Registry())
    [left] = await stopped(desk, item)
    assert "not in the registry any more" in left
    assert desk.again(item).stage is Stage.CANCELLED


# --- landings


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives, as that of a run."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


def owned(desk: Desk, item: WorkItem, process: ProcessIdentity, stage: Stage = Stage.DEPLOY) -> Lease:
    lease = desk.store.write(
        leases.claim, item.id, flow_run_id="run-1", stage=stage, token="t", process=process, now=desk.clock.now,
        ttl=30, alive=desk.root.alive,
    )  # fmt: skip
    assert isinstance(lease, Lease)
    return lease


def told(desk: Desk) -> list[str]:
    return [row.payload["html"] for row in desk.letters if row.kind == outbox.Kind.COMMENT]


@pytest.fixture
def flowing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The flow on the desk's services; a call to Prefect's server fails there, for none is running."""

    async def services() -> object:
        return desk.root

    monkeypatch.setattr(stop_flow, "services", services)
    return desk


async def test_a_landed_items_living_run_keeps_its_process_and_its_lease_and_the_stop_is_lifted(
    flowing: Desk, worker: subprocess.Popen[bytes]
) -> None:
    item = flowing.item(Stage.DEPLOY, landed="a" * 40)
    lease = owned(flowing, item, identity(worker.pid))
    flowing.store.write(reactions.request_stop, item, flowing.clock.now)
    state = await stop_flow.stop.fn(item.key)
    said = f"{item.key} has landed already, so it cannot be stopped any more; it goes on to done."
    assert (state.name, state.message) == ("Not stopped", said)
    assert flowing.again(item).cancel_requested_at is None
    assert worker.poll() is None
    assert flowing.store.write(leases.renew, lease, now=flowing.clock.now, ttl=30)
    assert any(said in html for html in told(flowing))


async def test_a_deploy_that_is_under_way_after_the_landing_is_named_and_goes_on(
    flowing: Desk, worker: subprocess.Popen[bytes]
) -> None:
    item = flowing.item(Stage.DEPLOY, landed="a" * 40)
    lease = owned(flowing, item, identity(worker.pid))
    flowing.store.write(journal.start, item, production.DEPLOY, lease, subject="a" * 40, now=flowing.clock.now)
    flowing.store.write(reactions.request_stop, item, flowing.clock.now)
    state = await stop_flow.stop.fn(item.key)
    assert str(state.message).endswith("what it has begun (deploy), so it cannot be stopped; it goes on with that.")
    assert (worker.poll(), flowing.again(item).cancel_requested_at) == (None, None)


async def test_a_held_item_whose_deploy_has_not_ended_is_not_said_to_go_on(flowing: Desk) -> None:
    item = flowing.item(Stage.DEPLOY, landed="a" * 40)
    lease = owned(flowing, item, me())
    flowing.store.write(journal.start, item, production.DEPLOY, lease, subject="a" * 40, now=flowing.clock.now)
    flowing.store.write(leases.release, item.id, lease.token)
    flowing.store.write(reactions.hold, item, Hold.BLOCKED, "it hangs", flowing.clock.now, flowing.root.texts)
    flowing.store.write(reactions.request_stop, item, flowing.clock.now)
    state = await stop_flow.stop.fn(item.key)
    assert str(state.message).endswith(f"it stays held until `orch retry {item.key}` sees that through.")


async def test_a_landing_that_is_being_reverted_is_waited_for(flowing: Desk) -> None:
    item = flowing.item(Stage.DEPLOY, landed="a" * 40)
    lease = owned(flowing, item, me())
    flowing.store.write(journal.start, item, reverting.REVERT, lease, subject="b" * 40, now=flowing.clock.now)
    flowing.store.write(reactions.request_stop, item, flowing.clock.now)
    assert (await stop_flow.stop.fn(item.key)).name == "Waiting for the landing"
    assert flowing.again(item).cancel_requested_at is not None


async def test_every_stop_of_a_landed_item_is_answered(flowing: Desk) -> None:
    item = flowing.item(Stage.DEPLOY, landed="a" * 40)
    for _ in range(2):
        flowing.clock.forward(60)
        flowing.store.write(reactions.request_stop, flowing.again(item), flowing.clock.now)
        await stop_flow.stop.fn(item.key)
    assert len(told(flowing)) == 2


async def test_an_item_that_is_found_landed_after_its_run_was_ended_is_freed_of_that_run(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY, landed="a" * 40)
    owned(desk, item, me())
    desk.store.write(reactions.request_stop, item, desk.clock.now)
    assert "has landed already" in str(await stopping.take_over(desk.root, desk.again(item)))
    assert desk.store.read(leases.owner, item.id) is None
    assert desk.again(item).cancel_requested_at is None


async def test_a_landed_item_that_another_stop_still_holds_ends_this_one_as_overtaken(flowing: Desk) -> None:
    item = flowing.item(Stage.DEPLOY, landed="a" * 40)
    owned(flowing, item, ProcessIdentity("elsewhere", "boot", 1, 1.0), Stage.CANCELLED)
    flowing.store.write(reactions.request_stop, item, flowing.clock.now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping, "stopped_elsewhere", lambda *_: False)  # it has claimed the item since
        assert (await stop_flow.stop.fn(item.key)).name == "Overtaken"
    assert flowing.again(item).cancel_requested_at is not None


async def test_a_landed_item_whose_stop_died_is_hidden_by_no_lease_once_the_stop_is_lifted(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY, landed="a" * 40)
    owned(desk, item, ProcessIdentity("elsewhere", "boot", 1, 1.0), Stage.CANCELLED)
    desk.store.write(reactions.request_stop, item, desk.clock.now)
    desk.clock.forward(3600)
    assert await stopping.kept_from_stopping(desk.root, desk.again(item)) is not None
    assert desk.store.read(leases.owners) == []
    [due_again] = desk.store.read(due.abandoned, desk.clock.now, dict.fromkeys(Stage, timedelta(0)), limit=9)
    assert due_again.item.key == item.key


def test_what_a_stop_that_died_owns_is_buried_when_nobody_asks_for_the_stop_any_more(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY, landed="a" * 40)
    owned(desk, item, ProcessIdentity("elsewhere", "boot", 1, 1.0), Stage.CANCELLED)
    [owner] = desk.store.read(leases.owners)
    assert not is_over(desk.root, item, owner)
    desk.clock.forward(3600)
    assert is_over(desk.root, item, owner)
    desk.store.write(reactions.request_stop, item, desk.clock.now)
    assert not is_over(desk.root, desk.again(item), owner)


def test_people_are_told_once_of_a_stop_that_does_not_come_to_its_end(desk: Desk) -> None:
    item = asked_to_stop(desk)
    assert desk.store.write(reconcile._remind, desk.root) == []
    desk.clock.forward(3700)
    assert [desk.store.write(reconcile._remind, desk.root) for _ in range(2)] == [[item.key], []]
    [said] = [row.payload["html"] for row in desk.letters if row.kind == outbox.Kind.MESSAGE]
    assert "Asked to stop since" in said


async def test_an_item_that_is_blocked_after_its_landing_can_be_given_up(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY, landed="a" * 40)
    desk.store.write(reactions.hold, item, Hold.BLOCKED, "it is degraded", desk.clock.now, desk.root.texts)
    desk.store.write(reactions.request_stop, item, desk.clock.now)
    assert await stopped(desk, desk.again(item)) == ["Its change has landed and stays on main."]
    assert desk.again(item).stage is Stage.CANCELLED


async def test_a_landing_that_is_under_way_is_looked_at_once_a_run_and_that_is_said_once(flowing: Desk) -> None:
    tip = flowing.sandbox.commit("feature/y", {"y": "y"}, "Write y", who="api")
    item = flowing.item(Stage.DEPLOY, validated=tip)
    lease = owned(flowing, item, me())
    effect, _ = flowing.store.write(journal.start, item, landing.LAND, lease, subject=tip, now=flowing.clock.now)
    flowing.store.write(reactions.request_stop, item, flowing.clock.now)
    names = [(await stop_flow.stop.fn(item.key)).name for _ in range(2)]
    assert names == ["Waiting for the landing"] * 2
    [said] = told(flowing)
    assert "is stopped as soon as what cannot be undone has ended: land" in said
    flowing.store.write(journal.finish, effect, "it moved on", flowing.clock.now)
    assert await stopping.kept_from_stopping(flowing.root, flowing.again(item)) is None


async def test_a_landing_that_its_dead_run_never_made_is_over_with_the_stop(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY, validated=desk.sandbox.commit("feature/x", {"x": "x"}, "Write x", who="api"))
    lease = desk.store.write(
        leases.claim, item.id, flow_run_id="run-1", stage=item.stage, token="t", process=me(), now=desk.clock.now,
        ttl=30, alive=desk.root.alive,
    )  # fmt: skip
    assert isinstance(lease, Lease)
    desk.store.write(journal.start, item, landing.LAND, lease, subject=str(item.validated), now=desk.clock.now)
    desk.store.write(reactions.request_stop, item, desk.clock.now)
    await stopped(desk, desk.again(item))
    assert desk.again(item).stage is Stage.CANCELLED
    assert [e.name for e in desk.store.read(journal.of_item, item.id) if e.open] == []


# --- one at a time


async def test_a_stop_that_cannot_be_started_does_not_keep_the_others_from_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = asked_to_stop(desk), asked_to_stop(desk)

    async def start(flow: str, parameters: dict[str, str]) -> None:
        if parameters["work_item"] == first.key:
            raise RuntimeError(f"Prefect has no {flow}")

    async def begun_runs_of(_flow: str) -> tuple[list[FlowRun], bool]:
        return [], False

    monkeypatch.setattr(prefect_api, "start", start)
    monkeypatch.setattr(prefect_api, "begun_runs_of", begun_runs_of)
    did = await stop_due(desk.root)
    assert "Prefect has no stop" in did[0]
    assert did[1] == f"{second.key}: stop started"


async def test_a_second_stop_does_not_take_a_living_one_over(desk: Desk) -> None:
    item = asked_to_stop(desk)
    await taken(desk, item)
    assert desk.store.read(stopping.stopped_elsewhere, item, desk.root)
    assert "still has" in str(await stopping.take_over(desk.root, item))


async def test_a_stage_run_on_this_host_is_taken_over_at_once(desk: Desk) -> None:
    item = asked_to_stop(desk)
    desk.store.write(
        leases.claim, item.id, flow_run_id="run-1", stage=item.stage, token="t", process=me(), now=desk.clock.now,
        ttl=30, alive=desk.root.alive,
    )  # fmt: skip
    stolen_from = (await taken(desk, item)).stolen_from
    assert stolen_from is not None
    assert stolen_from.flow_run_id == "run-1"


def me() -> ProcessIdentity:
    return identity(os.getpid())
