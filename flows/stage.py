"""The shape that all stages share: claim the item, do what is missing, ask the gates, and leave as they say.

Every stage flow may run at any time, any number of times. It ends *Completed* with a sentence whenever there is
nothing to do, suspends while a person has to decide, and ends, named for what it waits for, while a machine has to.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from prefect import runtime
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.flow_runs import asuspend_flow_run
from prefect.logging import get_run_logger
from prefect.states import Completed
from sqlmodel import Session

from pipeline import decide
from pipeline.decide import Advance, Answered, Ask, Escalate, Outcome, RollBack, WaitFor
from pipeline.errors import CouldNotRun, LeaseLost, Refused, SettingsError, StaleWrite, Unavailable
from pipeline.model import Answer, Hold, MergeAttempt, WaitKind, WorkItem
from pipeline.projects import Project
from pipeline.stages import ROWS, Row, Stage
from pipeline.store import items, outbox, reactions, waits
from pipeline.store.leases import Lease
from tasks import gates, ownership, people, prefect_api
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
    claimed = await _claim(root, work_item, stage, run_id)
    if isinstance(claimed, ownership.NotNow):
        get_run_logger().info(claimed.sentence)
        return Completed(name=claimed.name, message=claimed.sentence)
    await prefect_api.rename(
        run_id,
        name=f"{work_item} · {stage} · {claimed.item.visit}",
        tags=[f"item:{work_item}", f"project:{claimed.item.project}"],
    )
    try:
        with ownership.renewed(root, claimed.lease):
            run = Run(root, claimed.item, root.project(claimed.item.project), claimed.lease, run_id)
            return await _guarded(run, work)
    finally:
        await asyncio.to_thread(ownership.release, root.store, claimed, root.now())
        await deliver(root, work_item)


async def _claim(root: Services, key: str, stage: Stage, run_id: str) -> ownership.Claimed | ownership.NotNow:
    for _ in range(OWN_PREDECESSOR_S * 2):
        claimed = await asyncio.to_thread(ownership.claim, root, key, stage, run_id)
        if isinstance(claimed, ownership.Claimed) or claimed.owner != run_id:
            return claimed
        await asyncio.sleep(0.5)
    return claimed


async def _guarded(run: Run, work: Work) -> State[None]:
    """One pass. A neighbour that stays away is waited for; what only a person can mend holds the item, a bug included."""
    try:
        return await _passes(run, work)
    except (StaleWrite, LeaseLost) as error:
        return Completed(name="Overtaken", message=str(error))
    except Unavailable as error:
        await run.root.store.awrite(_wait, run, WaitFor(WaitKind.BACK_OFF, str(error), None))
        return Completed(name=f"Waiting for {WAITING[WaitKind.BACK_OFF]}", message=str(error))
    except (CouldNotRun, Refused, SettingsError) as error:
        await _hold(run, Hold.BLOCKED, str(error))
        return Completed(name="Blocked", message=str(error))
    except Exception as error:
        await _hold(run, Hold.BLOCKED, f"A bug in Orch stopped its run at {run.item.stage}: {error!r}.")
        raise


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
    await acreate_table_artifact(
        key=f"gates-{run.item.key.lower()}",
        table=[{"gate": a.gate, "answer": a.result.answer.value, "sentence": a.result.sentence} for a in answers],
        description=f"Gates of {run.item.key} at {run.item.stage}, visit {run.item.visit}",
    )
    return decide.on_gates(run.item, answers, cap=run.root.caps)


async def _follow(run: Run, outcome: Outcome) -> State[None]:
    match outcome:
        case Advance(to, why):
            await run.root.store.awrite(_advance, run, to, why)
            return Completed(name=f"To {to}", message=why)
        case RollBack(to=to, why=why):
            await run.root.store.awrite(_roll_back, run, outcome)
            return Completed(name=f"Back to {to}", message=why)
        case Escalate(why):
            await _hold(run, Hold.ESCALATED, why)
            return Completed(name="Escalated", message=why)
        case WaitFor(kind, sentence, _):
            await run.root.store.awrite(_wait, run, outcome)
            return Completed(name=f"Waiting for {WAITING[kind]}", message=sentence)
        case Ask():
            raise AssertionError("a person is asked before this")


WAITING: dict[WaitKind, str] = {
    WaitKind.CI: "CI",
    WaitKind.MERGE_TURN: "its merge turn",
    WaitKind.BACK_OFF: "the next try",
}


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
    moved = items.move(
        session, run.item, back.to, actor=ACTOR, reason=back.why, run=run.run_id, token=run.lease.token, now=now,
        spend=back.role, feedback=back.feedback,
    )  # fmt: skip
    html = run.root.texts("rolled_back", key=moved.key, from_stage=run.item.stage, to_stage=back.to, reason=back.why)
    reactions.tell(session, moved.key, html, f"back:{moved.id}:{moved.version}", now)
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
        reactions.tell(session, moved.key, html, f"done:{moved.id}", now)
    elif not moved.stage.terminal:
        outbox.enter(session, moved.key, moved.stage, now)


def _wait(session: Session, run: Run, wait: WaitFor) -> None:
    """Write the machine's wait; news that came while we looked wakes the item again at once."""
    settings, now = run.root.settings, run.root.now()
    look_again, deadline = settings.ci_look_again_s, settings.ci_deadline_s
    if wait.kind is WaitKind.MERGE_TURN:
        look_again = settings.merge_defer_s
    elif wait.kind is WaitKind.BACK_OFF:
        look_again = settings.outage_look_again_s
    waits.begin(
        session,
        run.item,
        wait.kind,
        key=f"{wait.kind}-{run.item.id}-{run.item.version}-{run.run_id}",
        sentence=wait.sentence,
        now=now,
        commit=wait.commit,
        flow_run_id=run.run_id,
        deadline=now + timedelta(seconds=deadline),
        look_again_at=now + timedelta(seconds=look_again),
    )
    outbox.status(session, run.item.key, now)
    if waits.has_news(session, run.item):
        outbox.wake(session, run.item.key, now)


async def ask_person(run: Run, ask: Ask) -> None:
    """Suspend until a person has decided; returns once a decision that counts is on record, or none is needed.

    The wait row is written, decisions are read once more, and only then the run suspends. In the resumed run the same
    call returns with the form's content, which counts only while its wait is open.
    """
    wait = await people.begin(run.root, run.item, ask, run.run_id)
    await deliver(run.root, run.item.key)
    if not await run.root.store.aread(people.already_decided, run.item, wait):
        form = await asuspend_flow_run(
            wait_for_input=people.FORMS[ask.kind].with_initial_data(description=_described(run, ask)), key=wait.key
        )
        await run.root.store.awrite(people.take_form, run.item, wait, form, run.root)
    await run.root.store.awrite(waits.close, run.item.id, "looked at again", run.root.now())


def _described(run: Run, ask: Ask) -> str:
    return f"**{run.item.key}** · {run.item.stage} · commit `{ask.commit[:12]}`\n\n{ask.sentence}"


async def _hold(run: Run, kind: Hold, why: str) -> None:
    get_run_logger().warning("%s is held: %s", run.item.key, why)
    await run.root.store.awrite(_write_hold, run, kind, why)


def _write_hold(session: Session, run: Run, kind: Hold, why: str) -> None:
    """Hold the item, unless somebody has taken it over or moved it meanwhile."""
    now = run.root.now()
    row = items.lock(session, run.item.id)
    if row.version == run.item.version:
        reactions.hold(session, run.item, kind, why, now, run.root.texts)
