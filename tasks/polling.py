"""Looking through boards for what no webhook told: one listing a project and tick, replayed the way webhooks go.

Only a card that stands in another state than when it was last heard of has moved; Orch's own moves are noted when it
makes them, so they are none. Only states that the board really has count, never one that stands in for another.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlmodel import Session

from pipeline.errors import OrchError, Refused, Unavailable
from pipeline.model import InboundSignal, StateChange, TrackerComment, TrackerItem, Wait, WaitKind, WorkItem
from pipeline.projects import Project
from pipeline.signals import Signal
from pipeline.stages import Stage, Status
from pipeline.states import SIGNALS, StateList
from pipeline.store import counters, heartbeats, inbox, items, set_aside, sightings, waits
from tasks import refusals
from tasks.hearing import LATE, ON_THE_BOARD
from tasks.inbox import Own, identify, replay
from tasks.services import Services

log = logging.getLogger("orch.polling")

FIRST_LOOK = timedelta(days=1)
"""How far back a place is looked through that never was before."""

OVERLAP = timedelta(seconds=5)
"""What is written at once is not always readable at once, so each look goes back a little behind the last."""

PLACE_S = 12
"""How long one project may take; one that hangs does not keep the others from their turn."""

REFUSED_IN_A_ROW = 3
"""Looks that are refused one after the other before people are told: a look comes with each tick."""

ANSWERED_BY_COMMENT = (WaitKind.ANSWER, WaitKind.INTEGRITY, WaitKind.BUDGET)


async def each_project(root: Services, poll: Callable[[Services, Project], Awaitable[list[str]]]) -> list[str]:
    """Poll all projects side by side; one that fails says so and does not touch the others."""
    return [
        did for found in await asyncio.gather(*(_tried(root, p, poll) for p in root.projects.values())) for did in found
    ]


async def _tried(
    root: Services, project: Project, poll: Callable[[Services, Project], Awaitable[list[str]]]
) -> list[str]:
    try:
        async with asyncio.timeout(PLACE_S):
            return await poll(root, project)
    except (OrchError, TimeoutError) as error:
        log.warning("%s could not be polled: %s", project.key, error or repr(error))
        return [f"{project.key} could not be polled: {error or repr(error)}"]
    except Exception as error:  # one project's trouble is said, and the others are polled
        log.exception("%s could not be polled", project.key)
        return [f"{project.key} could not be polled: {error!r}"]


@dataclass(frozen=True, slots=True)
class Board:
    """What a listing brings besides what was known: cards that have moved, and cards whose people may have answered."""

    moved: tuple[TrackerItem, ...]
    asked: tuple[tuple[TrackerItem, Wait], ...]

    @property
    def news(self) -> bool:
        """Whether anything has to be looked at; else one call was enough."""
        return bool(self.moved or self.asked)


async def poll_board(root: Services, project: Project) -> list[str]:
    """Replay what people did on the project's cards and nobody told; a sentence for each. One call when nothing did."""
    cards = await _listed(root, project)
    board = await root.store.awrite(_compare, project, cards)
    did = await _replayed(root, project, board) if board.news else []
    await root.store.awrite(_looked_through, root, project, cards)
    return did


async def _listed(root: Services, project: Project) -> Sequence[TrackerItem]:
    """The cards that changed since the last look. A board that is refused again and again is told to people."""
    mark = await root.store.aread(sightings.watermark, sightings.board(project.key))
    try:
        return await root.tracker.items(project, changed_since=mark - OVERLAP if mark else root.now() - FIRST_LOOK)
    except Refused as error:
        await root.store.awrite(refusals.refused, root, project, refusals.BOARD, str(error), patience=REFUSED_IN_A_ROW)
        raise


def _looked_through(session: Session, root: Services, project: Project, cards: Sequence[TrackerItem]) -> None:
    place = sightings.board(project.key)
    refusals.worked(session, project, refusals.BOARD)
    heartbeats.beat(session, place, root.now())
    if cards:
        sightings.reached(session, place, max(card.updated_at for card in cards))


def _compare(session: Session, project: Project, cards: Sequence[TrackerItem]) -> Board:
    """Tell what is new; of cards that merely changed it is noted that this was seen, unless people may have answered."""
    place = sightings.board(project.key)
    known = sightings.last(session, place, [card.id for card in cards])
    moved, asked, aside = [], [], {item.key for item in set_aside.items(session)}
    for card in reversed(cards):
        if project.work_item_key(card.sequence_id) in aside:
            continue
        seen = known.get(card.id)
        if seen is not None and seen.state == card.state_id and seen.changed_at == card.updated_at:
            continue
        wait = _question(session, project.work_item_key(card.sequence_id))
        if wait is not None:
            asked.append((card, wait))
        if seen is None or seen.state != card.state_id:
            moved.append(card)
        elif wait is None:
            _unmoved(session, project, card)
    return Board(tuple(moved), tuple(asked))


def _unmoved(session: Session, project: Project, card: TrackerItem) -> None:
    counters.count(session, counters.DEDUPED)
    sightings.stands(session, sightings.board(project.key), card.id, card.state_id, changed_at=card.updated_at)


def _question(session: Session, key: str) -> Wait | None:
    item = items.find(session, key)
    wait = waits.open_wait(session, item.id) if item is not None and not item.stage.terminal else None
    return wait if wait is not None and wait.kind in ANSWERED_BY_COMMENT else None


async def _replayed(root: Services, project: Project, board: Board) -> list[str]:
    own = await identify(root)
    did = await _heard_comments(root, project, board, own)
    for card in board.moved:
        before = root.states.cached(project)
        known = await root.states.of(project, having=card.state_id)
        if not known.knows(card.state_id) and known is before:
            raise Unavailable(
                f"The states of {project.key} cannot be read again, and a card stands in one that is new."
            )
        if not known.knows(card.state_id):
            log.info("%s stands in a state that its project does not list", project.work_item_key(card.sequence_id))
            continue
        did += await root.store.awrite(_moved, root, project, known, card, own)
    return did


async def _heard_comments(root: Services, project: Project, board: Board, own: Own) -> list[str]:
    """Replay what people have written since they were asked. A card counts as seen only once its comments were read."""
    named = root.settings.people and board.asked
    names = {member.id: member.name for member in await root.tracker.members(project)} if named else {}
    did: list[str] = []
    for card, wait in board.asked:
        comments = [c for c in await root.tracker.comments(project, card.id) if c.created_at >= wait.since - LATE]
        did += await root.store.awrite(_answered, root, project, card, comments, names, own)
        if card not in board.moved:
            await root.store.awrite(_unmoved, project, card)
    return did


def _moved(
    session: Session, root: Services, project: Project, known: StateList, card: TrackerItem, own: Own
) -> list[str]:
    """Replay a card's move, unless a webhook has brought it meanwhile."""
    place, key = sightings.board(project.key), project.work_item_key(card.sequence_id)
    first = card.id not in sightings.last(session, place, [card.id])
    if not sightings.stands(session, place, card.id, card.state_id, changed_at=card.updated_at, polled=True):
        return []
    status, item = known.status(card.state_id), items.latest(session, key)
    signal = SIGNALS.get(status) if status else None
    if item is not None and item.shown is not None and item.shown is status:
        return []
    if status is Status.IN_PROGRESS and not (_starts(known, card, item) and not first):
        return []
    if signal is not None and item is not None and _ended(item, signal):
        counters.count(session, counters.SKIPPED_TERMINAL)
        return []
    if signal is not None and first and inbox.heard(session, key, signal):
        counters.count(session, counters.DEDUPED)
        return []
    return replayed(session, root, project, _as_inbound(project, known, card), own)


def _starts(known: StateList, card: TrackerItem, item: WorkItem | None) -> bool:
    """Whether a card in In Progress asks for a start: only on a board without To Analyse, and of no item that lives.

    Everywhere else Orch itself shows In Progress, for states that a board lacks. A card that is seen for the first time
    may have stood there for years.
    """
    no_item = item is None or item.stage is Stage.CANCELLED
    return no_item and known.id_of(Status.TO_ANALYSE) == card.state_id


def _ended(item: WorkItem, signal: Signal) -> bool:
    """Whether the item is past hearing: what is cancelled may still be started afresh."""
    return item.stage is Stage.DONE or (item.stage is Stage.CANCELLED and signal is not Signal.START_REQUESTED)


def _as_inbound(project: Project, known: StateList, card: TrackerItem) -> InboundSignal:
    state = next(state for state in known.states if state.id == card.state_id)
    return InboundSignal(
        project_ref=str(project.plane_project),
        item_ref=card.id,
        state=StateChange(state.id, state.name, state.group, state.id),
        actor=ON_THE_BOARD,
        payload={
            "sequence_id": card.sequence_id,
            "title": card.title,
            "description": card.description,
            "updated_at": card.updated_at.isoformat(),
        },
    )


def _answered(
    session: Session,
    root: Services,
    project: Project,
    card: TrackerItem,
    comments: Sequence[TrackerComment],
    names: Mapping[str, str],
    own: Own,
) -> list[str]:
    """Replay comments that may be answers; those that were heard, and our own, lead to nothing.

    Of their authors the tracker tells the id; `names` adds what members call themselves, where that is asked for.
    """
    did: list[str] = []
    for comment in comments:
        entry = InboundSignal(
            project_ref=str(project.plane_project),
            item_ref=card.id,
            signal=Signal.ANSWER_GIVEN,
            actor=names.get(comment.actor_id, ""),
            actor_id=comment.actor_id,
            payload={"comment_id": comment.id, "text": comment.text},
        )
        did += replayed(session, root, project, entry, own)
    return did


def replayed(session: Session, root: Services, project: Project, entry: InboundSignal, own: Own) -> list[str]:
    """Replay one entry and count it; the sentence of what followed, if anything did."""
    key, sentence = replay(session, root, project, entry, own)
    if not key:
        return []
    counters.count(session, counters.REPLAYED)
    return [f"{key}: {sentence}, which no webhook told"]
