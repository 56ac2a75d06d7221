"""The few calls that Orch makes to the Prefect API itself: events out, runs started, resumed and looked at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect import runtime
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Cancelling, Crashed, Scheduled

from pipeline.clients.http import certificates
from pipeline.errors import Unavailable
from pipeline.signals import stage_resource
from pipeline.stages import Stage

STAGE_TAG = "orch-stage"
CONTROL_TAG = "orch-control"
EVENT_TIMEOUT_S = 10

PAGE = 200
"""Prefect's largest page of runs."""

CROWD = 5
"""Pages of runs on their way that are looked at; beyond them nothing is started besides."""

GIVEN_UP = "Given up by Orch"
"""The name of the state into which Orch puts what it cancels itself: what is just *Cancelled* somebody else has."""

AT_WORK = [StateType.PENDING, StateType.RUNNING]
"""States of a run that Prefect believes to have a process."""

OVER = [StateType.COMPLETED, StateType.CRASHED, StateType.FAILED]
"""States of a run that has ended, not by a person's hand."""

BEGUN = [StateType.SCHEDULED, *AT_WORK]


@dataclass(frozen=True, slots=True)
class Resumed:
    """The server took the resume; the run goes on."""


@dataclass(frozen=True, slots=True)
class NotResumed:
    """The server did not: `reason` is its word; `ended` tells that the run will never go on."""

    reason: str
    ended: bool = False


async def post_event(payload: Mapping[str, Any], event_id: UUID, occurred: datetime) -> None:
    """Announce one outbox event. Raises `Unavailable`; a repeated `event_id` may run an automation twice.

    Answers 204 (measured on Prefect 3.8.8); a SQLite server answers 503 now and then, which the outbox retries.
    """
    stage = Stage(payload["stage"]) if payload.get("stage") else None
    related = [{"prefect.resource.id": f"prefect.flow-run.{payload['resume']}", "prefect.resource.role": "flow-run"}]
    event = {
        "id": str(event_id),
        "occurred": occurred.astimezone(UTC).isoformat(),
        "event": payload["event"],
        "resource": stage_resource(payload["work_item"], stage),
        "related": related if payload.get("resume") else [],
        "payload": {"work_item": payload["work_item"], "stage": stage},
    }
    settings = get_current_settings().api
    secret = settings.auth_string.get_secret_value() if settings.auth_string else ""
    auth = tuple(secret.split(":", 1)) if secret else None
    try:
        async with httpx.AsyncClient(
            timeout=EVENT_TIMEOUT_S,
            auth=auth,  # type: ignore[arg-type]  # two parts
            verify=certificates(),
        ) as client:
            answer = await client.post(f"{settings.url}/events", json=[event])
    except httpx.HTTPError as error:
        raise Unavailable(f"The Prefect server at {settings.url} does not answer: {error!r}.") from error
    if answer.status_code >= 300:
        raise Unavailable(f"The Prefect server refused an event: {answer.status_code}.", status=answer.status_code)


async def start(
    flow: str,
    parameters: Mapping[str, Any],
    *,
    name: str | None = None,
    tags: Iterable[str] = (),
    at: datetime | None = None,
    queue: str | None = None,
) -> UUID:
    """Create a run of deployment `flow/flow`, due now or `at`. Not idempotent, and harmless when repeated: flows are.

    `queue` is another work queue of its pool than the deployment's.
    """
    async with get_client() as client:
        run = await client.create_flow_run_from_deployment(
            await _deployment(client, flow),
            parameters=dict(parameters),
            name=name,
            tags=list(tags),
            state=None if at is None else Scheduled(scheduled_time=at),
            work_queue_name=queue,
        )
        return run.id


async def _deployment(client: PrefectClient, flow: str) -> UUID:
    """The deployment's id, asked for once in the life of a run."""
    where = (str(client.api_url), runtime.flow_run.id, flow)
    if where not in _deployments:
        _deployments[where] = (await client.read_deployment_by_name(f"{flow}/{flow}")).id
    return _deployments[where]


_deployments: dict[tuple[str, str | None, str], UUID] = {}


async def resume(run_id: str) -> Resumed | NotResumed:
    """Resume a suspended run. Never raises for a refusal: look at what is returned.

    A run that is about to suspend answers ABORT and the wake is lost; one without its form answers REJECT for ever
    (both measured on Prefect 3.8.8).
    """
    async with get_client() as client:
        try:
            answer = await client.resume_flow_run(UUID(run_id))
        except ObjectNotFound:
            return NotResumed("the run does not exist", ended=True)
        except PrefectHTTPStatusError as error:
            raise Unavailable(f"Prefect could not resume run {run_id}: {error}") from error
        if answer.status is SetStateStatus.ACCEPT:
            return Resumed()
        reason = getattr(answer.details, "reason", None) or answer.status.value
        return NotResumed(str(reason))


async def rename(run_id: str, *, name: str, tags: Iterable[str]) -> None:
    """Give a run the name and tags that its page shows; tags are added to those it has."""
    async with get_client() as client:
        run = await client.read_flow_run(UUID(run_id))
        await client.update_flow_run(UUID(run_id), name=name, tags=sorted({*run.tags, *tags}))


async def states_of(run_ids: Iterable[str]) -> dict[str, FlowRun]:
    """Runs by id, in one call for every 200 of them; those that do not exist are left out."""
    ids = sorted({UUID(run_id) for run_id in run_ids})
    found: dict[str, FlowRun] = {}
    if not ids:
        return found
    async with get_client() as client:
        for start in range(0, len(ids), PAGE):
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=ids[start : start + PAGE]))
            found |= {str(run.id): run for run in await client.read_flow_runs(flow_run_filter=wanted, limit=PAGE)}
    return found


async def active_stage_runs() -> list[FlowRun]:
    """Stage runs that are scheduled, pending, running or suspended, in one call a page."""
    return (await _listed([*BEGUN, StateType.PAUSED], pages=None))[0]


async def begun_stage_runs() -> tuple[list[FlowRun], bool]:
    """Stage runs that are scheduled, pending or running, and whether there are more than are listed.

    At most `CROWD` calls: with that many on their way nobody needs to start another.
    """
    return await _listed(BEGUN, pages=CROWD)


async def runs_at_work(tag: str) -> list[FlowRun]:
    """Runs with this tag that are pending or running: not more than a page, for the pools let only a few run at once."""
    async with get_client() as client:
        return await _page(client, AT_WORK, offset=0, tag=tag)


async def begun_runs_of(flow: str) -> tuple[list[FlowRun], bool]:
    """Runs of a control flow that are scheduled, pending or running, one page, and whether there may be more.

    With a page of them on their way nobody needs to start another.
    """
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=BEGUN)))
    by_name = FlowFilter(name=FlowFilterName(any_=[flow]))
    async with get_client() as client:
        found = await client.read_flow_runs(flow_filter=by_name, flow_run_filter=wanted, limit=PAGE)
    return found, len(found) == PAGE


async def suspended_stage_runs(page: int) -> list[FlowRun]:
    """One page of the suspended stage runs, in the order of their ids; empty behind the last."""
    async with get_client() as client:
        return await _page(client, [StateType.PAUSED], offset=page * PAGE)


async def suspended_run_of(key: str) -> FlowRun | None:
    """The item's stage run that a person has suspended in Prefect; see `suspended_by_a_person`."""
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[STAGE_TAG, f"item:{key}"]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])),
    )
    async with get_client() as client:
        found = await client.read_flow_runs(flow_run_filter=wanted, limit=PAGE)
    return next((run for run in found if suspended_by_a_person(run)), None)


def suspended_by_a_person(run: FlowRun) -> bool:
    """Whether a run is suspended, and not by Orch, which asks for input whenever it suspends one."""
    state = run.state
    return state is not None and state.type is StateType.PAUSED and state.state_details.run_input_keyset is None


async def cancelled_by_people() -> list[FlowRun]:
    """The stage runs that somebody else than Orch has cancelled, a page of those that were to start last."""
    async with get_client() as client:
        return await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                tags=FlowRunFilterTags(all_=[STAGE_TAG]),
                state=FlowRunFilterState(
                    type=FlowRunFilterStateType(any_=[StateType.CANCELLED, StateType.CANCELLING]),
                    name=FlowRunFilterStateName(not_any_=[GIVEN_UP]),
                ),
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=PAGE,
        )


async def _listed(wanted: list[StateType], *, pages: int | None) -> tuple[list[FlowRun], bool]:
    found: list[FlowRun] = []
    async with get_client() as client:
        while pages is None or len(found) < pages * PAGE:
            page = await _page(client, wanted, offset=len(found))
            found += page
            if len(page) < PAGE:
                return found, False
    return found, True


async def _page(client: PrefectClient, wanted: list[StateType], *, offset: int, tag: str = STAGE_TAG) -> list[FlowRun]:
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            tags=FlowRunFilterTags(all_=[tag]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=wanted)),
        ),
        sort=FlowRunSort.ID_DESC,
        limit=PAGE,
        offset=offset,
    )


async def held_limits() -> frozenset[str]:
    """Names of the global concurrency limits of which a slot is taken. Who holds it Prefect does not tell."""
    async with get_client() as client:
        limits = await client.read_global_concurrency_limits(limit=PAGE)
    return frozenset(limit.name for limit in limits if limit.active_slots > 0)


async def free_limit(name: str) -> None:
    """Give back every slot of a global concurrency limit; nothing when it is gone. Idempotent."""
    async with get_client() as client:
        try:
            await client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=0))
        except ObjectNotFound:
            return


async def cancel(run_id: str, message: str) -> None:
    """Put a run into Cancelled, whatever it is in. Kills no process. Idempotent."""
    async with get_client() as client:
        try:
            await client.set_flow_run_state(UUID(run_id), Cancelled(name=GIVEN_UP, message=message), force=True)
        except ObjectNotFound:
            return


async def ask_to_cancel(run_id: str, message: str) -> None:
    """Have the worker on the run's own host end it: Cancelling is what workers look for. Idempotent."""
    async with get_client() as client:
        try:
            await client.set_flow_run_state(UUID(run_id), Cancelling(message=message), force=True)
        except ObjectNotFound:
            return


async def crashed(run_id: str, message: str) -> None:
    """Tell Prefect that a run which it believes to be running has no process any more."""
    async with get_client() as client:
        try:
            await client.set_flow_run_state(UUID(run_id), Crashed(message=message), force=True)
        except ObjectNotFound:
            return


def new_event_id() -> UUID:
    """An id for one announcement."""
    return uuid4()
