"""Labels that lift a human gate for one item: read when the gate asks, and never in doubt."""

import logging
from dataclasses import dataclass, field

from sqlmodel import Session

from pipeline.errors import OrchError
from pipeline.model import Choice, Decision, TrackerLabel, WaitKind, WorkItem
from pipeline.outcomes import Ask
from pipeline.projects import Project, normal_label
from pipeline.settings import Settings
from pipeline.store import reactions, waits
from tasks.services import Services

log = logging.getLogger("orch.labels")

CHOICES = {WaitKind.APPROVAL: Choice.APPROVE, WaitKind.CONFIRMATION: Choice.CONFIRM}
"""The gates that a label can lift, and what it says there."""


@dataclass
class Labels:
    """Each project's labels as the tracker listed them last."""

    _lists: dict[str, tuple[float, tuple[TrackerLabel, ...]]] = field(default_factory=dict)

    async def of(self, root: Services, project: Project) -> tuple[TrackerLabel, ...]:
        """The project's labels, asked for again after `ORCH_AUTO_LABEL_STATES_TTL_S`. Raises what the tracker raises."""
        now = root.now().timestamp()
        known = self._lists.get(project.key)
        if known is not None and now - known[0] < root.settings.auto_label_states_ttl_s:
            return known[1]
        labels = await root.tracker.labels(project)
        self._lists[project.key] = (now, labels)
        return labels


_labels = Labels()


async def lifts(root: Services, item: WorkItem, ask: Ask) -> bool:
    """Whether a label decides instead of a person; the decision is then on record, and people are told.

    What can be known here is asked before the tracker is. A label name that several labels have, and any error of the
    tracker, mean that a person is asked.
    """
    name = _label_for(root.settings, ask.kind)
    project = root.project(item.project)
    if name is None or not root.settings.heeds_labels(project.repository):
        return False
    try:
        wanted = [
            label.id for label in await _labels.of(root, project) if normal_label(label.name) == normal_label(name)
        ]
        if len(wanted) != 1:
            log.info("%s: %s labels are named %r; a person is asked", item.key, len(wanted), name)
            return False
        card = await root.tracker.item(project, item.tracker_id)
    except OrchError as error:
        log.warning("%s: its labels cannot be read, so a person is asked: %s", item.key, error)
        return False
    if wanted[0] not in card.labels:
        return False
    await root.store.awrite(_decide, root, item, ask, name)
    return True


def _label_for(settings: Settings, kind: WaitKind) -> str | None:
    names = {WaitKind.APPROVAL: settings.auto_approve_label, WaitKind.CONFIRMATION: settings.auto_deploy_label}
    return names.get(kind) or None


def _decide(session: Session, root: Services, item: WorkItem, ask: Ask, label: str) -> None:
    now = root.now()
    decision = Decision(ask.kind, CHOICES[ask.kind], ask.commit, f"{waits.BY_LABEL}{label}", "", now)
    if not waits.decide(session, item, decision):
        return
    log.info("%s: the label %s decides about the %s of %s", item.key, label, ask.kind, ask.commit[:12])
    html = root.texts("auto_label", key=item.key, title=item.title, label=label, asked=ask.sentence)
    dedupe = f"auto:{item.id}:{ask.kind}:{ask.commit}"
    reactions.say(session, item.key, html, dedupe, now)
    reactions.tell(session, item.key, html, dedupe, now)
