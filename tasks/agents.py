"""An agent's work on a stage: once a visit, accounted, its leftovers cleaned up when it was interrupted."""

import asyncio
import contextlib

from prefect import task
from sqlmodel import Session

from pipeline.clients.process import kill_group
from pipeline.messages import Markup, lines, link
from pipeline.model import AgentJob, AgentOutcome, Choice, Decision, ProcessIdentity, WorkItem
from pipeline.projects import Project
from pipeline.prompts import PromptFacts, render
from pipeline.stages import ROWS, Role
from pipeline.store import evidence, outbox, reactions, waits
from pipeline.store.evidence import AgentRun
from tasks.branch import log_file
from tasks.services import Services
from tasks.steps import STEP, subject

GRACE_S = 5


@task(name="clean up after an interrupted agent", **STEP)
async def clean_up(key: str) -> int:
    """End what a killed run left behind: its agent's processes and half-made changes; how many runs that were."""
    root, item, project = await subject(key)
    left = await root.store.aread(evidence.unfinished_agent_runs, item.id)
    for run in left:
        if run.process is not None:
            await asyncio.to_thread(kill_group, run.process, grace_s=GRACE_S)
        if run.visit == item.visit and run.role is ROWS[item.stage].role:
            await asyncio.to_thread(root.workspace(project).worktree, item.key, item.branch)
            await asyncio.to_thread(root.workspace(project).restore, item.key, run.start_commit)
        await root.store.awrite(
            evidence.agent_interrupted, run.id, "Interrupted: the run that held it died.", root.now()
        )
    return len(left)


@task(name="agent", cache_policy=STEP["cache_policy"])
async def work(key: str, run_id: str) -> AgentRun:
    """The agent's run for this visit: the recorded one, or one made now. Raises `CouldNotRun`.

    A run that asked a question is repeated once the answer is there. Never retried here: a failed agent is a verdict.
    """
    root, item, project = await subject(key)
    role = ROWS[item.stage].role
    known = await root.store.aread(evidence.agent_run_of_visit, item, role)
    answer = await _answer(root, item, known)
    if known is not None and not (known.question and answer):
        return known
    await _carry_out(root, item, project, role, answer, run_id)
    done = await root.store.aread(evidence.agent_run_of_visit, item, role)
    assert done is not None  # noqa: S101  just written
    return done


async def _answer(root: Services, item: WorkItem, known: AgentRun | None) -> Decision | None:
    """A person's answer to the question of this visit's run."""
    if known is None or not known.question or known.finished_at is None:
        return None
    since = known.finished_at
    given = await root.store.aread(waits.decisions, item.id)
    return next((d for d in reversed(given) if d.choice is Choice.ANSWER and d.at >= since), None)


async def _carry_out(
    root: Services, item: WorkItem, project: Project, role: Role, answer: Decision | None, run_id: str
) -> None:
    workspace = root.workspace(project)
    base = await asyncio.to_thread(workspace.fetch)
    start = await asyncio.to_thread(workspace.tip, item.key)
    job = await _job(root, item, project, role, base=base, start=start, answer=answer)
    number = await root.store.awrite(
        evidence.agent_started, item, role, model=job.model, effort=job.effort, log=job.log, start_commit=start,
        run=run_id, now=root.now(),
    )  # fmt: skip
    recording: list[asyncio.Task[None]] = []

    def started(process: ProcessIdentity) -> None:
        recording.append(asyncio.ensure_future(root.store.awrite(evidence.agent_process, number, process)))

    try:
        outcome = await root.agent.run(job, started=started)
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*recording)
    await root.store.awrite(_finished, item, role, number, outcome, root)


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
    reactions.tell(session, item.key, f"{html}\n{root.texts('ignored', why=outcome.sentence)}", f"agent:{number}", now)
    outbox.live_card(session, item.key, now)


def _links(root: Services, item: WorkItem) -> Markup:
    base = (root.settings.gitea_public_url or root.settings.gitea_url).rstrip("/")
    if not base:
        return Markup("")
    repository = root.project(item.project).repository
    return lines(link(f"{base}/{repository}/src/branch/{item.branch}/{item.artifacts}", item.artifacts))


async def _job(
    root: Services, item: WorkItem, project: Project, role: Role, *, base: str, start: str, answer: Decision | None
) -> AgentJob:
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
        answer=answer.text if answer else "",
    )
    terms = root.agent_block.terms(role)
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
        prompt=render(role, facts),
        log=log_file(root, item, f"{item.stage}-{item.visit}-{role}"),
        timeout_s=terms.timeout_s,
        idle_timeout_s=terms.idle_timeout_s,
        environment=root.agent_environment(item.key, role, environment),
        model=terms.model,
        effort=terms.effort,
    )
