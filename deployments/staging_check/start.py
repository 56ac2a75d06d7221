"""Check 9: a card that is moved to To Analyse becomes a work item, and its analyst is started."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlmodel import Session

from blocks import CodingAgent, PlaneWorkspace
from deployments.peers import block, prefect_client
from deployments.staging_check.check import Finding, fine, wrong
from deployments.staging_check.database import existing_store
from deployments.staging_check.mode import Mode
from deployments.staging_check.receiver import PLANE, send_signed, tell_moved
from deployments.staging_check.runner import uninterrupted
from deployments.staging_check.staging import Attempt, Card, Staging
from pipeline.clients.plane import PlaneClient
from pipeline.errors import Missing, Refused
from pipeline.model import AgentEnd, Answer, TrackerState, WorkItem
from pipeline.projects import Project
from pipeline.stages import ENTRY_GATE, Role, Status
from pipeline.states import StateList, States
from pipeline.store import evidence, items
from pipeline.store.engine import Store

LOOK_S = 0.3

SCRIPTED = "deployments.sandbox.agent"
"""The module in the command of the scripted agent."""

DESCRIPTION = (
    "<p>Written by <code>orch staging-check</code> to see that Orch starts a work item. It is stopped and cancelled"
    " within minutes. Nothing is to be changed: an analysis is to say just that, in the usual files.</p>"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at Orch's database: the item, why its card was refused, and the analyst's last run."""

    item: WorkItem | None
    refusal: str
    run: evidence.AgentRun | None


async def start(staging: Staging) -> Finding:
    """Write a card, move it to To Analyse, and wait for the analyst. Nothing is written where that could not work."""
    project = staging.project()
    store = await asyncio.to_thread(existing_store, staging.settings)
    await send_signed(staging, PLANE)
    async with prefect_client(staging.settings):
        agent, plane = await block(CodingAgent), await block(PlaneWorkspace)
    if staging.mode is Mode.STUB and not any(SCRIPTED in word for word in agent.command):
        return wrong(
            f"The running Orch's agent is {agent.command[0]}, not the scripted one ({SCRIPTED}): let the real one work"
            " and be paid for with `--mode live`, or change the Prefect block coding-agent/orch."
        )
    async with plane.get_client() as tracker:
        card = await _begin(staging, project, plane, tracker)
    return await _until_started(staging, store, card.key)


def state_for(states: StateList, status: Status) -> TrackerState | None:
    """The project's own state for a logical key, degraded as Orch does; None when nothing fits."""
    wanted = states.id_of(status)
    return next((state for state in states.states if state.id == wanted), None)


def judge(key: str, mode: Mode, seen: Seen) -> Finding | None:
    """What has come of the start; None while that is open."""
    if seen.item is None:
        return wrong(f"{key} was not started: {seen.refusal}") if seen.refusal else None
    if seen.item.hold is not None:
        return wrong(f"{key} was started and is {seen.item.hold}: {seen.item.hold_reason}")
    run = seen.run
    if run is None:
        return None
    if run.end not in (None, AgentEnd.FINISHED):
        return wrong(f"The analyst of {key} {run.end}: {run.sentence} Its log is {run.log}.")
    if run.end is AgentEnd.FINISHED:
        return fine(f"{key} was started, and its analyst has finished.")
    return fine(f"{key} was started, and its analyst is at work.") if mode is Mode.STUB else None


def see(session: Session, key: str) -> Seen:
    """Look at an item."""
    item = items.latest(session, key)
    refusals = [
        gate.result.sentence
        for gate in evidence.gates_of(session, key)
        if gate.gate == ENTRY_GATE and gate.result.answer is not Answer.PASS
    ]
    runs = [run for run in evidence.agent_runs(session, item.id) if run.role is Role.ANALYST] if item else []
    return Seen(item, refusals[-1] if refusals else "", runs[-1] if runs else None)


async def _begin(staging: Staging, project: Project, plane: PlaneWorkspace, tracker: PlaneClient) -> Card:
    """Write the card, move it, and tell the receiver."""
    states = await States(tracker, ttl_s=0, clock=time.monotonic).of(project)
    to_analyse = state_for(states, Status.TO_ANALYSE)
    if to_analyse is None:
        raise Missing(f"Plane project {project.key} has no state To Analyse: add it, or map another in the registry.")
    staging.attempt = attempt = Attempt(plane, states, datetime.now(UTC))
    card = await uninterrupted(_write(staging.title, project, tracker, attempt))
    await tracker.set_state(project, card.item.id, to_analyse.id)
    attempt.told_at = time.monotonic()
    try:
        await tell_moved(staging, card, to_analyse)
    except Refused:
        attempt.told_at = None
        raise
    return card


async def _write(title: str, project: Project, tracker: PlaneClient, attempt: Attempt) -> Card:
    attempt.card = card = Card(project, await tracker.create_item(project, title=title, html=DESCRIPTION))
    return card


async def _until_started(staging: Staging, store: Store, key: str) -> Finding:
    deadline = time.monotonic() + staging.start_within_s
    while True:
        seen = await store.aread(see, key)
        if (found := judge(key, staging.mode, seen)) is not None:
            return found
        if time.monotonic() > deadline:
            return wrong(_too_long(staging, key, seen))
        await asyncio.sleep(LOOK_S)


def _too_long(staging: Staging, key: str, seen: Seen) -> str:
    if seen.item is None:
        now = "is no work item yet: see the intake run in Prefect, and that a worker asks the pool orch-control"
    elif seen.run is None:
        now = f"is at {seen.item.stage} without an analyst: see its run, and that a worker asks the pool orch-agents"
    else:
        now = f"has an analyst still at work: see its log {seen.run.log}"
    return f"{key} was moved to To Analyse, and after {staging.start_within_s:g} s it {now}."
