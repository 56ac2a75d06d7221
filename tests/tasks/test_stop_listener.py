"""A run ends itself and its agents when its item is stopped, with no flow `stop` and no Prefect to tell it."""

import multiprocessing
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from pipeline.clients.process_identity import identity, kill_group
from pipeline.model import ProcessIdentity, WorkItem
from pipeline.settings import Settings
from pipeline.stages import Role, Stage
from pipeline.store import evidence, items, journal, leases, reactions
from pipeline.store.engine import Store
from tasks import landing, ownership, stop_listener
from tests.support.services import Desk, services_of, until

SPAWN = multiprocessing.get_context("spawn")
FAR = 60
"""Seconds that nothing here lasts: only a signal ends it before."""
AGENT = f"trap 'echo TERM > asked; exit' TERM; sleep {FAR} & wait"


def works(settings: Settings, key: str, *, begins: str = "", landed: str | None = None) -> None:
    """What a run of the development stage is: it owns the item, an agent works for it, and it listens."""
    root = services_of(settings, Store(settings.store_url))
    claimed = ownership.claim(root, key, Stage.DEVELOPMENT, "run-1")
    assert isinstance(claimed, ownership.Claimed), claimed
    item, now = claimed.item, root.now()
    if landed:
        root.store.write(items.update, item, claimed.lease.token, now, landed=landed)
    run = root.store.write(
        evidence.agent_started, item, Role.DEVELOPER, model="m", effort="high", log=Path("agent.log"),
        start_commit="a" * 40, run="run-1", now=now,
    )  # fmt: skip
    with (
        stop_listener.listening(root, claimed),
        subprocess.Popen(["sh", "-c", AGENT], cwd=settings.state_dir, start_new_session=True) as agent,
    ):
        if begins:
            root.store.write(journal.start, item, begins, claimed.lease, subject="a" * 40, now=now)
        root.store.write(evidence.agent_process, run, identity(agent.pid))
        time.sleep(FAR)


@contextmanager
def run_of(desk: Desk, item: WorkItem, **how: str) -> Iterator[BaseProcess]:
    process = SPAWN.Process(target=works, args=(desk.settings, item.key), kwargs=how)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
        if agent := agent_of(desk, item):
            kill_group(agent, grace_s=0)


def agent_of(desk: Desk, item: WorkItem) -> ProcessIdentity | None:
    running = desk.store.read(evidence.unfinished_agent_runs, item.id)
    return running[0].process if running else None


async def test_a_run_whose_item_is_stopped_ends_its_agent_and_itself(desk: Desk) -> None:
    item = desk.item(Stage.DEVELOPMENT)
    with run_of(desk, item) as process:
        agent = await until(lambda: agent_of(desk, item), what="the agent")
        desk.store.write(reactions.request_stop, item, desk.clock.now)
        await until(lambda: process.exitcode is not None, what="the run's end")
        assert process.exitcode == -signal.SIGKILL
        assert not desk.root.alive(agent)
        assert (desk.settings.state_dir / "asked").read_text() == "TERM\n"


@pytest.mark.parametrize("how", [{"begins": landing.LAND}, {"landed": "a" * 40}], ids=["it lands", "it has landed"])
async def test_a_run_that_lands_or_has_landed_goes_on(desk: Desk, how: dict[str, str]) -> None:
    item = desk.item(Stage.DEVELOPMENT)
    with run_of(desk, item, **how) as process:
        agent = await until(lambda: agent_of(desk, item), what="the agent")
        desk.store.write(reactions.request_stop, desk.again(item), desk.clock.now)
        process.join(3 * stop_listener.LOOK_S)
        assert process.exitcode is None
        assert desk.root.alive(agent)


async def test_a_run_that_was_overtaken_leaves_the_agents_of_its_successor_alone(desk: Desk) -> None:
    item = desk.item(Stage.DEVELOPMENT)
    with run_of(desk, item) as process:
        agent = await until(lambda: agent_of(desk, item), what="the agent")
        desk.store.write(leases.drop, item.id)
        desk.store.write(reactions.request_stop, item, desk.clock.now)
        process.join(3 * stop_listener.LOOK_S)
        assert process.exitcode is None
        assert desk.root.alive(agent)
