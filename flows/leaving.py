"""What a run writes when it leaves its stage, or leaves off there: each in one transaction, with all that follows."""

from datetime import timedelta
from typing import Any

from sqlmodel import Session

from flows.run import Run
from pipeline.errors import StaleWrite
from pipeline.model import Hold, WaitKind, WorkItem
from pipeline.outcomes import RollBack, WaitFor
from pipeline.projects import Project
from pipeline.stages import STREAM, Stage
from pipeline.store import items, outbox, reactions, waits
from tasks import detached, ownership, production
from tasks.services import Services

ACTOR = "orch"


def advance(session: Session, run: Run, to: Stage, why: str) -> None:
    """Move the item on to `to`; what was shown at the analysis counts as approved."""
    now = run.root.now()
    changes: dict[str, Any] = {"feedback": ""}
    if run.item.stage is Stage.ANALYSIS:
        changes["approved"] = run.item.tip
    moved = items.move(
        session, run.item, to, actor=ACTOR, reason=why, run=run.run_id, token=run.lease.token, now=now, **changes
    )
    announce(session, run, moved)


def roll_back(session: Session, run: Run, back: RollBack) -> None:
    """Take the item back, at the cost of an attempt, with what the role there has to know."""
    now = run.root.now()
    found = {"tip": back.found.tip, "head": back.found.head, "pushing": None} if back.found else {}
    moved = items.move(
        session, run.item, back.to, actor=ACTOR, reason=back.why, run=run.run_id, token=run.lease.token, now=now,
        spend=back.role, feedback=back.feedback, **found,
    )  # fmt: skip
    html = run.root.texts("rolled_back", key=moved.key, from_stage=run.item.stage, to_stage=back.to, reason=back.why)
    reactions.tell(session, moved.key, html, f"back:{moved.id}:{moved.version}", now, voice=STREAM)
    announce(session, run, moved)


def announce(session: Session, run: Run, moved: WorkItem) -> None:
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


def wait_for(
    session: Session, root: Services, claimed: ownership.Claimed, run_id: str, wait: WaitFor, at_least_s: float = 0
) -> bool:
    """Write the machine's wait; news that came while we looked wakes the item again at once.

    Whether the next look is to be scheduled: one that has a time, unless a run that came before that was too early.
    """
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
    early = waits.early(session, item.id, wait.kind, wait.commit, now) if wait.kind.timed else None
    waits.begin(
        session,
        item,
        wait.kind,
        key=f"{wait.kind}-{item.id}-{item.version}-{run_id}",
        sentence=wait.sentence,
        now=now,
        commit=wait.commit,
        flow_run_id=run_id,
        deadline=now + timedelta(seconds=_patience_s(root, root.project(item.project), wait.kind)),
        look_again_at=early.look_again_at if early else now + timedelta(seconds=pause_s),
    )
    outbox.status(session, item.key, now)
    if waits.has_news(session, item):
        outbox.wake(session, item.key, now)
    return wait.kind.timed and early is None


def _patience_s(root: Services, project: Project, kind: WaitKind) -> float:
    """How long a wait may last in good order; people are told of a longer one. It is asked at the wait's first look."""
    settings = root.settings
    match kind:
        case WaitKind.FREEZE:
            return settings.person_deadline_s
        case WaitKind.MONITOR:
            return project.monitor_window_s + production.longest_row_s(project)
        case WaitKind.DEPLOY:
            return settings.deploy_deadline_s + detached.rollback_s(project)
        case _:
            return settings.ci_deadline_s


def hold(
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
