"""A person confirms, the validated commit lands, goes to production, is verified, and is watched for a while."""

from datetime import timedelta

from prefect import flow
from prefect.client.schemas.objects import State

from flows.deploy_staging import defer
from flows.run import Run
from flows.stage import at_stage, leave
from pipeline.errors import CouldNotRun, Refused
from pipeline.model import Health, Landed, MovedOn, Probed, Protected, WaitKind
from pipeline.monitoring import Watched
from pipeline.outcomes import Advance, Ask, Block, Escalate, Outcome, RollBack, WaitFor
from pipeline.stages import ROWS, Stage
from pipeline.store import freezes, items, transitions, waits
from tasks import landing, production, reverting
from tasks.landing import Busy, merge_turn
from tasks.outbox import deliver


async def confirm_land_and_deploy(run: Run) -> Run | Outcome:
    """Ask for the confirmation of exactly the validated commit, land exactly that, deploy it and watch it."""
    if run.item.landed is None:
        if (kept := await _confirm_and_land(run)) is not None:
            return kept
        run = await run.again()
    await production.ratchet(run.item.key, run.lease)
    if not run.project.deploy_hook:
        await deliver(run.root, run.item.key)  # done comes next, so the pull request is marked before
        return await run.again()
    if run.item.deployed != run.item.landed:
        if (kept := await _deploy(run)) is not None:
            return kept
        run = await run.again()
    return await _watch(run)


async def _confirm_and_land(run: Run) -> Outcome | None:
    if run.item.validated is None:
        raise CouldNotRun(f"{run.item.key} is at deploy without a validated commit; `orch retry` validates it again.")
    if not await _confirmed(run):
        return Ask(WaitKind.CONFIRMATION, f"Deploy {run.item.validated[:12]} to production?", run.item.validated)
    return await _land(await run.again())


async def _confirmed(run: Run) -> bool:
    """Whether a person has confirmed this very commit; remembered on the item, and by a clean rebase's survival."""
    if run.item.confirmed == run.item.validated:
        return True
    given = await run.root.store.aread(waits.decisions, run.item.id)
    if not any(d.kind is WaitKind.CONFIRMATION and d.commit == run.item.validated for d in given):
        return False
    now = run.root.now()
    await run.root.store.awrite(items.update, run.item, run.lease.token, now, confirmed=run.item.validated)
    return True


async def _land(run: Run) -> Outcome | None:
    """Land under the merge lock, and begin the deploy under it; None once the default branch has the commit."""
    async with merge_turn(run.root, run.item, run.project) as turn:
        if isinstance(turn, Busy):
            return await _busy(run, turn.sentence)
        if (deploying := await run.root.store.aread(production.deploy_in_the_way, run.item)) is not None:
            turn.kept_out = True
            return await _busy(run, deploying)
        if (frozen := await _frozen(run)) is not None:
            return frozen
        outcome = await landing.land(run.item.key, run.lease, turn)
        if isinstance(outcome, Landed):
            await production.begin(run.item.key, run.lease, turn)
    match outcome:
        case Landed():
            return None
        case MovedOn(found):
            return await _revalidate(run, found)
        case Protected(reason):
            raise Refused(f"The default branch cannot be moved: {reason} Allow Orch's user to push to it, then retry.")


async def _frozen(run: Run) -> WaitFor | None:
    """What a freeze has the item wait for; asked under the merge lock. A landing that was begun is seen through."""
    if await run.root.store.aread(landing.under_way, run.item):
        return None
    freeze = await run.root.store.aread(freezes.in_the_way, run.item.project)
    return WaitFor(WaitKind.FREEZE, freeze.sentence, run.item.validated) if freeze else None


async def _busy(run: Run, sentence: str) -> Outcome:
    return await defer(run) or WaitFor(WaitKind.MERGE_TURN, sentence, run.item.validated)


async def _revalidate(run: Run, found: str | None) -> Outcome:
    """The default branch moved on after validation: nothing landed, the merge gate runs again. No verdict, no attempt."""
    why = f"{run.project.default_branch} moved on to {(found or 'nothing')[:12]} after the validation; nothing landed."
    visits = await run.root.store.aread(transitions.visits_since_retry, run.item.id, Stage.DEPLOY)
    if visits > run.root.settings.max_revalidations:
        return Escalate(f"{why} It has been at deploy too often.")
    return RollBack(Stage.DEPLOY_STAGING, None, why, feedback="")


async def _deploy(run: Run) -> Outcome | None:
    """Bring the landed commit to production and verify it; None once it is verified."""
    if await reverting.was_reverted(run.root, run.item):
        return Block("Its change was reverted on the default branch; write a new issue for another try.")
    if (kept := await _begun(run)) is not None:
        return kept
    ran = await production.carry_out(run.item.key, run.lease)
    if ran is None:
        return WaitFor(WaitKind.DEPLOY, "The detached deploy hook is at it.", run.item.landed)
    verdict = await leave(run)
    if not isinstance(verdict, Advance):
        return await _not_well(run, verdict.why if isinstance(verdict, Block) else "The deploy cannot be verified.")
    window = run.project.monitor_window_s
    await production.settle(run.item.key, run.lease, run.root.now() + timedelta(seconds=window))
    return None


async def _begun(run: Run) -> Outcome | None:
    """Have a deploy on record: what a run that died after the landing, or a person's retry, leads to.

    Others may have landed and been deployed since; an older commit is never deployed over a newer one.
    """
    if await run.root.store.aread(production.open_deploy, run.item) is not None:
        return None
    async with merge_turn(run.root, run.item, run.project) as turn:
        if isinstance(turn, Busy):
            return await _busy(run, turn.sentence)
        if (deploying := await run.root.store.aread(production.deploy_in_the_way, run.item)) is not None:
            turn.kept_out = True
            return await _busy(run, deploying)
        if (frozen := await _frozen(run)) is not None:
            return frozen
        later = await production.begin(run.item.key, run.lease, turn)
    return None if later is None else _served_by(later)


def _served_by(later: Probed) -> Outcome:
    runs = f"Production runs {(later.revision or '')[:12]}, which is later and contains the change"
    if later.health is Health.HEALTHY:
        return Advance(ROWS[Stage.DEPLOY].to, f"{runs}.")
    why = f"{runs}, but it is {later.health}: {later.sentence}. Nothing older was deployed over it."
    return Block(why, degraded=later.health is Health.DEGRADED)


async def _watch(run: Run) -> Outcome:
    """One look at production; the run ends until the next one is due."""
    done = ROWS[Stage.DEPLOY].to
    if not run.project.monitor_window_s or run.item.monitor_until is None:
        return Advance(done, f"deploy_verified: production runs {(run.item.deployed or '')[:12]}.")
    if (early := await _early(run)) is not None:
        return early
    watched, said = await production.watch(run.item.key, over=run.root.now() >= run.item.monitor_until)
    match watched:
        case Watched.WATCHING:
            until = f"{run.item.monitor_until:%H:%M:%S} UTC"
            return WaitFor(WaitKind.MONITOR, f"Production is watched until {until}: {said}.", run.item.deployed)
        case Watched.HEALTHY:
            return Advance(done, f"Production was healthy for {run.project.monitor_window_s:g} s: {said}.")
        case Watched.INCONCLUSIVE:
            return Block(f"Nobody could tell for the whole window whether production is healthy: {said}.")
        case Watched.DEGRADED:
            return await _not_well(run, f"Production is degraded: {said}.")


async def _early(run: Run) -> WaitFor | None:
    """The wait for the next look that is not due yet: looks that come quicker would use up the failures that are forgiven."""
    kind, commit, now = WaitKind.MONITOR, run.item.deployed, run.root.now()
    wait = await run.root.store.aread(waits.early, run.item.id, kind, commit, now)
    return WaitFor(kind, wait.sentence, commit) if wait else None


async def _not_well(run: Run, why: str) -> Block:
    """Production is not well: roll back and revert what may be, then call a person."""
    told = [why, await production.roll_back(run.item.key, run.lease)]
    in_time = not production.window_is_over(run.item, run.project, run.root.now())
    if run.project.revert_when_degraded and in_time and not run.project.self_hosting:
        told.append(await reverting.revert(run.root, run.item, run.project, run.lease))
    return Block(" ".join(told), degraded=True)


@flow(name="deploy", flow_run_name="{work_item} · deploy")
async def deploy(work_item: str) -> State[None]:
    """Confirmed by a person, landed as tested, deployed, verified and watched. Harmless at any other stage."""
    return await at_stage(work_item, Stage.DEPLOY, confirm_land_and_deploy)
