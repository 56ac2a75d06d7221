"""Behind another item's open deploy an item waits for its merge turn so often, and then a person is called."""

from pathlib import Path

from pipeline.model import Choice, Decision, Hold, ProcessIdentity, WaitKind
from pipeline.stages import Stage
from pipeline.store import journal, leases, queue, waits
from tests.support.machine.promises import Promises
from tests.support.machine.world import ELSEWHERE, World

KEY, OTHER = "SHOP-1", "SHOP-2"


def deploying(world: World, key: str) -> None:
    """The item's deploy is begun, by a run on a host that has not been heard of since."""
    world.begin_at(key, Stage.DEPLOY)
    item, now = world.item(key), world.root.now()
    lease = world.write(
        leases.claim, item.id, flow_run_id="elsewhere", stage=item.stage, token="token", now=now, ttl=1e6,
        process=ProcessIdentity(ELSEWHERE, "boot", 1, 1.0), alive=lambda _: True,
    )  # fmt: skip
    world.write(journal.start, item, journal.DEPLOY, lease, subject="c9", now=now, commit="c9")


def test_an_item_that_waits_too_often_for_a_deploy_to_end_is_escalated(tmp_path: Path) -> None:
    with World(tmp_path, 1) as world:
        promises = Promises(world)
        deploying(world, OTHER)
        world.begin_at(KEY, Stage.DEPLOY)
        item, now = world.item(KEY), world.root.now()
        confirmed = Decision(WaitKind.CONFIRMATION, Choice.CONFIRM, str(item.validated), "ada", "", now)
        world.write(waits.decide, item, confirmed)
        world.write(queue.take, item, now)
        for _ in range(world.root.settings.merge_defer_max - 1):
            world.write(queue.defer, item)
        for _ in range(2):
            world.start(Stage.DEPLOY, KEY)
            [run] = world.prefect.scheduled()
            actor = world.take(run)
            while not actor.over:
                world.step(actor)
        assert (world.item(KEY).hold, promises.look()) == (Hold.ESCALATED, [])
