"""The merge lock around a killed holder: held by one that dies, tried by the next, made anew for the tests between."""

import asyncio
import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

from deployments.demo import PROJECT
from deployments.limits import ensure_merge_limit
from pipeline.settings import Settings
from pipeline.store import items
from pipeline.store.engine import Store
from pipeline.store.schema import migrate
from tasks.landing import Busy, merge_turn
from tests.support.forks import fork, make_services, reap


def take_turn(settings: Settings, folder: Path, *, and_die: bool) -> bool:
    """Have an item of another project take its merge turn in a process of its own; whether it got the lock.

    With `and_die` the process kills itself while it holds the lock. What the process writes is below `folder`.
    """
    told = folder / "turn"
    hasty = settings.model_copy(update={"merge_lock_timeout_s": 0.5})
    reap(fork(lambda: asyncio.run(_turn(hasty, folder / "turn.db", told, and_die)), folder / "turn.log"))
    return told.read_text() == "got"


async def _turn(settings: Settings, database: Path, told: Path, and_die: bool) -> None:
    project = settings.registry()[PROJECT].model_copy(update={"key": "HELD"})
    store = Store(f"sqlite:///{database}")
    migrate(store)
    root = replace(make_services(settings), store=store)
    new = items.NewItem("HELD-1", project.key, "card", "Held", "orch/held-1")
    item, _ = store.write(items.create, new, actor="a test", reason="", run=None, now=root.now())
    async with get_client() as client:
        await ensure_merge_limit(client, project)
    async with merge_turn(root, item, project) as turn:
        await asyncio.to_thread(told.write_text, "busy" if isinstance(turn, Busy) else "got")
        if and_die:
            os.kill(os.getpid(), signal.SIGKILL)


async def renew_merge_limit(settings: Settings) -> None:
    """Have the merge lock as new. A killed holder keeps it until its lease has run out, a minute later; the server then
    frees the slot. Made anew rather than set to zero slots: that late lease would take a slot from the next holder.
    """
    project = settings.registry()[PROJECT]
    async with get_client() as client:
        with contextlib.suppress(ObjectNotFound):
            await client.delete_global_concurrency_limit_by_name(project.merge_limit)
        await ensure_merge_limit(client, project)
