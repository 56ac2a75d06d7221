"""The shape that all stages share: claim the item, do what is missing, ask the gates, and leave as they say.

Every stage flow may run at any time, any number of times. It ends *Completed* with a sentence whenever there is
nothing to do, suspends while a person has to decide, and ends, named for what it waits for, while a machine has to.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
from prefect import runtime
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.exceptions import ObjectNotFound, Pause, PrefectHTTPStatusError
from prefect.flow_runs import asuspend_flow_run
from prefect.logging import get_run_logger
from prefect.states import Completed
from sqlmodel import Session

from pipeline import outcomes
from pipeline.errors import CouldNotRun, LeaseLost, Refused, SettingsError, StaleWrite, Unavailable
from pipeline.model import Answer, Hold, MergeAttempt, WaitKind, WorkItem
from pipeline.outcomes import Advance, Answered, Ask, Block, Escalate, Outcome, RollBack, WaitFor
from pipeline.projects import Project
from pipeline.stages import ROWS, STREAM, Row, Stage
from pipeline.store import items, outbox, reactions, waits
from pipeline.store.leases import Lease
from tasks import entrance, gates, healing, labels, ownership, people, prefect_api, production, stop_listener
from tasks.outbox import deliver
from tasks.services import Services, services

ACTOR = "orch"
OWN_PREDECESSOR_S = 15
"""How long a resumed run waits for its own earlier process, which may still be on its way out."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a stage: the item as it was last read, and the proof that it is ours."""

    root: Services
    item: WorkItem
    project: Project
    lease: Lease
    run_id: str
    merge: MergeAttempt | None = None

    @property
    def row(self) -> Row:
        """The item's line of the state machine."""
        return ROWS[self.item.stage]

    async def again(self) -> "Run":
        """The same run with the item read anew. Raises `StaleWrite` when it has moved on or was held."""
        found = await self.root.store.aread(items.find, self.item.key)
        if found is None or (found.stage, found.version) != (self.item.stage, self.item.version):
            raise StaleWrite(f"{self.item.key} was moved while this run worked on it.")
        return replace(self, item=found)


Work = Callable[[Run], Awaitable[Run | Outcome]]
"""What a stage does before its gates are asked: the run with what was found, or where it leads at once."""


async def at_stage(work_item: str, stage: Stage, work: Work) -> State[None]:
    """Run one stage of one item as far as it can go, and say in the final state how far that was."""
    root = await services()
    run_id = str(runtime.flow_run.id)
    await healing.drain(root, work_item)  # what was said while another stage's run owned the item
    await entrance.refresh(root, work_item)
    claimed = await _claim(root, work_item, stage, run_id)
    if isinstance(claimed, ownership.NotNow):
        get_run_logger().info(claimed.sentence)
        return Completed(name=claimed.name, message=claimed.sentence)
    in_order = False
    try:
        with ownership.renewed(root, claimed.lease), stop_listener.listening(root, claimed):
            state = await _guarded(root, claimed, run_id, work)
        in_order = True
        return state
    except Pause:
        in_order = True
        raise
    finally:
        await asyncio.to_thread(ownership.release, root.store, claimed, root.now(), in_order=in_order)
        await deliver(root, work_item)


async def _claim(root: Services, key: str, stage: Stage, run_id: str) -> ownership.Claimed | ownership.NotNow:
    for _ in range(OWN_PREDECESSOR_S * 2):
        claimed = await asyncio.to_thread(ownership.claim, root, key, stage, run_id)
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
        asked = error.retry_after if isinstance(error, Unavailable) else None
        return await _back_off(root, claimed, run_id, str(error) or repr(error), asked or 0)
    except (CouldNotRun, Refused, SettingsError) as error:
        await _hold(root, item, Hold.BLOCKED, str(error), ends_deploy=not root.project(item.project).self_hosting)
        return Completed(name="Blocked", message=str(error))
    except Exception as error:
        await _hold(root, item, Hold.BLOCKED, f"A bug in Orch stopped its run at {item.stage}: {error!r}.")
        raise


async def _present(run: Run) -> None:
    """The name and tags by which people find the run."""
    await prefect_api.rename(
        run.run_id,
        name=f"{run.item.key} · {run.item.stage} · {run.item.visit}",
        tags=[f"item:{run.item.key}", f"project:{run.item.project}"],
    )


async def _back_off(root: Services, claimed: ownership.Claimed, run_id: str, why: str, asked_s: float) -> State[None]:
    """End, and look again later, not before `asked_s` seconds from now.

    A human wait that is open stays: its run is replaced by the tick.
    """
    try:
        await root.store.awrite(_wait, root, claimed, run_id, WaitFor(WaitKind.BACK_OFF, why, None), asked_s)
    except (StaleWrite, LeaseLost) as error:
        return Completed(name="Overtaken", message=str(error))
    return Completed(name=f"Waiting for {WAITING[WaitKind.BACK_OFF]}", message=why)


async def _passes(run: Run, work: Work) -> State[None]:
    """Work and ask until the stage is left; a person's decision starts another round."""
    await _take_form(run)
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


async def _take_form(run: Run) -> None:
    """In a resumed run: take what the person wrote before anything else can fail.

    A suspension whose key has been used returns its form at once; an undecided form changes nothing.
    """
    wait = await run.root.store.aread(waits.open_wait, run.item.id)
    if wait is None or not wait.kind.human or wait.flow_run_id != run.run_id or wait.stage is not run.item.stage:
        return
    form = await asuspend_flow_run(wait_for_input=people.FORMS[wait.kind], key=wait.key)
    await run.root.store.awrite(people.take_form, run.item, wait, form, run.root)


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
            await run.root.store.awrite(_advance, run, to, why)
            return Completed(name=f"To {to}", message=why)
        case RollBack(to=to, why=why):
            await run.root.store.awrite(_roll_back, run, outcome)
            return Completed(name=f"Back to {to}", message=why)
        case Escalate(why):
            await _hold(run.root, run.item, Hold.ESCALATED, why)
            return Completed(name="Escalated", message=why)
        case WaitFor(kind, sentence, _):
            claimed = ownership.Claimed(run.item, run.lease)
            await run.root.store.awrite(_wait, run.root, claimed, run.run_id, outcome)
            if kind in TIMED:
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


TIMED = (WaitKind.DEPLOY, WaitKind.MONITOR)
"""Waits whose next look has a time: its run is scheduled at once; the tick makes good one that is lost."""


async def _look_again_in_time(run: Run) -> None:
    wait = await run.root.store.aread(waits.open_wait, run.item.id)
    if wait is None or wait.look_again_at is None:
        return
    try:
        await prefect_api.start(
            run.item.stage.value, {"work_item": run.item.key}, name=f"{run.item.key} · {run.item.stage}",
            tags=[f"item:{run.item.key}", f"project:{run.item.project}"], at=wait.look_again_at,
        )  # fmt: skip
    except (httpx.HTTPError, PrefectHTTPStatusError, ObjectNotFound) as error:
        get_run_logger().warning("the next look could not be scheduled; the tick starts it: %r", error)


def _advance(session: Session, run: Run, to: Stage, why: str) -> None:
    now = run.root.now()
    changes: dict[str, Any] = {"feedback": ""}
    if run.item.stage is Stage.ANALYSIS:
        changes["approved"] = run.item.tip
    moved = items.move(
        session, run.item, to, actor=ACTOR, reason=why, run=run.run_id, token=run.lease.token, now=now, **changes
    )
    _announce(session, run, moved)


def _roll_back(session: Session, run: Run, back: RollBack) -> None:
    now = run.root.now()
    found = {"tip": back.found.tip, "head": back.found.head, "pushing": None} if back.found else {}
    moved = items.move(
        session, run.item, back.to, actor=ACTOR, reason=back.why, run=run.run_id, token=run.lease.token, now=now,
        spend=back.role, feedback=back.feedback, **found,
    )  # fmt: skip
    html = run.root.texts("rolled_back", key=moved.key, from_stage=run.item.stage, to_stage=back.to, reason=back.why)
    reactions.tell(session, moved.key, html, f"back:{moved.id}:{moved.version}", now, voice=STREAM)
    _announce(session, run, moved)


def _announce(session: Session, run: Run, moved: WorkItem) -> None:
    """What follows a stage write: the next stage's event, the card, and the message at the end."""
    now = run.root.now()
    outbox.status(session, moved.key, now)
    if moved.stage is Stage.DONE:
        html = run.root.texts(
            "done", key=moved.key, title=moved.title, commit=moved.landed or "", branch=run.project.default_branch
        )
        reactions.say(session, moved.key, html, f"done:{moved.id}", now)
        reactions.tell(session, moved.key, html, f"done:{moved.id}", now, voice=STREAM)
    elif not moved.stage.terminal:
        outbox.enter(session, moved.key, moved.stage, now)


def _wait(
    session: Session, root: Services, claimed: ownership.Claimed, run_id: str, wait: WaitFor, at_least_s: float = 0
) -> None:
    """Write the machine's wait; news that came while we looked wakes the item again at once."""
    settings, now = root.settings, root.now()
    item = items.update(session, claimed.item, claimed.lease.token, now)
    if item.version != claimed.item.version:
        raise StaleWrite(f"{item.key} was moved or held while this run looked at it.")
    look_again = {
        WaitKind.MERGE_TURN: settings.merge_defer_s,
        WaitKind.BACK_OFF: settings.outage_look_again_s,
        WaitKind.DEPLOY: settings.deploy_look_again_s,
        WaitKind.MONITOR: root.project(item.project).monitor_interval_s,
    }
    pause_s = max(look_again.get(wait.kind, settings.ci_look_again_s), at_least_s)
    patience = {WaitKind.FREEZE: settings.person_deadline_s}
    waits.begin(
        session,
        item,
        wait.kind,
        key=f"{wait.kind}-{item.id}-{item.version}-{run_id}",
        sentence=wait.sentence,
        now=now,
        commit=wait.commit,
        flow_run_id=run_id,
        deadline=now + timedelta(seconds=patience.get(wait.kind, settings.ci_deadline_s)),
        look_again_at=now + timedelta(seconds=pause_s),
    )
    outbox.status(session, item.key, now)
    if waits.has_news(session, item):
        outbox.wake(session, item.key, now)


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
    await root.store.awrite(_write_hold, root, item, kind, why, ends_deploy=ends_deploy, text=text)


def _write_hold(
    session: Session, root: Services, item: WorkItem, kind: Hold, why: str, *, ends_deploy: bool, text: str = ""
) -> None:
    """Hold the item, unless somebody has taken it over, moved it or is stopping it meanwhile.

    A deploy of it that was under way has failed by this, in the same transaction: only a retry begins another.
    """
    row = items.lock(session, item.id)
    if row.version == item.version and row.cancel_requested_at is None:
        if ends_deploy and row.landed is not None:
            production.end_failed(session, items.snapshot(row), why, root.now())
        reactions.hold(session, item, kind, why, root.now(), root.texts, text=text)
