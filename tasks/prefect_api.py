"""The few calls that Orch makes to the Prefect API itself: events out, runs started, resumed and looked at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings
from prefect.states import Cancelled, Cancelling, Crashed, Scheduled

from pipeline.errors import Unavailable
from pipeline.signals import stage_resource
from pipeline.stages import Stage

STAGE_TAG = "orch-stage"
EVENT_TIMEOUT_S = 10


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
        async with httpx.AsyncClient(timeout=EVENT_TIMEOUT_S, auth=auth) as client:  # type: ignore[arg-type]  # two parts
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
) -> UUID:
    """Create a run of deployment `flow/flow`, due now or `at`. Not idempotent, and harmless when repeated: flows are."""
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(f"{flow}/{flow}")
        run = await client.create_flow_run_from_deployment(
            deployment.id,
            parameters=dict(parameters),
            name=name,
            tags=list(tags),
            state=None if at is None else Scheduled(scheduled_time=at),
        )
        return run.id


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
    """Runs by id, in one call; those that do not exist are left out."""
    ids = [UUID(run_id) for run_id in run_ids]
    if not ids:
        return {}
    async with get_client() as client:
        runs = await client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids)), limit=200)
    return {str(run.id): run for run in runs}


async def active_stage_runs() -> list[FlowRun]:
    """Stage runs that are scheduled, pending, running or suspended, in one call a page."""
    wanted = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED]
    found: list[FlowRun] = []
    async with get_client() as client:
        while True:
            page = await _page(client, wanted, offset=len(found))
            found += page
            if len(page) < 200:
                return found


async def _page(client: PrefectClient, wanted: list[StateType], *, offset: int) -> list[FlowRun]:
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            tags=FlowRunFilterTags(all_=[STAGE_TAG]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=wanted)),
        ),
        limit=200,
        offset=offset,
    )


async def cancel(run_id: str, message: str) -> None:
    """Put a run into Cancelled, whatever it is in. Kills no process. Idempotent."""
    async with get_client() as client:
        try:
            await client.set_flow_run_state(UUID(run_id), Cancelled(message=message), force=True)
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
