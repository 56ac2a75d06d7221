"""An agent's work on a stage: once a visit, accounted, its leftovers cleaned up when it was interrupted."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prefect import task
from sqlmodel import Session

from pipeline import budgets
from pipeline.clients.agent_stream import usage_so_far
from pipeline.clients.process_identity import kill_group
from pipeline.errors import CouldNotRun, StaleWrite
from pipeline.messages import Markup, lines, link
from pipeline.model import (
    AgentJob,
    AgentOutcome,
    Choice,
    Decision,
    ProcessIdentity,
    WaitKind,
    WorkItem,
)
from pipeline.outcomes import Ask
from pipeline.projects import Project
from pipeline.prompts import PromptFacts, override_of, render
from pipeline.stages import ROLE_STAGE, ROWS, Role
from pipeline.store import evidence, outbox, reactions, waits
from pipeline.store.evidence import AgentRun
from pipeline.workspace import Workspace
from tasks import bounds, links, progress
from tasks.branch import log_file
from tasks.services import Services
from tasks.steps import STEP, subject

GRACE_S = 5


@task(name="clean up after an interrupted agent", **STEP)
async def clean_up(key: str) -> int:
    """End what a killed run left behind: its agent's processes and half-made changes; how many runs that were.

    An agent on another host has died with its run, whose lease has ended; what it left on a disk of that host is not
    in our way. What a judge has left does not become anybody else's change, wherever the item has gone meanwhile.
    """
    root, item, project = await subject(key)
    workspace = root.workspace(project)
    left = await root.store.aread(evidence.unfinished_agent_runs, item.id)
    for run in left:
        elsewhere = run.process is not None and run.process.host != socket.gethostname()
        if run.process is not None and not elsewhere:
            await asyncio.to_thread(kill_group, run.process, grace_s=GRACE_S)
        here = not elsewhere or item.key in await asyncio.to_thread(workspace.worktrees)
        of_this_visit = run.visit == item.visit and run.role is ROWS[item.stage].role
        if here and (of_this_visit or ROWS[ROLE_STAGE[run.role]].judges):
            await asyncio.to_thread(workspace.worktree, item.key, item.branch)
            await asyncio.to_thread(workspace.restore, item.key, run.start_commit)
        used = await asyncio.to_thread(usage_so_far, Path(run.log))
        await root.store.awrite(
            evidence.agent_interrupted, run.id, "Interrupted: the run that held it died.", used, root.now()
        )
    return len(left)


@task(name="agent", cache_policy=STEP["cache_policy"])
async def work(key: str, run_id: str) -> AgentRun:
    """The agent's run for this visit: the recorded one, or one made now.

    Raises `CouldNotRun`, and `StaleWrite` when somebody else has ended it meanwhile, as STOP does.

    A run that asked a question is repeated once the answer is there. Never retried here: a failed agent is a verdict.
    """
    root, item, project = await subject(key)
    role = ROWS[item.stage].role
    known = await root.store.aread(evidence.agent_run_of_visit, item, role)
    answer = await _answer(root, item, known)
    if known is not None and not (known.question and answer):
        return known
    await _carry_out(root, item, project, role, run_id)
    done = await root.store.aread(evidence.agent_run_of_visit, item, role)
    if done is None:
        raise StaleWrite(f"The agent of {key} was ended by another run.")
    return done


async def _answer(root: Services, item: WorkItem, known: AgentRun | None) -> Decision | None:
    """A person's answer to the question of this visit's run."""
    if known is None or not known.question or known.finished_at is None:
        return None
    since = known.finished_at
    given = await root.store.aread(waits.decisions, item.id)
    return next((d for d in reversed(given) if d.choice is Choice.ANSWER and d.at >= since), None)


async def _answers(root: Services, item: WorkItem, role: Role) -> str:
    """What the role has asked about this item so far, each question with its answer; for every later attempt, too."""
    asked = [run for run in await root.store.aread(evidence.agent_runs, item.id) if run.role is role and run.question]
    given = [d for d in await root.store.aread(waits.decisions, item.id) if d.choice is Choice.ANSWER]
    told: list[str] = []
    for number, run in enumerate(asked):
        until = asked[number + 1].finished_at if number + 1 < len(asked) else None
        texts = [
            d.text for d in given if run.finished_at and d.at >= run.finished_at and (until is None or d.at < until)
        ]
        if texts:
            told.append(f"You asked: {run.question}\nThe answer: {texts[-1]}")
    return "\n\n".join(told)


@task(name="look at the budget", **STEP)
async def asks_for_budget(key: str) -> Ask | None:
    """What a person has to allow before the agent may start on this visit; None when nothing has to be, or is left."""
    root, item, _project = await subject(key)
    known = await root.store.aread(evidence.agent_run_of_visit, item, ROWS[item.stage].role)
    if known is not None and not (known.question and await _answer(root, item, known)):
        return None  # nothing will start
    spent, today = await _spent(root, item)
    why = budgets.reached(root.settings.limits, item=spent, day=today)
    runs = len(await root.store.aread(evidence.agent_runs, item.id))
    if not why or budgets.let_go_on(await root.store.aread(waits.decisions, item.id), runs):
        return None
    return Ask(WaitKind.BUDGET, why, budgets.next_run(runs))


async def _spent(root: Services, item: WorkItem) -> tuple[budgets.Spent, budgets.Spent]:
    """What the item has used up, and what all items have today."""
    day = budgets.day_of(root.now())
    return await root.store.aread(evidence.spent_by, item.id), await root.store.aread(evidence.spent_since, day)


async def _carry_out(root: Services, item: WorkItem, project: Project, role: Role, run_id: str) -> None:
    workspace = root.workspace(project)
    base = await asyncio.to_thread(workspace.fetch)
    start = await asyncio.to_thread(bounds.beginning, workspace, item)
    job = await _job(root, item, project, role, base=base, start=start)
    confined = await asyncio.to_thread(root.sandbox.stands)
    if confined:
        job = await asyncio.to_thread(_confined, root, item, workspace, job)
    laid = await asyncio.to_thread(workspace.lay_agent_files, item.key, base)
    number = await root.store.awrite(
        evidence.agent_started, item, role, model=job.model, effort=job.effort, log=job.log, start_commit=start,
        run=run_id, now=root.now(),
    )  # fmt: skip
    recording: list[asyncio.Task[None]] = []

    def started(process: ProcessIdentity) -> None:
        recording.append(asyncio.ensure_future(root.store.awrite(evidence.agent_process, number, process)))

    try:
        async with progress.shown(f"The {role} of {item.key}", job.timeout_s):
            outcome = await root.agent.run(job, started=started)
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*recording)
        if confined:
            await asyncio.to_thread(workspace.take_commits, item.key, item.branch)
        await asyncio.to_thread(workspace.take_back_agent_files, item.key, base, laid)
    outcome = await asyncio.to_thread(bounds.judged, workspace, item, start, outcome)
    await root.store.awrite(_finished, item, role, number, outcome, root)


def _confined(root: Services, item: WorkItem, workspace: Workspace, job: AgentJob) -> AgentJob:
    """The job, to be carried out in a room of its own."""
    sandbox, home = root.sandbox, root.agent_home(item.key, job.role)
    room = workspace.room(item.key, item.branch, home=home, network=root.settings.agent_network)

    def confine(command: Sequence[str], prompt: Path) -> Sequence[str]:
        return sandbox.walls(command, replace(room, readable=(*room.readable, prompt)), cwd=job.worktree)

    return replace(job, confine=confine)


def _finished(session: Session, item: WorkItem, role: Role, number: int, outcome: AgentOutcome, root: Services) -> None:
    now = root.now()
    evidence.agent_finished(session, number, outcome, now)
    usage = outcome.usage
    html = root.texts(
        "agent_finished",
        role=role,
        visit=item.visit,
        stage=item.stage,
        tokens=f"{usage.full_input:,} ({usage.cache_read_tokens:,} cached)",
        output=f"{usage.output_tokens:,}",
        cost=f"{usage.cost_usd:.2f}",
        markup=_links(root, item),
    )
    told = f"{html}\n{root.texts('ignored', why=outcome.sentence)}"
    reactions.tell(session, item.key, told, f"agent:{number}", now, voice=role)
    outbox.live_card(session, item.key, now)


def _links(root: Services, item: WorkItem) -> Markup:
    address = links.artifacts(root.settings, root.project(item.project).repository, item)
    return lines(link(address, item.artifacts)) if address else Markup("")


async def _job(root: Services, item: WorkItem, project: Project, role: Role, *, base: str, start: str) -> AgentJob:
    card = await root.tracker.item(project, item.tracker_id)
    head = await asyncio.to_thread(root.workspace(project).head, start, item.artifacts)
    facts = PromptFacts(
        work_item=item.key,
        title=item.title,
        description=card.description,
        artifacts=item.artifacts,
        head=head,
        base=base,
        default_branch=project.default_branch,
        feedback=item.feedback,
        answer=await _answers(root, item, role),
    )
    terms = root.agent_block.terms(role)
    if terms.timeout_s >= root.settings.run_max_s:
        raise CouldNotRun(
            f"The {role} may work for {terms.timeout_s:g} s, as the Coding Agent block in Prefect says, but a run of Orch "
            f"lasts {root.settings.run_max_s:g} s at most and would be killed. Lower that, or raise ORCH_RUN_MAX_S."
        )
    spent, today = await _spent(root, item)
    own = await asyncio.to_thread(root.workspace(project).read, base, override_of(role))
    environment = {
        "ORCH_ROLE": role.value,
        "ORCH_WORK_ITEM": item.key,
        "ORCH_TITLE": item.title,
        "ORCH_VISIT": str(item.visit),
        "ORCH_HEAD": head,
        "ORCH_BASE": base,
        "ORCH_ARTIFACTS": item.artifacts,
    }
    return AgentJob(
        role=role,
        work_item=item.key,
        worktree=await asyncio.to_thread(root.workspace(project).worktree, item.key, item.branch),
        prompt=render(role, facts, own, of=f"{project.repository}, branch {project.default_branch}"),
        log=log_file(root, item, f"{item.stage}-{item.visit}-{role}"),
        timeout_s=terms.timeout_s,
        idle_timeout_s=terms.idle_timeout_s,
        environment=root.agent_environment(item.key, role, environment),
        model=terms.model,
        effort=terms.effort,
        max_turns=terms.max_turns,
        max_budget_usd=budgets.run_budget(root.settings.limits, terms.max_budget_usd, item=spent, day=today),
    )
