"""Check 10: the card that check 9 has written is stopped like any other, and nothing of it stays but the card."""

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta

from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from sqlmodel import Session

from deployments import operator
from deployments.automations import STARTERS
from deployments.peers import prefect_client
from deployments.staging_check.check import Finding, fine, wrong
from deployments.staging_check.database import existing_store
from deployments.staging_check.receiver import SENDER, tell_moved
from deployments.staging_check.staging import Attempt, Card, Staging
from deployments.staging_check.start import LOOK_S, state_for
from pipeline.clients.plane import PlaneClient
from pipeline.clients.workspace import GitWorkspace
from pipeline.errors import CouldNotRun, OrchError, Refused
from pipeline.model import WorkItem
from pipeline.signals import Signal
from pipeline.stages import Stage, Status
from pipeline.store import inbox, items
from pipeline.store.engine import Store
from tasks import prefect_api

APPEARS_WITHIN_S = 30
"""How long after its start was accepted a card may still become a work item; after that the start is taken back."""

STOPPED_WITHIN_S = 120
REMOVED_WITHIN_S = 30

CLOCKS_DIFFER = timedelta(hours=1)
"""How far Plane's clock may be from ours when a card is looked for whose creation was not answered."""


async def clean_up(staging: Staging) -> Finding:
    """Stop what was started, wait until it is cancelled and its worktree gone, and leave the card cancelled."""
    attempt = staging.attempt
    if attempt is None:
        return fine("Nothing was created, so there is nothing to clean up.")
    async with attempt.plane.get_client() as tracker:
        card = attempt.card or await _unanswered(staging.title, attempt, tracker)
        if card is None:
            return fine("Plane has not taken the card, so there is nothing to clean up.")
        return await _clean_up(staging, attempt, tracker, card)


async def _clean_up(staging: Staging, attempt: Attempt, tracker: PlaneClient, card: Card) -> Finding:
    with contextlib.suppress(OrchError):  # what lives on without this word is stopped in the database below
        await _move_to_stop(staging, attempt, tracker, card)
    store = await asyncio.to_thread(existing_store, staging.settings)
    item = await _until_ended(staging, attempt, store, card.key)
    if item is None:
        await _take_back(staging, store, card.key)
    elif item.stage is not Stage.CANCELLED:
        return wrong(f"{card.key} is {item.stage}, although it was stopped: see its runs in Prefect.")
    await _until_removed(staging, card)
    left = await _leave_cancelled(attempt, tracker, card)
    ended = "was stopped and its worktree is gone" if item else "was never started"
    return fine(f"{card.key} {ended}; its card stays in Plane{left}, for Orch deletes none.")


async def _unanswered(title: str, attempt: Attempt, tracker: PlaneClient) -> Card | None:
    """The card that Plane may have written although its answer never came."""
    project = attempt.states.project
    changed = await tracker.items(project, changed_since=attempt.begun - CLOCKS_DIFFER)
    return next((Card(project, item) for item in changed if item.title == title), None)


async def _move_to_stop(staging: Staging, attempt: Attempt, tracker: PlaneClient, card: Card) -> None:
    """What a person does to stop an item; nothing on a board without the state."""
    if (stop := state_for(attempt.states, Status.STOP)) is not None:
        await tracker.set_state(card.project, card.item.id, stop.id)
        await tell_moved(staging, card, stop)


async def _until_ended(staging: Staging, attempt: Attempt, store: Store, key: str) -> WorkItem | None:
    """The item once it has ended, asked to stop if nobody has; None when there is none and none will be."""
    deadline = time.monotonic() + STOPPED_WITHIN_S
    while True:
        item = await store.aread(items.latest, key)
        if item is not None and item.stage.terminal:
            return item
        if item is None and (attempt.told_at is None or time.monotonic() > attempt.told_at + APPEARS_WITHIN_S):
            return None
        if item is not None and item.cancel_requested_at is None:
            with contextlib.suppress(Refused):  # it has ended this moment
                await asyncio.to_thread(operator.signal, staging.settings, key, Signal.STOP_REQUESTED, "", SENDER)
        if time.monotonic() > deadline:
            raise CouldNotRun(
                f"{key} was asked to stop and is not cancelled after {STOPPED_WITHIN_S} s: see its stop run in Prefect,"
                f" that a worker asks the pool orch-control, and then `orch stop {key}`."
            )
        await asyncio.sleep(LOOK_S)


async def _take_back(staging: Staging, store: Store, key: str) -> None:
    """Have a start that nobody has acted upon forgotten, so that no item comes of it once the workers are back."""
    await store.awrite(_consume, key, datetime.now(UTC))
    async with prefect_client(staging.settings) as client:
        waiting = await client.read_flow_runs(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[STARTERS[Signal.START_REQUESTED]])),
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING]))
            ),
        )
        for run in waiting:
            if run.parameters.get("work_item") == key:
                await prefect_api.cancel(str(run.id), "The staging check has taken its start back.")


def _consume(session: Session, key: str, now: datetime) -> None:
    for stored in inbox.unconsumed(session, key):
        inbox.consume(session, stored.id, "taken back by the staging check", now)


async def _until_removed(staging: Staging, card: Card) -> None:
    """Return when the item has no worktree on this host."""
    root, deadline = staging.settings.state_dir, time.monotonic() + REMOVED_WITHIN_S
    workspace = GitWorkspace(card.project, root=root, url="", credentials={}, home=root / "git-home")
    while True:
        if card.key not in await asyncio.to_thread(workspace.worktrees):
            return
        if time.monotonic() > deadline:
            raise CouldNotRun(
                f"{card.key} is cancelled, but its worktree in {root} is still there after {REMOVED_WITHIN_S} s: see its"
                " stop run in Prefect, then remove it."
            )
        await asyncio.sleep(LOOK_S)


async def _leave_cancelled(attempt: Attempt, tracker: PlaneClient, card: Card) -> str:
    """Have the card in the project's cancelled state; how to say where it is."""
    cancelled = state_for(attempt.states, Status.CANCELLED)
    if cancelled is None:
        return ""
    await tracker.set_state(card.project, card.item.id, cancelled.id)
    return f" as {cancelled.name}"
