"""The merge gate: rebased onto the default branch, pushed, and tested as that combined tree."""

from dataclasses import replace

from prefect import flow
from prefect.client.schemas.objects import State

from flows.agent_work import judged_anew
from flows.stage import Run, at_stage
from pipeline.decide import Escalate, Outcome, RollBack
from pipeline.model import Conflict, MergeAttempt, MergeEnd
from pipeline.stages import Stage
from pipeline.store import evidence, queue
from tasks import branch, validation
from tasks.landing import Busy, merge_turn


async def validate(run: Run) -> Run | Outcome:
    """Find out, under the project's merge lock, whether the branch may land on what the default branch is now."""
    async with merge_turn(run.root, run.item, run.project) as turn:
        attempt = MergeAttempt(MergeEnd.BUSY, turn.sentence) if isinstance(turn, Busy) else await _attempt(run)
    if isinstance(attempt, RollBack):
        return attempt
    if attempt.end is MergeEnd.BUSY and (often := await defer(run)) is not None:
        return often
    return replace(run, merge=attempt)


async def _attempt(run: Run) -> MergeAttempt | RollBack:
    key, token = run.item.key, run.lease.token
    base = await branch.fetch(key)
    if (known := await validation.still_valid(key, base)) is not None:
        return known
    if await branch.prepare(key, token):
        return judged_anew()
    rebased = await branch.rebase(key, base) if await validation.needs_rebase(key, base) else None
    if isinstance(rebased, Conflict):
        return validation.conflict(run.project, rebased)
    tip = await branch.publish(key, token, f"{key}: ready to land")
    tests = await branch.run_tests(key, tip, f"{evidence.MERGE_PURPOSE}{base[:12]}")
    return await validation.judge(key, token, base, tests)


async def defer(run: Run) -> Escalate | None:
    """Count one deferral; escalation when there were too many in a row."""
    deferred = await run.root.store.awrite(queue.defer, run.item)
    if deferred <= run.root.settings.merge_defer_max:
        return None
    return Escalate(f"{run.item.key} has waited {deferred} times for its merge turn.")


@flow(name="deploy_staging", flow_run_name="{work_item} · deploy_staging")
async def deploy_staging(work_item: str) -> State[None]:
    """The branch is validated as it will land. Harmless at any other stage."""
    return await at_stage(work_item, Stage.DEPLOY_STAGING, validate)
