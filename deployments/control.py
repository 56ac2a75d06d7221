"""What an operator does to items and projects besides deciding: why, dependencies, freezes, leases, deliveries."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlmodel import Session

from deployments.operator import open_store
from pipeline.clients.process_identity import alive_here, went_with_its_host
from pipeline.errors import Refused
from pipeline.messages import Texts
from pipeline.model import WorkItem
from pipeline.settings import Settings
from pipeline.store import crashes, deliveries, dependencies, freezes, items, journal, leases, outbox, reactions
from pipeline.store.leases import Alive, WentWithItsHost
from pipeline.store.snapshots import snapshot
from pipeline.why import why


def explain(settings: Settings, key: str) -> dict[str, Any]:
    """Why an item does not go on, as JSON-ready data. Raises `Refused` for an unknown item."""
    return open_store(settings).read(_explain, settings, key)


def _explain(session: Session, settings: Settings, key: str) -> dict[str, Any]:
    item = items.latest(session, key)
    if item is None:
        raise Refused(f"There is no work item {key}; `orch status` lists them.")
    project = settings.registry().get(item.project)
    limit = project.max_active_items if project else 0
    return explained(session, item, _now(), alive_here, limit=limit, sources=settings.dependency_sources)


def explained(
    session: Session, item: WorkItem, now: datetime, alive: Alive, *, limit: int, sources: Sequence[str]
) -> dict[str, Any]:
    """The four answers about `item`, with where it stands."""
    told = why(snapshot(session, item, now=now, alive=alive, limit=limit, sources=sources))
    return {
        "key": item.key,
        "title": item.title,
        "stage": item.stage,
        "waits_for": told.waits_for,
        "since": told.since.isoformat(),
        "moved_by": told.moved_by,
        "then": told.then,
    }


# --- dependencies


def depend(settings: Settings, key: str, on: Sequence[str], remove: Sequence[str]) -> list[str]:
    """Have an item wait for others, or no longer; a sentence for each. All of it happens or nothing.

    Raises `Refused` for itself, for a cycle, and for a key of no project or of which nobody could tell when it ends.
    """
    return open_store(settings).write(_depend, settings, key, on, remove)


def _depend(session: Session, settings: Settings, key: str, on: Sequence[str], remove: Sequence[str]) -> list[str]:
    said = [_let_go(session, key, other) for other in remove]
    for other in on:
        _check(session, settings, key, other)
        new = dependencies.add(session, key, other, dependencies.BY_HAND, _now())
        said.append(f"{key} waits for {other}{'' if new else ', as it did before'}.")
    return said


def _let_go(session: Session, key: str, other: str) -> str:
    if dependencies.remove(session, key, other, _now()):
        return f"{key} waits for {other} no longer."
    return f"{key} did not wait for {other}."


def _check(session: Session, settings: Settings, key: str, other: str) -> None:
    for one in (key, other):
        if settings.registry().of_work_item(one) is None:
            raise Refused(f"{one} is of no project in the registry; keys look like WID-12.")
    if items.latest(session, other) is None:
        raise Refused(
            f"{other} is not a work item yet, so nobody could tell when it ends. Move its card to To Analyse first, or "
            "say `blocked by` on the card."
        )
    sources = settings.dependency_sources
    if not sources:
        raise Refused("ORCH_TASK_DEPS_ENABLED is off: no dependency would hold anything back.")
    ring = (key, key) if key == other else dependencies.cycle(session, key, sources, on=other)
    if ring:
        raise Refused(f"That would lead in a circle: {' waits for '.join(ring)}. Nothing was changed.")


# --- freezes


def freeze(settings: Settings, project: str, why: str, actor: str) -> str:
    """Keep a project, or with an empty key everything, from landing and deploying. Raises `Refused`."""
    _known(settings, project)
    if not why.strip():
        raise Refused("A freeze needs its reason: --why 'release day'.")
    store = open_store(settings)
    new = store.write(freezes.freeze, project, actor=actor, why=why.strip(), now=_now())
    what = project or "Everything"
    broken = store.read(freezes.breaker, project) if project else None
    besides = f" Besides, nothing of it starts: {broken.sentence}" if broken else ""
    after = f"nothing lands and no deploy begins until the thaw{'' if broken else '; work goes on'}."
    said = f"{what} is frozen: {after}" if new else f"{what} was frozen already; the reason is now: {why.strip()}"
    return f"{said}{besides}"


def thaw(settings: Settings, project: str) -> str:
    """Take one freeze back and wake whom it kept out: the breaker's where it is set, else a person's.

    Says which it was and what still holds. Raises `Refused` for an unknown project.
    """
    _known(settings, project)
    return open_store(settings).write(_thaw, project)


def _thaw(session: Session, project: str) -> str:
    what = project or "Everything"
    broken = freezes.breaker(session, project)
    if not freezes.thaw(session, project, _now()):
        others = ", ".join(one.project or "everything" for one in freezes.all_of_them(session))
        return f"{what} is not frozen as such. Frozen: {others or 'nothing'}."
    said = f"The breaker of {project} is closed: its runs start again." if broken else f"{what} is thawed."
    still = "; ".join(one.sentence for one in freezes.holding(session, project)) if project else ""
    return f"{said}{f' But: {still}' if still else ''}"


def _known(settings: Settings, project: str) -> None:
    registry = settings.registry()
    if project and project not in registry:
        raise Refused(f"There is no project {project} in the registry; there are: {', '.join(registry) or 'none'}.")


# --- leases


def release_lease(settings: Settings, key: str, actor: str) -> str:
    """Take an item away from the run that owns it; what that means. Raises `Refused`."""
    alive, went = alive_here, went_with_its_host
    return open_store(settings).write(release, Texts(settings.language), key, actor, _now(), alive, went)


def release(
    session: Session, texts: Texts, key: str, actor: str, now: datetime, alive: Alive, went: WentWithItsHost
) -> str:
    """The same in a transaction of the caller's. Idempotent.

    Raises `Refused` for an unknown item, and while a living run is between the beginning and the end of a step that
    cannot be undone.
    """
    item = items.find(session, key)
    if item is None:
        raise Refused(f"There is no live work item {key}; `orch status` lists them.")
    owner = leases.owner(session, item.id)
    if owner is None:
        return f"No run owns {key}."
    lives = leases.lives(owner, now, alive)
    begun = [effect.name for effect in journal.of_item(session, item.id) if effect.open]
    if lives and begun:
        raise Refused(f"Run {owner.flow_run_id} lives and is about to end its {', '.join(begun)}; cancel it first.")
    if lives:
        leases.drop(session, item.id)
    else:
        crashes.reclaim(session, owner, went, now, texts)
    html = texts("lease_released", key=key, who=actor, run=owner.flow_run_id)
    reactions.tell(session, key, html, f"lease-released:{item.id}:{owner.token}", now)
    outbox.wake(session, key, now)
    state = "which lives and stops at its next write" if lives else "which is dead"
    return f"{key} was taken away from run {owner.flow_run_id}, {state}."


# --- deliveries


def latest_deliveries(settings: Settings, *, failed: bool, limit: int) -> list[dict[str, Any]]:
    """The latest deliveries, newest first, as JSON-ready data."""
    found = open_store(settings).read(deliveries.latest, failed=failed, limit=limit)
    return [
        asdict(one)
        | {"received_at": one.received_at.isoformat(), "failed": one.failed}
        | {"resolved_at": one.resolved_at.isoformat() if one.resolved_at else None}
        for one in found
    ]


def replay(settings: Settings, numbers: Sequence[int], since: datetime | None) -> list[str]:
    """Apply stored deliveries again; a sentence for each. Raises `Refused` for an unknown one: then nothing is done."""
    return open_store(settings).write(_replay, numbers, since)


def _replay(session: Session, numbers: Sequence[int], since: datetime | None) -> list[str]:
    wanted = [*numbers, *(deliveries.received_since(session, since) if since else ())]
    return [f"Delivery {number} {_replayed(session, number)}." for number in dict.fromkeys(wanted)]


def _replayed(session: Session, number: int) -> str:
    said = deliveries.replay(session, number, _now())
    if said is None:
        raise Refused(f"There is no delivery {number}; `orch deliveries` lists them.")
    return said.rstrip(".")


def _now() -> datetime:
    return datetime.now(UTC)
