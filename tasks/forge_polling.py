"""Looking through repositories for what no webhook told of pull requests: merged, closed, changes requested.

One listing a repository and tick. What CI says is not in it: an item that waits for CI asks for its own commit.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlmodel import Session

from pipeline.decide import BRANCH_IS_JUDGED
from pipeline.model import InboundSignal, Pull, Review, ReviewKind, WorkItem
from pipeline.projects import Project
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import counters, inbox, items, set_aside, sightings, transitions
from tasks.hearing import PULL_STATES
from tasks.inbox import Own, identify
from tasks.polling import FIRST_LOOK, replayed
from tasks.services import Services

SETTLED = timedelta(seconds=5)
"""Gitea tells whole seconds: what changed only just is looked at once more, for it may change again within the second."""

SIGNAL_OF = {state: signal for signal, state in PULL_STATES.items()}


async def poll_repository(root: Services, project: Project) -> list[str]:
    """Replay what became of the project's pull requests and nobody told; one call when nothing did."""
    place = sightings.repository(project.key)
    mark = await root.store.aread(sightings.watermark, place)
    pulls = await root.forge.recent_pulls(project, changed_since=mark or root.now() - FIRST_LOOK)
    news = await root.store.aread(_news, project, pulls)
    did = await _replayed(root, project, news) if news else []
    if pulls:
        await root.store.awrite(sightings.reached, place, max(pull.updated_at for pull in pulls))
    return did


def _news(session: Session, project: Project, pulls: Sequence[Pull]) -> list[Pull]:
    """Pull requests that have changed since they were last looked at, oldest change first."""
    known = sightings.last(session, sightings.repository(project.key), [_thing(pull) for pull in pulls])
    aside = {item.branch for item in set_aside.items(session) if item.project == project.key}
    return [
        pull
        for pull in reversed(pulls)
        if pull.branch not in aside
        and (
            (seen := known.get(_thing(pull))) is None
            or (seen.state, seen.changed_at) != (_state(pull), pull.updated_at)
        )
    ]


async def _replayed(root: Services, project: Project, news: Sequence[Pull]) -> list[str]:
    own = await identify(root)
    did: list[str] = []
    for pull in news:
        if (judged := await root.store.aread(_judged, project, pull)) is not None:
            reviews = await root.forge.reviews(project, pull.number)
            did += await root.store.awrite(_rejected, root, project, pull, judged, reviews, own)
        did += await root.store.awrite(_ended, root, project, pull, own)
    return did


def _ended(session: Session, root: Services, project: Project, pull: Pull, own: Own) -> list[str]:
    """Replay that a pull request was merged or closed, unless a webhook has brought it."""
    place = sightings.repository(project.key)
    changed_at = pull.updated_at if root.now() - pull.updated_at > SETTLED else None
    moved = sightings.stands(session, place, _thing(pull), _state(pull), changed_at=changed_at, polled=True)
    signal, item = SIGNAL_OF.get(_state(pull)), items.by_branch(session, project.key, pull.branch)
    if signal is None or item is None or item.pull_number not in (None, pull.number):
        return []
    if not moved:
        counters.count(session, counters.DEDUPED)
        return []
    if item.stage.terminal:
        counters.count(session, counters.SKIPPED_TERMINAL)
        return []
    payload = {"merged_by": pull.merged_by, "merge_commit_sha": pull.merge_commit} if pull.merged else {}
    return replayed(session, root, project, _as_inbound(project, pull, signal, pull.merged_by or "", payload), own)


def _judged(session: Session, project: Project, pull: Pull) -> datetime | None:
    """Since when a request for changes on the pull request counts; None when it does not at all."""
    item = items.by_branch(session, project.key, pull.branch)
    stages = (Stage.DEVELOPMENT, *BRANCH_IS_JUDGED)
    if item is None or not pull.open or item.stage not in stages or item.landed is not None:
        return None
    return _came_to_development(session, item)


def _came_to_development(session: Session, item: WorkItem) -> datetime | None:
    """When the item last came to development, for an earlier verdict has been worked on since.

    In whole seconds, as Gitea tells when a review was submitted.
    """
    moves = [move.at for move in transitions.history(session, item.id) if move.to_stage is Stage.DEVELOPMENT]
    return max(moves).replace(microsecond=0) if moves else None


def _rejected(
    session: Session, root: Services, project: Project, pull: Pull, since: datetime, reviews: Sequence[Review], own: Own
) -> list[str]:
    """Replay a verdict of somebody who has requested changes since the developer last began, once."""
    item = items.by_branch(session, project.key, pull.branch)
    if item is None:
        return []
    heard = inbox.heard(session, item.key, Signal.REVIEW_SUBMITTED, since=since)
    told = {s.payload.get("reviewer") for s in heard if s.payload.get("kind") == ReviewKind.REJECTED}
    did: list[str] = []
    for review in reviews:
        if not review.rejects or review.submitted_at < since or review.reviewer in told:
            continue
        payload = {"kind": review.kind.value, "reviewer": review.reviewer, "commit": review.commit}
        did += replayed(
            session, root, project, _as_inbound(project, pull, Signal.REVIEW_SUBMITTED, review.reviewer, payload), own
        )
    return did


def _as_inbound(
    project: Project, pull: Pull, signal: Signal, actor: str, payload: Mapping[str, str | None]
) -> InboundSignal:
    return InboundSignal(
        project_ref=project.repository,
        item_ref=pull.branch,
        signal=signal,
        actor=actor,
        actor_id=actor,
        payload={"number": pull.number, "base": pull.base, **payload},
    )


def _thing(pull: Pull) -> str:
    return f"#{pull.number}"


def _state(pull: Pull) -> str:
    if pull.merged:
        return "merged"
    return "open" if pull.open else "closed"
