"""The shape that all stages share: claim the item, do what is missing, ask the gates, and leave as they say.

Every stage flow may run at any time, any number of times. It ends *Completed* with a sentence whenever there is
nothing to do, suspends while a person has to decide, and ends, named for what it waits for, while a machine has to.
"""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
from prefect import runtime
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.exceptions import ObjectNotFound, Pause, PrefectHTTPStatusError
from prefect.flow_runs import asuspend_flow_run
from prefect.logging import get_run_logger
from prefect.states import Completed

from flows import leaving
from flows.run import Run
from pipeline import outcomes
from pipeline.errors import CouldNotRun, LeaseLost, Refused, SettingsError, StaleWrite, TurnedAway, Unavailable
from pipeline.model import Answer, Hold, WaitKind, WorkItem
from pipeline.outcomes import Advance, Answered, Ask, Block, Escalate, Outcome, RollBack, WaitFor
from pipeline.stages import Stage
from pipeline.store import due, waits
from tasks import entrance, gates, labels, looks, ownership, people, prefect_api, signals, stop_listener
from tasks.outbox import deliver
from tasks.services import Services, services
from tasks.turned_away import refusal

OWN_PREDECESSOR_S = 15
"""How long a resumed run waits for its own earlier process, which may still be on its way out."""


Work = Callable[[Run], Awaitable[Run | Outcome]]
"""What a stage does before its gates are asked: the run with what was found, or where it leads at once."""


async def at_stage(work_item: str, stage: Stage, work: Work) -> State[None]:
    """Run one stage of one item as far as it can go, and say in the final state how far that was."""
    root = await services()
    run_id = str(runtime.flow_run.id)
    gone = await _hear_form(root, work_item, run_id)
    await signals.drain(root, work_item)  # what was said while another stage's run owned the item
    await entrance.refresh(root, work_item)
    claimed = await _claim(root, work_item, stage, run_id, gone)
    if isinstance(claimed, ownership.NotNow):
        get_run_logger().info(claimed.sentence)
        return Completed(name=claimed.name, message=claimed.sentence)
    try:
        with ownership.renewed(root, claimed.lease), stop_listener.listening(root, claimed):
            state = await _guarded(root, claimed, run_id, work)
    except Pause:
        await _give_back(root, claimed, in_order=True)
        raise
    except Exception:
        await _give_back(root, claimed, in_order=False)
        raise
    # A run that is told to end (TERM: its host goes down, a person cancels it) keeps its lease, as a killed one does:
    # whoever finds it dead asks what it died of.
    await _give_back(root, claimed, in_order=True)
    return state


async def _give_back(root: Services, claimed: ownership.Claimed, *, in_order: bool) -> None:
    await asyncio.to_thread(ownership.release, root.store, claimed, root.now(), in_order=in_order)
    await deliver(root, claimed.item.key)


async def _hear_form(root: Services, work_item: str, run_id: str) -> str | None:
    """Take what a person wrote into this run's form, or into that of a run which is gone; the id of the one that is gone.

    Before anything can keep this run out, or close the wait that is answered by it.
    """
    found = await root.store.aread(due.standing, work_item)
    if found is None or found.wait is None or not found.wait.kind.human:
        return None
    gone = None if found.wait.flow_run_id == run_id else await people.gone_run(root, found)
    if found.wait.flow_run_id in (run_id, gone):
        await people.hear_form(root, found.item, found.wait)
    return gone


async def _claim(
    root: Services, key: str, stage: Stage, run_id: str, gone: str | None
) -> ownership.Claimed | ownership.NotNow:
    for _ in range(OWN_PREDECESSOR_S * 2):
        claimed = await asyncio.to_thread(ownership.claim, root, key, stage, run_id, gone=gone)
        if isinstance(claimed, ownership.Claimed) or claimed.owner != run_id:
            return claimed
        await asyncio.sleep(0.5)
    return claimed


async def _guarded(root: Services, claimed: ownership.Claimed, run_id: str, work: Work) -> State[None]:
    """One pass. A neighbour that stays away is waited for; what only a person can mend holds the item, a bug included."""
    item = claimed.item
    try:
        run = Run(root, item, root.project(item.project), claimed.lease, run_id)
        await _present(run)
        return await _passes(run, work)
    except (StaleWrite, LeaseLost) as error:
        return Completed(name="Overtaken", message=str(error))
    except (Unavailable, httpx.HTTPError, ConcurrencySlotAcquisitionError) as error:
        if isinstance(error, TurnedAway) and (refused := await refusal(root, root.project(item.project), error)):
            return await _blocked(root, item, refused)
        asked = error.retry_after if isinstance(error, Unavailable) else None
        return await _back_off(root, claimed, run_id, str(error) or repr(error), asked or 0)
    except ObjectNotFound:
        why = "Prefect knows this run no more: its database was put back to an earlier moment, or made anew."
        return await _back_off(root, claimed, run_id, why, 0)
    except (CouldNotRun, Refused, SettingsError) as error:
        return await _blocked(root, item, str(error))
    except Exception as error:
        await _hold(root, item, Hold.BLOCKED, f"A bug in Orch stopped its run at {item.stage}: {error!r}.")
        raise


async def _blocked(root: Services, item: WorkItem, why: str) -> State[None]:
    """Hold the item for what only a person can mend; a deploy that is open ends with it, but for Orch's own."""
    project = root.projects.get(item.project)
    await _hold(root, item, Hold.BLOCKED, why, ends_deploy=project is not None and not project.self_hosting)
    return Completed(name="Blocked", message=why)


async def _present(run: Run) -> None:
    """The name and tags by which people find the run."""
    await prefect_api.rename(
        run.run_id,
        name=f"{run.item.key} · {run.item.stage} · {run.item.visit}",
        tags=[f"item:{run.item.key}", f"project:{run.item.project}"],
    )


async def _back_off(root: Services, claimed: ownership.Claimed, run_id: str, why: str, asked_s: float) -> State[None]:
    """End, and look again later, not before `asked_s` seconds from now."""
    try:
        await root.store.awrite(leaving.wait_for, root, claimed, run_id, WaitFor(WaitKind.BACK_OFF, why, None), asked_s)
    except (StaleWrite, LeaseLost) as error:
        return Completed(name="Overtaken", message=str(error))
    return Completed(name=f"Waiting for {WAITING[WaitKind.BACK_OFF]}", message=why)


async def _passes(run: Run, work: Work) -> State[None]:
    """Work and ask until the stage is left; a person's decision starts another round."""
    while True:
        run = await run.again()
        worked = await work(run)
        if isinstance(worked, Run):
            run = await worked.again()
            worked = await leave(run)
        if not isinstance(worked, Ask):
            return await _follow(run, worked)
        if await labels.lifts(run.root, run.item, worked):
            continue
        await ask_person(run, worked)


async def leave(run: Run) -> Outcome:
    """Ask the stage's gates in order, up to the first that is not green, and show the answers on the run's page."""
    answers: list[Answered] = []
    for gate in run.row.gates:
        result = await gates.ask(run.item.key, gate, run.run_id, run.merge)
        get_run_logger().info("%s: %s: %s", gate, result.answer, result.sentence)
        answers.append(Answered(gate, result))
        if result.answer in (Answer.FAIL, Answer.PENDING):
            break
    await _show(run, answers)
    return outcomes.on_gates(run.item, answers, cap=run.root.caps)


async def _show(run: Run, answers: list[Answered]) -> None:
    """The answers as a table on the run's page; they are in the store already, so a page without it is no harm."""
    table = [{"gate": a.gate, "answer": a.result.answer.value, "sentence": a.result.sentence} for a in answers]
    about = f"Gates of {run.item.key} at {run.item.stage}, visit {run.item.visit}"
    try:
        await acreate_table_artifact(key=f"gates-{run.item.key.lower()}", table=table, description=about)
    except httpx.HTTPError as error:
        get_run_logger().warning("the gates' table could not be shown: %r", error)


async def _follow(run: Run, outcome: Outcome) -> State[None]:
    match outcome:
        case Advance(to, why):
            await run.root.store.awrite(leaving.advance, run, to, why)
            return Completed(name=f"To {to}", message=why)
        case RollBack(to=to, why=why):
            await run.root.store.awrite(leaving.roll_back, run, outcome)
            return Completed(name=f"Back to {to}", message=why)
        case Escalate(why):
            await _hold(run.root, run.item, Hold.ESCALATED, why)
            return Completed(name="Escalated", message=why)
        case WaitFor(kind, sentence, _):
            claimed = ownership.Claimed(run.item, run.lease)
            if await run.root.store.awrite(leaving.wait_for, run.root, claimed, run.run_id, outcome):
                await _look_again_in_time(run)
            return Completed(name=f"Waiting for {WAITING[kind]}", message=sentence)
        case Block(why, degraded):
            text = "degraded" if degraded else ""
            await _hold(run.root, run.item, Hold.BLOCKED, why, ends_deploy=True, text=text)
            return Completed(name="Blocked", message=why)
        case Ask():
            raise AssertionError("a person is asked before this")


WAITING: dict[WaitKind, str] = {
    WaitKind.CI: "CI",
    WaitKind.MERGE_TURN: "its merge turn",
    WaitKind.DEPLOY: "its deploy",
    WaitKind.MONITOR: "the next look at production",
    WaitKind.BACK_OFF: "the next try",
    WaitKind.FREEZE: "the thaw",
}


async def _look_again_in_time(run: Run) -> None:
    wait = await run.root.store.aread(waits.open_wait, run.item.id)
    if wait is None or wait.look_again_at is None:
        return
    try:
        await prefect_api.start(
            run.item.stage.value, {"work_item": run.item.key}, name=f"{run.item.key} · {run.item.stage}",
            tags=[f"item:{run.item.key}", f"project:{run.item.project}"], at=wait.look_again_at,
            queue=looks.queue_of(wait),
        )  # fmt: skip
    except (httpx.HTTPError, PrefectHTTPStatusError, ObjectNotFound) as error:
        get_run_logger().warning("the next look could not be scheduled; the tick starts it: %r", error)


async def ask_person(run: Run, ask: Ask) -> None:
    """Suspend until a person has decided; returns once a decision that counts is on record, or none is needed.

    The wait row is written, decisions are read once more, and only then the run suspends. In the resumed run the same
    call returns with the form's content, which counts only while its wait is open.
    """
    wait = await people.begin(run.root, ownership.Claimed(run.item, run.lease), ask, run.run_id)
    await deliver(run.root, run.item.key)
    if not await run.root.store.aread(people.already_decided, run.item, wait):
        form = await asuspend_flow_run(
            wait_for_input=people.FORMS[ask.kind].with_initial_data(description=_described(run, ask)), key=wait.key
        )
        await run.root.store.awrite(people.take_form, run.item, wait, form, run.root)
    await run.root.store.awrite(waits.close, run.item.id, "looked at again", run.root.now())


def _described(run: Run, ask: Ask) -> str:
    return f"**{run.item.key}** · {run.item.stage} · commit `{ask.commit[:12]}`\n\n{ask.sentence}"


async def _hold(
    root: Services, item: WorkItem, kind: Hold, why: str, *, ends_deploy: bool = False, text: str = ""
) -> None:
    get_run_logger().warning("%s is held: %s", item.key, why)
    await root.store.awrite(leaving.hold, root, item, kind, why, ends_deploy=ends_deploy, text=text)
