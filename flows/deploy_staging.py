"""The merge gate and staging: rebased onto the default branch, pushed, tested as that tree, and run on the stand."""

from dataclasses import replace

from prefect import flow
from prefect.client.schemas.objects import State

from flows.agent_work import judged_anew
from flows.run import Run
from flows.stage import at_stage, leave
from pipeline.model import Conflict, MergeAttempt, MergeEnd
from pipeline.outcomes import Advance, Escalate, Outcome, RollBack
from pipeline.stages import Stage
from pipeline.store import evidence, queue, stands
from tasks import branch, staging, validation
from tasks.landing import Busy, merge_turn


async def validate(run: Run) -> Run | Outcome:
    """Find out, under the project's merge lock, whether the branch may land on what the default branch is now.

    Staging is one place: the gates that look at it are asked before the lock is given back. An item whose confirmation
    has survived lands before another is validated: whatever that one's base was, it would have to be validated again.
    """
    async with merge_turn(run.root, run.item, run.project) as turn:
        if not isinstance(turn, Busy):
            outcome = await _in_turn(run)
            turn.comes_back = isinstance(outcome, Advance) and await _is_confirmed(run)
            return outcome
    if (often := await defer(run)) is not None:
        return often
    return replace(run, merge=MergeAttempt(MergeEnd.BUSY, turn.sentence))


async def _in_turn(run: Run) -> Outcome:
    attempt = await _attempt(run)
    commit = _validated(attempt)
    await staging.end_overtaken(run.item.key, but=commit)
    if isinstance(attempt, RollBack):
        return attempt
    run = replace(await run.again(), merge=attempt)
    if commit is not None:
        await _bring_to_staging(run, commit)
    return await leave(run)


def _validated(attempt: MergeAttempt | RollBack) -> str | None:
    return None if isinstance(attempt, RollBack) or attempt.end is not MergeEnd.VALIDATED else attempt.commit


async def _is_confirmed(run: Run) -> bool:
    """Whether a person has confirmed what was just validated, so that nobody is asked at deploy."""
    item = (await run.again()).item
    return item.confirmed is not None and item.confirmed == item.validated


async def _attempt(run: Run) -> MergeAttempt | RollBack:
    key, token = run.item.key, run.lease.token
    base = await branch.fetch(key)
    if (known := await validation.still_valid(key, base)) is not None:
        return known
    if (found := await branch.prepare(key, token)) is not None:
        return judged_anew(found)
    if not run.root.settings.rebases_before_landing(run.project.repository):
        return await validation.judge(key, token, base, await validation.tests_as_it_stands(key, base))
    rebased = await branch.rebase(key, base) if await validation.needs_rebase(key, base) else None
    if isinstance(rebased, Conflict):
        return validation.conflict(run.project, rebased)
    tip = await branch.publish(key, token, f"{key}: ready to land")
    tests = await branch.run_tests(key, tip, f"{evidence.MERGE_PURPOSE}{base[:12]}")
    return await validation.judge(key, token, base, tests)


async def _bring_to_staging(run: Run, commit: str) -> None:
    """Measure, and run the commit on the stand; one whose coverage fell need not be tried there."""
    percent = await staging.measure_coverage(run.item.key, commit)
    baseline = await run.root.store.aread(stands.baseline, run.project.key)
    measured = bool(run.project.coverage_command)
    fell = percent is not None and baseline is not None and percent < baseline.percent - run.project.coverage_tolerance
    if fell or (percent is None and measured):
        await staging.end_overtaken(run.item.key)
    else:
        await staging.deploy_to_staging(run.item.key, run.lease, commit)


async def defer(run: Run) -> Escalate | None:
    """Count one deferral; escalation when there were too many in a row."""
    deferred = await run.root.store.awrite(queue.defer, run.item)
    if deferred <= run.root.settings.merge_defer_max:
        return None
    return Escalate(f"{run.item.key} has waited {deferred} times for its merge turn.")


@flow(name="deploy_staging", flow_run_name="{work_item} · deploy_staging")
async def deploy_staging(work_item: str) -> State[None]:
    """The branch is validated as it will land, and staged. Harmless at any other stage."""
    return await at_stage(work_item, Stage.DEPLOY_STAGING, validate)
