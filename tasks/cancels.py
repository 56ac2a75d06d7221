"""What a person cancels or suspends in Prefect stays so: the item is held for it until somebody lets it go on."""

from dataclasses import dataclass, field
from datetime import datetime

from prefect.client.schemas.objects import FlowRun, StateType
from sqlmodel import Session

from pipeline.model import Hold, WorkItem
from pipeline.store import items, leases, reactions, sightings
from tasks import prefect_api
from tasks.services import Services

WHY = "Its run was cancelled in Prefect."
SUSPENDED = "Its run was suspended in Prefect."


def cancelled(run: FlowRun | None) -> bool:
    """Whether the run was cancelled, or is about to be."""
    return run is not None and run.state_type in (StateType.CANCELLED, StateType.CANCELLING)


@dataclass
class Cancels:
    """The latest runs that people have cancelled, asked for once, and not before somebody wants to know."""

    _latest: dict[str, FlowRun] | None = field(default=None)

    async def of(self, key: str) -> FlowRun | None:
        """The item's run that was cancelled last; None when none was of late."""
        if self._latest is None:
            self._latest = {}
            for run in sorted(await prefect_api.cancelled_by_people(), key=_when):
                self._latest[str(run.parameters.get("work_item"))] = run
        return self._latest.get(key)


def _when(run: FlowRun) -> datetime:
    assert run.state is not None  # noqa: S101  it was found by its state
    return run.state.timestamp


async def heard(root: Services, item: WorkItem, cancels: Cancels, *, since: datetime) -> bool:
    """Hold the item when a run of it that was cancelled `since`, or is suspended, is why none has come; else False.

    Each holds it once: whoever lets the item go on has seen it.
    """
    run = await cancels.of(item.key)
    if run is not None and _when(run) >= since and await root.store.awrite(_hold_once, item, str(run.id), root, WHY):
        return True
    run = await prefect_api.suspended_run_of(item.key)
    if run is None or _when(run) < since:
        return False
    return await root.store.awrite(_hold_once, item, str(run.id), root, SUSPENDED)


def stays_suspended(session: Session, run: FlowRun, root: Services) -> bool:
    """Whether a run that a person has suspended is left as it is. Its item is held for it, once no run works on it.

    A run that the item has left behind, or that somebody has let the item go on from, is not.
    """
    item = items.find(session, str(run.parameters.get("work_item")))
    if item is None or item.stage.terminal or _when(run) < item.entered_at:
        return False
    owner = leases.owner(session, item.id)
    if item.hold is not None or (owner is not None and owner.expires_at > root.now()):
        return True
    return _hold_once(session, item, str(run.id), root, SUSPENDED)


def _hold_once(session: Session, item: WorkItem, run_id: str, root: Services, why: str) -> bool:
    """Whether the item is held, now or by whoever has seen the run a moment ago."""
    if _noted(session, item, run_id):
        return hold(session, item, run_id, root, why)
    current = items.find(session, item.key)
    return current is not None and current.hold is not None


def hold(session: Session, item: WorkItem, run_id: str, root: Services, why: str = WHY) -> bool:
    """Hold the item for this run's cancellation or suspension."""
    _noted(session, item, run_id)
    reactions.hold(session, item, Hold.BLOCKED, why, root.now(), root.texts)
    return True


def _noted(session: Session, item: WorkItem, run_id: str) -> bool:
    return sightings.stands(session, sightings.cancels(item.project), item.key, run_id, changed_at=None)
