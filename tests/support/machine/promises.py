"""What must hold in the made-up world, told independently of the code that sees to it.

Some of it is looked at when something is done: a stage is claimed, an agent works, the default branch moves, a hook
runs. The rest is looked at in the store, at any moment. Each broken promise is a sentence.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prefect.client.schemas.objects import StateType
from sqlmodel import Session, col, select

from pipeline.entry import Blocker, needs_place
from pipeline.model import Choice, Decision, Wait, WaitKind, WorkItem
from pipeline.stages import WORKED, Role, Stage, allowed
from pipeline.store import crashes, dependencies, drains, evidence, items, journal, leases, places, queue, waits
from pipeline.store.tables import LeaseRow, OutboxRow, PlaceRow, SignalRow, TicketRow, TransitionRow, WaitRow
from tasks.ownership import Claimed
from tests.support.machine.actors import CURRENT, Actor
from tests.support.machine.repository import REPORT
from tests.support.machine.world import World


@dataclass(frozen=True, slots=True)
class Before:
    """How an item stood when a run was about to claim it."""

    item: WorkItem
    owner: leases.Owner | None
    blockers: tuple[Blocker, ...]
    wait: Wait | None
    under_way: bool
    kept_out: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """One item with everything that hangs on it."""

    item: WorkItem
    moves: list[TransitionRow]
    effects: list[journal.Effect]
    decisions: tuple[Decision, ...]
    agents: list[evidence.AgentRun]
    taken_back_by: list[str]
    hangs_on: Counter[str]
    owner: leases.Owner | None


class Promises:
    """Looks on in a world; `broken` is what was not kept so far."""

    def __init__(self, world: World) -> None:
        self.world, self.broken = world, world.said_by_orch
        self.frozen_at: datetime | None = None
        self._deployed: Counter[str] = Counter()
        self._looked_at = 0
        world.store.witness = self._hears
        world.repository.witness = self

    # --- when a stage is claimed

    def _hears(self, name: str, args: tuple[Any, ...]) -> Callable[[Any], None] | None:
        if name != "_claim":
            return None
        key, stage = args[1:3]
        before = self.world.read(_before, key, self.world.root.now())
        return lambda claimed: self._claims(before, stage, claimed)

    def _claims(self, before: Before, stage: Stage, claimed: object) -> None:
        if not isinstance(claimed, Claimed):
            return
        item, now = before.item, self.world.root.now()
        slots = self.world.project.max_active_items
        placed, taken = self.world.read(_places, item)
        self._must_hold(
            f"{item.key} claimed for {stage}",
            ("it is at another stage", item.stage is stage and not stage.terminal),
            (f"held: {item.hold_reason}", item.hold is None),
            ("being stopped", item.cancel_requested_at is None),
            ("owned by a living run", before.owner is None or self._gone(before.owner)),
            (f"backing off until {item.not_before}", item.not_before is None or item.not_before <= now),
            (f"{item.failures} failures", item.failures <= len(self.world.root.settings.crash_backoff_s)),
            (f"waits for {before.blockers}", not before.blockers or before.under_way),
            ("it has no place", placed or not slots or before.under_way or not needs_place(stage)),
            (f"{taken} places taken", not slots or taken <= slots),
            (f"{before.kept_out}", before.kept_out is None),
            ("waits for a person in another run", not self._waits_elsewhere(before.wait)),
        )

    def _waits_elsewhere(self, wait: Wait | None) -> bool:
        """Whether a person is asked in another run, which is suspended with its form."""
        if wait is None or not wait.kind.human or wait.flow_run_id in (None, self._actor().run_id):
            return False
        run = self.world.prefect.runs[str(wait.flow_run_id)]
        return run.state is StateType.PAUSED and run.resumable

    def _gone(self, owner: leases.Owner) -> bool:
        actor = self.world.living.get(owner.process.pgid)
        return actor is None or actor.silent

    # --- when something is done

    def at_work(self, key: str, what: str) -> None:
        """Whoever works on an item owns it; one whose renewals do not get through cannot know."""
        actor, item = self._actor(), self.world.item(key)
        owner = self.world.read(leases.owner, item.id)
        mine = owner is not None and owner.process.pgid == actor.pid
        self._must_hold(f"{what} on {key}", ("without owning it", mine or actor.silent))

    def lands(self, commit: str) -> None:
        """What was tested, reviewed and confirmed lands, in turn, on what it was tested on."""
        repository, actor = self.world.repository, self._actor()
        self._must_hold(f"{commit} lands", ("untested", commit in repository.green))
        if commit in repository.reverts:
            return
        [item] = [item for item in self.world.read(items.all_items) if commit in (item.validated, item.landed)]
        own = repository.changes(commit, item.key)
        judged = {change for change in own if REPORT not in change}
        reviewed = [repository.changes(tip, item.key) for tip in repository.reviewed]
        confirmed = {repository.changes(c, item.key) for c in self._confirmed(item)}
        effect = self._open(item, "land", commit)
        tickets = self.world.read(queue.tickets, item.project)
        self._must_hold(
            f"{commit} of {item.key} lands",
            (f"it was tested on {item.validated_base}", item.validated_base == repository.main),
            ("with changes that nobody has reviewed", any(judged <= tip for tip in reviewed)),
            ("with changes that nobody has confirmed", own in confirmed),
            ("without a word in the journal", effect is not None),
            ("out of turn", actor.silent or (bool(tickets) and tickets[0].item_id == item.id)),
            ("while frozen", effect is None or not self._frozen(actor, effect)),
        )
        self.at_work(item.key, f"{commit} lands")

    def deploys(self, key: str, commit: str, *, back: bool) -> None:
        """Once for each deploy that was begun, never an older commit over a newer one, and back at most once."""
        actor, item, production = self._actor(), self.world.item(key), self.world.production
        effect = self._open(item, "rollback" if back else "deploy", item.landed or "")
        self._must_hold(f"{commit} deployed for {key}", ("without a word in the journal", effect is not None))
        if effect is None or actor.silent:
            return
        known = self._deployed[effect.key] and production.serving == commit and commit not in production.unsure
        older = production.serving != commit and self.world.repository.contains(production.serving, commit)
        self._must_hold(
            f"{commit} deployed for {key}",
            ("again, although production had said that it runs it", not known),
            (f"over {production.serving}", back or not older),
            ("while frozen", back or not self._frozen(actor, effect)),
        )
        self._deployed[effect.key] += 1
        self.at_work(key, "a hook runs")

    def _confirmed(self, item: WorkItem) -> set[str]:
        return {d.commit for d in self.world.read(waits.decisions, item.id) if d.kind is WaitKind.CONFIRMATION}

    def _open(self, item: WorkItem, name: str, subject: str) -> journal.Effect | None:
        effects = self.world.read(journal.of_item, item.id)
        keys = (f"{name}:{item.id}:{subject}", f"{name}:{item.id}:{subject}#")
        return next((e for e in effects if e.open and (e.key == keys[0] or e.key.startswith(keys[1]))), None)

    def _frozen(self, actor: Actor, effect: journal.Effect) -> bool:
        """Whether the freeze was there before the run that has begun this under it."""
        at = self.frozen_at
        return at is not None and actor.began is not None and actor.began > at and effect.started_at > at

    def _actor(self) -> Actor:
        actor = CURRENT.get()
        assert actor is not None
        return actor

    def _must_hold(self, about: str, *promises: tuple[str, bool]) -> None:
        self.broken += [f"{about}: {sentence}" for sentence, kept in promises if not kept]

    # --- at any moment

    def look(self) -> list[str]:
        """One look at the store, if anything was written; a sentence for each promise that is broken, now or before."""
        if self._looked_at == self.world.store.written:
            return self.broken
        self._looked_at = self.world.store.written
        repository = self.world.repository
        seen, said = self.world.read(_look)
        told = [f"{one.item.key}: {sentence}" for one in seen for sentence in self._of_item(one)]
        told += [f"{c} landed {n} times" for c, n in Counter(repository.landed).items() if n > 1]
        told += [f"{k} was reverted {n} times" for k, n in Counter(self._reverted()).items() if n > 1]
        told += [f"{d} is said {n} times" for d, n in Counter(said).items() if n > 1]
        told += [f"{k} lives {n} times" for k, n in Counter(_live_keys(seen)).items() if n > 1]
        return [*self.broken, *told]

    def _reverted(self) -> list[str]:
        repository = self.world.repository
        return [repository.reverts[commit] for commit in repository.landed if commit in repository.reverts]

    def _of_item(self, seen: Seen) -> Iterator[str]:
        promises = (*self._path(seen), *self._effects(seen), *self._stopped(seen), *self._bounds(seen))
        return (sentence for sentence, kept in promises if not kept)

    def _path(self, seen: Seen) -> Iterable[tuple[str, bool]]:
        item, moves = seen.item, list(zip(seen.moves, seen.moves[1:], strict=False))
        idle = item.stage.terminal or item.hold is not None
        approved = {d.commit for d in seen.decisions if (d.kind, d.choice) == (WaitKind.APPROVAL, Choice.APPROVE)}
        return (
            ("its last transition is not where it stands", seen.moves[-1].to_stage == item.stage),
            ("a transition began elsewhere", all(b.from_stage == a.to_stage for a, b in moves)),
            ("two transitions of one version", all(b.version > a.version for a, b in moves)),
            ("off the table", all(allowed(Stage(a.to_stage), Stage(b.to_stage)) for a, b in moves)),
            (f"{item.approved} was not approved", item.approved is None or item.approved in approved),
            ("two open waits", seen.hangs_on["wait"] <= 1),
            ("ended or held, and waits", not idle or not seen.hangs_on["wait"]),
            ("a ticket at a stage without", not seen.hangs_on["ticket"] or item.stage in WORKED[-2:]),
            ("ended or held, with a ticket", not idle or not seen.hangs_on["ticket"]),
            ("ended, and has a place", not item.stage.terminal or not seen.hangs_on["place"]),
            ("ended, and owned", not item.stage.terminal or not seen.hangs_on["lease"]),
        )

    def _effects(self, seen: Seen) -> Iterable[tuple[str, bool]]:
        item, repository = seen.item, self.world.repository
        unseen = {c for c in repository.changes(item.tip or "c0", item.key) if _by_a_judge(c)}
        worked = Counter((a.role, a.visit) for a in seen.agents if a.end is not None and not a.question)
        return (
            (f"landed {item.landed}, validated {item.validated}", item.landed in (None, item.validated)),
            (f"landed {item.landed} untested", item.landed is None or item.landed in repository.green),
            (f"{unseen} on its branch, made by who was to judge it", not unseen),
            ("landed and not on main", item.landed is None or repository.contains(repository.main, item.landed)),
            (f"deployed {item.deployed}, landed {item.landed}", item.deployed in (None, item.landed)),
            (f"agents worked twice: {worked}", all(number == 1 for number in worked.values())),
        )

    def _stopped(self, seen: Seen) -> Iterable[tuple[str, bool]]:
        item, asked = seen.item, seen.item.cancel_requested_at
        if asked is None:
            return ()
        late = [e.key for e in seen.effects if e.started_at > asked and e.name != journal.REMOVE_BRANCH]
        went = [t.to_stage for t in seen.moves if t.at > asked and t.to_stage not in ("cancelled", "done")]
        claimed = seen.owner is not None and seen.owner.stage is not Stage.CANCELLED and seen.owner.since > asked
        return (
            (f"begun after STOP: {late}", late == []),
            (f"moved to {went} after STOP", went == []),
            ("claimed after STOP", not claimed),
            ("done in spite of STOP", item.stage is not Stage.DONE or item.landed is not None),
        )

    def _bounds(self, seen: Seen) -> Iterable[tuple[str, bool]]:
        by_people = Counter(t.actor for t in seen.moves if t.actor.startswith("person "))
        decided = Counter(d.actor for d in seen.decisions if d.actor.startswith("person "))
        back = seen.taken_back_by if seen.item.cancelled_at is None else []
        caps = self.world.root.caps
        over = {r: n for r, n in seen.item.attempts.items() if n > caps[r] + by_people.total()}  # type: ignore[index]
        return (
            (f"one word of a person moved it twice: {by_people}", all(n == 1 for n in by_people.values())),
            (f"taken back by {back}, moved by {by_people}", set(back) <= by_people.keys()),
            (f"one word of a person decided twice: {decided}", all(n == 1 for n in decided.values())),
            (f"attempts {over} over the caps", not over),
        )


def _by_a_judge(change: str) -> bool:
    """Whether a change to code was made by an agent that is to judge what others have made."""
    return change.split(":")[1] in (Role.REVIEWER, Role.TESTER)


def _before(session: Session, key: str, now: datetime) -> Before:
    item = items.latest(session, key)
    assert item is not None
    frozen = crashes.broken(session, item.project)
    return Before(
        item,
        leases.owner(session, item.id),
        dependencies.unfinished(session, key, ("db",)),
        waits.open_wait(session, item.id),
        item.landed is not None or any(effect.open for effect in journal.of_item(session, item.id)),
        drains.in_the_way(session, key, now) or (frozen.sentence if frozen else None),
    )


def _places(session: Session, item: WorkItem) -> tuple[bool, int]:
    """Whether an item has a place, and how many are taken by items that nobody with a place waits for."""
    needed = dependencies.waited_for(session, places.not_landed(session), ("db",))
    return places.has(session, item.id), len(set(places.active(session, item.project).values()) - needed)


def _live_keys(seen: list[Seen]) -> list[str]:
    return [one.item.key for one in seen if one.item.cancelled_at is None]


def _look(session: Session) -> tuple[list[Seen], list[str]]:
    hanging: dict[int, Counter[str]] = {}
    for name, query in (
        ("wait", select(WaitRow.item_id).where(col(WaitRow.closed_at).is_(None))),
        ("ticket", select(TicketRow.item_id)),
        ("place", select(PlaceRow.item_id)),
        ("lease", select(LeaseRow.item_id)),
    ):
        for item_id in session.exec(query).all():
            hanging.setdefault(item_id, Counter())[name] += 1
    seen = [_seen(session, item, hanging.get(item.id, Counter())) for item in items.all_items(session)]
    return seen, [d for d in session.exec(select(OutboxRow.dedupe)).all() if d is not None]


def _seen(session: Session, item: WorkItem, hangs_on: Counter[str]) -> Seen:
    moves = select(TransitionRow).where(TransitionRow.item_id == item.id).order_by(col(TransitionRow.id))
    taken_back = select(SignalRow.actor).where(
        SignalRow.item_key == item.key,
        col(SignalRow.consumed_at) >= item.created_at,
        col(SignalRow.consequence).startswith("back to "),
    )
    return Seen(
        item,
        list(session.exec(moves).all()),
        journal.of_item(session, item.id),
        waits.decisions(session, item.id),
        evidence.agent_runs(session, item.id),
        list(session.exec(taken_back).all()),
        hangs_on,
        leases.owner(session, item.id),
    )
