"""What a person cancels in Prefect stays so: the item is held, with that reason, until somebody lets it go on."""

from dataclasses import dataclass, field
from datetime import datetime

from prefect.client.schemas.objects import FlowRun, StateType
from sqlmodel import Session

from pipeline.model import Hold, WorkItem
from pipeline.store import reactions, sightings
from tasks import prefect_api
from tasks.services import Services

WHY = "Its run was cancelled in Prefect."


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
    """Hold the item when a run of it that was cancelled `since` is why none has come; False when that is not so.

    One cancellation holds it once: whoever lets the item go on has seen it.
    """
    run = await cancels.of(item.key)
    if run is None or _when(run) < since:
        return False
    return await root.store.awrite(_hold_once, item, str(run.id), root)


def _hold_once(session: Session, item: WorkItem, run_id: str, root: Services) -> bool:
    return _noted(session, item, run_id) and hold(session, item, run_id, root)


def hold(session: Session, item: WorkItem, run_id: str, root: Services) -> bool:
    """Hold the item for this run's cancellation."""
    _noted(session, item, run_id)
    reactions.hold(session, item, Hold.BLOCKED, WHY, root.now(), root.texts)
    return True


def _noted(session: Session, item: WorkItem, run_id: str) -> bool:
    return sightings.stands(session, sightings.cancels(item.project), item.key, run_id, changed_at=None)
