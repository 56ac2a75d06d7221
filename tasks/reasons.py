"""Why a person has rejected something: a card's state and a button carry no words, what was written on the card does."""

import logging
from collections.abc import Sequence
from dataclasses import replace

from pipeline.errors import Refused
from pipeline.model import Choice, Decision, WorkItem
from pipeline.projects import Project
from pipeline.store import waits
from tasks.addressees import may_decide
from tasks.services import Services

log = logging.getLogger("orch.reasons")


async def given(
    root: Services, project: Project, item: WorkItem, decisions: Sequence[Decision]
) -> tuple[Decision, ...]:
    """The decisions, the last one with its reason where it is a rejection of what the branch has now, without one.

    The reason is what people who may decide have written on the card since they were asked. Raises `Unavailable`.
    """
    if not decisions or decisions[-1].choice is not Choice.REJECT or decisions[-1].text:
        return tuple(decisions)
    *before, last = decisions
    if last.commit not in (item.tip, item.head):
        return tuple(decisions)
    try:
        text = await _written(root, project, item, last)
    except Refused as error:
        log.warning("%s: the comments on its card cannot be read: %s", item.key, error)
        return tuple(decisions)
    return (*before, replace(last, text=text))


async def _written(root: Services, project: Project, item: WorkItem, about: Decision) -> str:
    since = await root.store.aread(waits.asked_at, item.id, about.kind, about.commit) or item.entered_at
    comments = [one for one in await root.tracker.comments(project, item.tracker_id) if one.created_at >= since]
    if not comments:
        return ""
    own, people = await root.tracker.own_ids(), root.settings.people
    names = {member.id: member.name for member in await root.tracker.members(project)} if people else {}
    said = [
        one.text.strip()
        for one in comments
        if one.actor_id not in own and may_decide(people, (one.actor_id, names.get(one.actor_id, "")))
    ]
    return "\n\n".join(filter(None, said))
