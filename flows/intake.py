"""A card that was moved to To Analyse becomes a work item, once, however many ask."""

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed
from sqlmodel import Session

from pipeline.branches import branch_name
from pipeline.errors import Missing, Refused, StaleWrite
from pipeline.messages import as_comment
from pipeline.model import Answer, GateResult, TrackerItem, WorkItem
from pipeline.projects import Project
from pipeline.signals import Signal
from pipeline.stages import ENTRY_GATE, TABLE
from pipeline.store import evidence, inbox, items, outbox, reactions
from pipeline.store.inbox import StoredSignal
from tasks import gates, refusals, signals, tracker
from tasks.outbox import deliver
from tasks.services import Services, services


@flow(name="intake", flow_run_name="{work_item} · intake")
async def intake(work_item: str) -> State[None]:
    """Read the card, ask whether it is complete, and create the item at its first stage. Idempotent."""
    root = await services()
    try:
        return await _intake(root, work_item)
    finally:
        await deliver(root, work_item)


async def _intake(root: Services, key: str) -> State[None]:
    project = root.projects.of_work_item(key)
    if project is None:
        said = f"No project of the registry has items like {key}."
        await root.store.awrite(_consume, key, f"refused: {said}", root)
        return Completed(name="Unknown project", message=said)
    if await root.store.aread(items.find, key) is not None:
        followed = await signals.drain(root, key)
        return Completed(name="Started before", message=" ".join(followed) or f"{key} is a work item already.")
    try:
        card = await tracker.read_card(project.key, key)
    except Missing as error:
        await root.store.awrite(_gone, root, key, str(error))
        return Completed(name="No such card", message=str(error))
    except Refused as error:  # a token was rotated, Orch is no member: the start waits until that is mended
        await root.store.awrite(refusals.refused, root, project, refusals.START, str(error))
        return Completed(name="Plane refuses", message=str(error))
    await root.store.awrite(refusals.worked, project, refusals.START)
    candidate = _candidate(root, project, key, card)
    result = await gates.answer(root, candidate, project, ENTRY_GATE, None, description=card.description)
    try:
        if result.answer is not Answer.PASS:
            await root.store.awrite(_refuse, root, candidate, card, result)
            return Completed(name="Not complete", message=result.sentence)
        item, created = await root.store.awrite(_create, root, candidate, result)
    except StaleWrite as error:
        return Completed(name="Nobody asks for it", message=str(error))
    if not created:
        return Completed(name="Started before", message=f"{key} was started by another run.")
    return Completed(name=f"To {item.stage}", message=result.sentence)


def _candidate(root: Services, project: Project, key: str, card: TrackerItem) -> WorkItem:
    """The item as it would be, for the gate to look at; it exists nowhere yet."""
    now = root.now()
    return WorkItem(
        id=0,
        key=key,
        project=project.key,
        tracker_id=card.id,
        title=card.title,
        branch=branch_name(key, card.title),
        stage=TABLE[0].at,
        version=0,
        attempts={},
        visits={},
        created_at=now,
        entered_at=now,
        priority=card.priority,
    )


def _create(session: Session, root: Services, candidate: WorkItem, result: GateResult) -> tuple[WorkItem, bool]:
    """The item, and whether it was created now. Raises `StaleWrite` when nobody asks for it any more."""
    now, run = root.now(), str(runtime.flow_run.id)
    known = items.find(session, candidate.key)
    asked = _asked_for(session, candidate.key) if known is None else _starts(session, candidate.key)
    item, created = items.create(
        session,
        items.NewItem(
            key=candidate.key,
            project=candidate.project,
            tracker_id=candidate.tracker_id,
            title=candidate.title,
            branch=candidate.branch,
            priority=candidate.priority,
        ),
        actor=asked[0].actor if asked else "prefect",
        reason=result.sentence,
        run=run,
        now=now,
    )
    for stored in asked:
        inbox.consume(session, stored.id, "started" if created else "started before", now)
    if created:
        evidence.gate_answered(session, item_key=item.key, item=item, gate=ENTRY_GATE, result=result, run=run, now=now)
        outbox.enter(session, item.key, item.stage, now)
        outbox.status(session, item.key, now)
    return item, created


def _refuse(session: Session, root: Services, candidate: WorkItem, card: TrackerItem, result: GateResult) -> None:
    """Say why on the card and show it blocked; the next To Analyse asks again. Raises `StaleWrite` as `_create` does."""
    now, key = root.now(), candidate.key
    _asked_for(session, key)
    evidence.gate_answered(
        session, item_key=key, item=None, gate=ENTRY_GATE, result=result, run=str(runtime.flow_run.id), now=now
    )
    _consume(session, key, f"refused: {result.sentence}", root)
    once = f"intake:{key}:{card.updated_at.isoformat()}"
    html = as_comment(root.texts("intake_refused", key=key, why=result.sentence))
    payload = {"html": html, "external_id": once, "tracker_id": candidate.tracker_id}
    if outbox.put(session, outbox.Kind.COMMENT, key, payload, now, dedupe=f"comment:{once}"):
        outbox.put(
            session, outbox.Kind.STATUS, key, {outbox.REFUSED: candidate.tracker_id}, now, dedupe=f"status:{once}"
        )
        reactions.say(session, key, root.texts("intake_refused", key=key, why=result.sentence), once, now)


def _gone(session: Session, root: Services, key: str, why: str) -> None:
    """Nothing can come of the start of a card that is gone; who asked for it is told, once each time."""
    asked = _starts(session, key)
    _consume(session, key, f"refused: {why}", root)
    if asked:
        html = root.texts("start_gone", key=key, why=why)
        reactions.say(session, key, html, f"start-gone:{asked[-1].id}", root.now())


def _asked_for(session: Session, key: str) -> list[StoredSignal]:
    """Who asks for the item to be started; nobody when it is started by hand in Prefect.

    Raises `StaleWrite` when those who asked have all been answered: this run comes late, by an event that came twice or
    after a STOP, and would start what was refused, has been stopped, or was never to begin.
    """
    asked = _starts(session, key)
    if not asked and inbox.heard(session, key, Signal.START_REQUESTED):
        raise StaleWrite(f"Nobody asks for {key} to be started any more; move its card to To Analyse.")
    return asked


def _starts(session: Session, key: str) -> list[StoredSignal]:
    return [stored for stored in inbox.unconsumed(session, key) if stored.signal is Signal.START_REQUESTED]


def _consume(session: Session, key: str, consequence: str, root: Services) -> None:
    for stored in _starts(session, key):
        inbox.consume(session, stored.id, consequence, root.now())
