"""A person's word that Orch's own move has taken off the board before anybody had heard of it.

Plane cannot be asked to move a card only if it still stands where it was seen. Who moves it between Orch's look and Orch's
own move is told by a webhook, which may be lost, and is never seen by polling; Plane's log of the card's changes has it.
"""

import logging

from sqlmodel import Session

from pipeline.errors import Refused, Unavailable
from pipeline.model import InboundSignal, StateChange, TrackerItem, TrackerState, WorkItem
from pipeline.projects import Project
from pipeline.states import SIGNALS, StateList
from pipeline.store import sightings
from tasks.hearing import ON_THE_BOARD
from tasks.inbox import Own, replay
from tasks.services import Services

log = logging.getLogger("orch.overwritten")


async def hear(root: Services, project: Project, item: WorkItem, known: StateList, target: str, *, wait: bool) -> None:
    """Replay the state that our move to `target` replaced, where it is somebody's word that nobody has told. Idempotent.

    To be called before it is noted that the card shows `target`. Raises `Unavailable` when Plane's log cannot be read, or,
    with `wait`, does not end with our move: Plane writes it a moment later.
    """
    if not await root.store.aread(_unheard, project, item, target):
        return
    try:
        moves = [one for one in await root.tracker.activities(project, item.tracker_id) if one.field == "state"]
    except Refused as error:  # a Plane without a log, or one that keeps it from us: the card is shown all the same
        log.info("%s: what Orch's own move has replaced cannot be looked up: %s", item.key, error)
        return
    names = {state.name: state for state in known.states}
    ours = next((n for n in reversed(range(len(moves))) if moves[n].new == known.name(target)), None)
    if wait and (ours is None or ours != len(moves) - 1):
        raise Unavailable(f"Plane's log of {item.key} does not end with Orch's own move yet.")
    replaced = names.get(moves[ours].old) if ours else None
    if not ours or replaced is None or known.status(replaced.id) not in SIGNALS:
        return
    own = await root.tracker.own_ids()
    said = moves[ours - 1]
    if said.new == replaced.name and moves[ours].actor_id in own and said.actor_id not in own:
        await root.store.awrite(_replay, root, project, item, replaced, said.actor_id, own, target)


async def is_ours(root: Services, project: Project, item: WorkItem, known: StateList, card: TrackerItem) -> bool:
    """Whether Orch itself has put the card where it stands, by Plane's log: it may not have come to note that.

    A move is noted once it is known what it has replaced, which takes an answer of Plane's more. Raises `Unavailable`.
    """
    try:
        moves = [one for one in await root.tracker.activities(project, item.tracker_id) if one.field == "state"]
    except Refused as error:
        log.info("%s: who has moved its card cannot be looked up: %s", item.key, error)
        return False
    return (
        bool(moves)
        and moves[-1].new == known.name(card.state_id)
        and moves[-1].actor_id in await root.tracker.own_ids()
    )


def _unheard(session: Session, project: Project, item: WorkItem, state_id: str) -> bool:
    """Whether the card was not last heard of in this state."""
    seen = sightings.last(session, sightings.board(project.key), [item.tracker_id]).get(item.tracker_id)
    return seen is None or seen.state != state_id


def _replay(
    session: Session,
    root: Services,
    project: Project,
    item: WorkItem,
    state: TrackerState,
    person: str,
    own: frozenset[str],
    target: str,
) -> None:
    """Replay the word, and note in the same transaction that the card shows `target`: it is looked for once."""
    if not _unheard(session, project, item, state.id):
        return  # its webhook has come
    entry = InboundSignal(
        project_ref=str(project.plane_project),
        item_ref=item.tracker_id,
        state=StateChange(state.id, state.name, state.group, state.id),
        actor=ON_THE_BOARD,
        actor_id=person,
    )
    replay(session, root, project, entry, Own(own, forge_login=""))
    sightings.stands(session, sightings.board(project.key), item.tracker_id, target, changed_at=None)
