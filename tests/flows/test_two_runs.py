"""Two runs of one stage: a wake-up that comes twice takes nothing from a run that waits, and starts no second chain."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prefect.client.schemas.objects import StateType

from pipeline.model import Choice, Stand, Wait, WaitKind
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import outbox, stands, waits
from tests.support.machine.actors import Actor
from tests.support.machine.promises import Promises
from tests.support.machine.runs import MadeUpRun
from tests.support.machine.world import World

KEY = "SHOP-1"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with World(tmp_path, 1, monitor_window_s=600, monitor_interval_s=60) as world:
        world.chance.calm = True
        promises = Promises(world)
        yield world
        assert promises.look() == []


def goes(world: World, actor: Actor, *, until: str = "the end") -> Actor:
    """The process goes on to its end, or until it is about to do this."""
    while not actor.over and actor.where != until:
        world.step(actor)
    return actor


def all_go(world: World) -> None:
    """Whatever is scheduled runs, one after the other, until nothing is left to begin."""
    while due := world.prefect.scheduled():
        goes(world, world.take(due[0]))


def comes(world: World, stage: Stage) -> MadeUpRun:
    """One more run of the stage, as an event that fired twice or a person starts it."""
    world.start(stage, KEY)
    return world.prefect.scheduled()[-1]


def wait(world: World) -> Wait:
    found = world.read(waits.open_wait, world.item(KEY).id)
    assert isinstance(found, Wait)
    return found


def ticks(world: World, times: int) -> None:
    for _ in range(times):
        world.pass_time(31)
        goes(world, world.tick())
        all_go(world)


@pytest.fixture
def asked(world: World) -> Wait:
    """A person is asked to confirm a deploy, in a run that is suspended."""
    world.begin_at(KEY, Stage.DEPLOY)
    comes(world, Stage.DEPLOY)
    all_go(world)
    return wait(world)


def test_a_second_run_leaves_the_question_to_the_run_that_has_asked_it(world: World, asked: Wait) -> None:
    second = comes(world, Stage.DEPLOY)
    all_go(world)
    ticks(world, 3)
    assert (wait(world).key, wait(world).deadline) == (asked.key, asked.deadline)
    assert [run.id for run in world.prefect.suspended(KEY)] == [asked.flow_run_id]
    assert second.state is StateType.COMPLETED


def test_a_form_that_is_filled_in_while_a_second_run_comes_counts(world: World, asked: Wait) -> None:
    comes(world, Stage.DEPLOY)
    waiting = world.prefect.runs[asked.flow_run_id or ""]
    waiting.forms[asked.key] = {"decision": "confirm"}
    all_go(world)
    world.resume(waiting)
    all_go(world)
    assert [decision.choice for decision in world.read(waits.decisions, world.item(KEY).id)] == [Choice.CONFIRM]


def test_a_run_that_comes_by_hand_takes_over_from_one_that_is_gone_with_what_its_form_says(
    world: World, asked: Wait
) -> None:
    gone = world.prefect.runs[asked.flow_run_id or ""]
    gone.forms[asked.key] = {"decision": "confirm"}
    world.prefect.put(gone, StateType.CRASHED)
    comes(world, Stage.DEPLOY)
    all_go(world)
    assert world.item(KEY).confirmed == world.item(KEY).validated


def test_a_run_that_dies_between_suspending_and_giving_its_item_back_goes_on_waiting(world: World) -> None:
    world.begin_at(KEY, Stage.DEPLOY)
    actor = goes(world, world.take(comes(world, Stage.DEPLOY)), until="prefect: suspended, without its form")
    world.prefect.runs[actor.run_id].resumable = True
    world.kill(actor)
    asked = wait(world)
    ticks(world, 5)
    assert (wait(world).key, [run.id for run in world.prefect.suspended(KEY)]) == (asked.key, [actor.run_id])


def test_an_orphan_that_is_resumed_ends_and_the_question_stays_where_it_is(world: World, asked: Wait) -> None:
    world.write(waits.close, world.item(KEY).id, "its run cannot go on", world.root.now())
    comes(world, Stage.DEPLOY)
    all_go(world)
    again = wait(world)
    ticks(world, 5)
    assert again.key != asked.key
    assert wait(world).key == again.key
    assert world.prefect.runs[asked.flow_run_id or ""].state is StateType.COMPLETED


@pytest.fixture
def watched(world: World, asked: Wait) -> Wait:
    """The deploy was confirmed, and production has been looked at for the first time."""
    waiting = world.prefect.runs[asked.flow_run_id or ""]
    waiting.forms[asked.key] = {"decision": "confirm"}
    world.resume(waiting)
    all_go(world)
    return wait(world)


def looks(world: World) -> int:
    item = world.item(KEY)
    since = (item.monitor_until or world.root.now()) - timedelta(seconds=600)
    return len(world.read(stands.probes, item.id, Stand.PRODUCTION, str(item.deployed), since=since))


def test_a_run_that_comes_before_the_next_look_is_due_neither_looks_nor_schedules_another(
    world: World, watched: Wait
) -> None:
    comes(world, Stage.DEPLOY)
    comes(world, Stage.DEPLOY)
    all_go(world)
    assert (looks(world), wait(world).look_again_at) == (1, watched.look_again_at)
    assert [run.due for run in world.prefect.runs.values() if run.state is StateType.SCHEDULED] == [
        watched.look_again_at
    ]


def test_a_tick_does_not_put_off_a_look_whose_run_is_on_its_way(world: World, watched: Wait) -> None:
    world.pass_time(61)
    goes(world, world.tick())
    all_go(world)
    assert looks(world) == 2


def test_what_ci_says_is_followed_by_one_run_of_the_stage(world: World) -> None:
    world.begin_at(KEY, Stage.DEVELOPMENT)
    world.write(waits.begin, world.item(KEY), WaitKind.CI, key="ci", sentence="CI", now=world.root.now())
    world.pass_time(3600)
    world.hear(KEY, Signal.CI_FINISHED)
    world.post(times=1)
    all_go(world)
    goes(world, world.tick())
    world.pass_time(1)
    world.post(times=1)
    assert [run.flow for run in world.prefect.runs.values()] == ["wake", "development"]


def test_a_stage_whose_announcement_led_to_nothing_is_started_by_the_tick(world: World) -> None:
    world.begin_at(KEY, Stage.DEVELOPMENT)
    world.pass_time(3600)
    world.write(outbox.enter, KEY, Stage.DEVELOPMENT, world.root.now())
    world.pass_time(1)
    world.post(times=0)
    world.pass_time(30)
    goes(world, world.tick())
    assert [run.flow for run in world.prefect.runs.values()] == ["development"]
