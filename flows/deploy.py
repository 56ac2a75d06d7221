"""A person confirms, the validated commit lands, and what serves production is verified."""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from flows.deploy_staging import defer
from flows.stage import Run, at_stage
from pipeline.decide import Ask, Escalate, Outcome, RollBack, WaitFor
from pipeline.errors import CouldNotRun, Refused
from pipeline.model import Landed, MovedOn, Protected, WaitKind
from pipeline.stages import Stage
from pipeline.store import items, waits
from tasks import landing
from tasks.landing import Busy, merge_turn


async def confirm_and_land(run: Run) -> Run | Outcome:
    """Ask for the confirmation of exactly the validated commit, then land exactly that."""
    if run.item.landed is None:
        if run.item.validated is None:
            raise CouldNotRun(
                f"{run.item.key} is at deploy without a validated commit; `orch retry` validates it again."
            )
        if not await _confirmed(run):
            return Ask(WaitKind.CONFIRMATION, f"Deploy {run.item.validated[:12]} to production?", run.item.validated)
        run = await run.again()
        kept = await _land(run)
        if kept is not None:
            return kept
    try:
        await landing.mark_pull(run.item.key)
    except Refused as error:  # the change has landed; what the pull request looks like keeps nobody from done
        get_run_logger().warning("the pull request could not be marked: %s", error)
    return await run.again()


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
    """Land under the merge lock; None once the default branch is the validated commit."""
    async with merge_turn(run.root, run.item, run.project) as turn:
        if isinstance(turn, Busy):
            return await defer(run) or WaitFor(WaitKind.MERGE_TURN, turn.sentence, run.item.validated)
        outcome = await landing.land(run.item.key, run.lease, turn)
    match outcome:
        case Landed():
            return None
        case MovedOn(found):
            return _revalidate(run, found)
        case Protected(reason):
            raise Refused(f"The default branch cannot be moved: {reason} Allow Orch's user to push to it, then retry.")


def _revalidate(run: Run, found: str | None) -> Outcome:
    """The default branch moved on after validation: nothing landed, the merge gate runs again. No verdict, no attempt."""
    why = f"{run.project.default_branch} moved on to {(found or 'nothing')[:12]} after the validation; nothing landed."
    if run.item.visits.get(Stage.DEPLOY.value, 0) > run.root.settings.max_revalidations:
        return Escalate(f"{why} It has been at deploy too often.")
    return RollBack(Stage.DEPLOY_STAGING, None, why, feedback="")


@flow(name="deploy", flow_run_name="{work_item} · deploy")
async def deploy(work_item: str) -> State[None]:
    """Confirmed by a person, landed as tested, verified. Harmless at any other stage."""
    return await at_stage(work_item, Stage.DEPLOY, confirm_and_land)
