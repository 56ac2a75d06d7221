"""What can be seen of an item without starting anything: whether a run comes to it by itself, and whether one is due."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prefect.client.schemas.objects import FlowRun, StateType

from pipeline.errors import Refused, Unavailable
from pipeline.gates.ci_green import GATE as CI_GREEN
from pipeline.model import Answer, Wait, WaitKind, WorkItem
from pipeline.store import freezes, queue
from pipeline.store.due import Standing
from tasks import entrance, gates, prefect_api
from tasks.cancels import Cancels
from tasks.services import Services

log = logging.getLogger("orch.looks")

PENDING_GRACE = timedelta(seconds=60)
"""How long a run may be Pending or Running without owning its item before it is believed to be dead."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What Prefect says, asked once for all items: runs that begin or go on, and the runs that items name, by id.

    What people have cancelled is asked for only when something would be started. `patience` is with the tracker.
    """

    begun: Mapping[str, Sequence[FlowRun]]
    named: Mapping[str, FlowRun]
    crowded: bool = False
    cancels: Cancels = field(default_factory=Cancels)
    patience: entrance.Patience = field(default_factory=entrance.Patience)


async def observe(found: Iterable[Standing]) -> Observed:
    """Ask Prefect about items: the number of calls does not depend on how many there are up to 200."""
    named = {one.owner.flow_run_id for one in found if one.owner is not None}
    named |= {one.wait.flow_run_id for one in found if one.wait is not None and one.wait.flow_run_id is not None}
    begun, crowded = await prefect_api.begun_stage_runs()
    by_item: dict[str, list[FlowRun]] = {}
    for run in begun:
        by_item.setdefault(str(run.parameters.get("work_item")), []).append(run)
    return Observed(by_item, await prefect_api.states_of(named), crowded)


def queue_of(wait: Wait | None) -> str | None:
    """The work queue of a run that goes on with what the item waits for; None for its deployment's own.

    A short look at production, or at a hook that runs on its own, does not queue up behind merges and deploys, which may
    take longer than the window in which production is rolled back.
    """
    return "default" if wait is not None and wait.kind in (WaitKind.MONITOR, WaitKind.DEPLOY) else None


def comes(item: WorkItem, seen: Observed, now: datetime) -> bool:
    """Whether a run will get to the item by itself, or so many are on their way that another would only queue up."""
    return seen.crowded or any(on_its_way(run, now) for run in seen.begun.get(item.key, ()))


async def due(root: Services, item: WorkItem, wait: Wait, seen: Observed, now: datetime) -> bool:
    if wait.kind is WaitKind.CI and root.project(item.project).ci == "forge":
        return await _ci_has_spoken(root, item, wait, now)
    if wait.kind in (WaitKind.DEPENDENCY, WaitKind.SERIAL):
        return await entrance.opens(root, item, wait, seen.patience)
    if wait.kind is WaitKind.FREEZE:
        return await root.store.aread(freezes.in_the_way, item.project) is None
    if wait.kind is WaitKind.MERGE_TURN:
        tickets = await root.store.aread(queue.tickets, item.project)
        mine = next((ticket for ticket in tickets if ticket.item_id == item.id), None)
        if mine is not None and not mine.first:
            return False  # whoever is before it wakes it, or the tick does
        if mine is not None and mine.woken_at is not None:
            return True
    return wait.look_again_at is not None and now >= wait.look_again_at


async def _ci_has_spoken(root: Services, item: WorkItem, wait: Wait, now: datetime) -> bool:
    """Look at the gate without a run, for it is one cheap question; while it is pending nothing follows.

    What the forge refuses is the stage's to tell a person; a forge that is away is asked again.
    """
    if wait.look_again_at is None or now < wait.look_again_at:
        return False
    try:
        result = await gates.answer(root, item, root.project(item.project), CI_GREEN.name, None)
        return result.answer is not Answer.PENDING
    except Refused:
        return True
    except Unavailable as error:
        log.info("%s: CI cannot be asked: %s", item.key, error)
    return False


def on_its_way(run: FlowRun, now: datetime) -> bool:
    """Whether a run will get to the item by itself: scheduled, or begun a moment ago."""
    if run.state_type is StateType.SCHEDULED:
        return True
    since = run.state.timestamp if run.state else now
    return run.state_type in prefect_api.AT_WORK and now - since < PENDING_GRACE
