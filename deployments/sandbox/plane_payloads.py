"""Plane's answers and webhook bodies, field by field as recorded on Plane CE 1.3.1."""

import html
import re
from datetime import datetime

from deployments.sandbox.plane_state import (
    Card,
    PlaneActivity,
    PlaneComment,
    PlaneLabel,
    PlaneProject,
    PlaneState,
    PlaneUser,
    PlaneWorld,
)

Json = dict[str, object]


def stamp(moment: datetime | None) -> str | None:
    """A time as Plane writes it: UTC with microseconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment else None


def stripped(description_html: str) -> str:
    """The text of a description without its tags."""
    return html.unescape(re.sub(r"<[^>]*>", "", description_html))


def user(one: PlaneUser) -> Json:
    """A user as in `members`, `users/me` and `activity.actor`."""
    return {
        "id": one.id,
        "first_name": one.first_name,
        "last_name": one.last_name,
        "email": one.email,
        "avatar": "",
        "avatar_url": None,
        "display_name": one.display_name,
    }


def logged(world: PlaneWorld, one: PlaneActivity, *, project: str) -> Json:
    """An activity as in an issue's list of them (the fields of Plane CE's API serializer; not recorded)."""
    return {
        "id": one.id,
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.created_at),
        "deleted_at": None,
        "verb": "updated",
        "field": one.field,
        "old_value": one.old,
        "new_value": one.new,
        "comment": f"updated the {one.field} to",
        "attachments": [],
        "old_identifier": None,
        "new_identifier": None,
        "epoch": one.created_at.timestamp(),
        "project": project,
        "workspace": world.workspace_id,
        "issue": one.card,
        "issue_comment": None,
        "actor": one.actor,
    }


def state(world: PlaneWorld, project: PlaneProject, one: PlaneState) -> Json:
    """A state as in the list of states."""
    return {
        "id": one.id,
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.created_at),
        "deleted_at": None,
        "name": one.name,
        "description": "",
        "color": one.color,
        "slug": one.name.lower().replace(" ", "-"),
        "sequence": one.sequence,
        "group": one.group,
        "is_triage": False,
        "default": one.default,
        "external_source": None,
        "external_id": None,
        "created_by": project.created_by,
        "updated_by": None,
        "project": project.id,
        "workspace": world.workspace_id,
    }


def label(world: PlaneWorld, project: PlaneProject, one: PlaneLabel) -> Json:
    """A label as in the list of labels and in expanded work items."""
    return {
        "id": one.id,
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.created_at),
        "deleted_at": None,
        "name": one.name,
        "description": "",
        "color": one.color,
        "sort_order": one.sort_order,
        "external_source": None,
        "external_id": None,
        "created_by": project.created_by,
        "updated_by": None,
        "workspace": world.workspace_id,
        "project": project.id,
        "parent": None,
    }


def brief_state(one: PlaneState) -> Json:
    """A state as it is expanded inside a work item."""
    return {"id": one.id, "name": one.name, "color": one.color, "group": one.group}


def _labels(project: PlaneProject, card: Card) -> list[PlaneLabel]:
    return [one for one in project.labels if one.id in card.labels]


def _assignees(world: PlaneWorld, card: Card) -> list[PlaneUser]:
    return [one for one in world.users if one.id in card.assignees]


def _state_of(project: PlaneProject, card: Card) -> PlaneState:
    return next(one for one in project.states if one.id == card.state)


def _common(world: PlaneWorld, card: Card) -> Json:
    return {
        "id": card.id,
        "created_at": stamp(card.created_at),
        "updated_at": stamp(card.updated_at),
        "deleted_at": None,
        "point": None,
        "name": card.name,
        "description_html": card.description_html,
        "description_binary": None,
        "priority": card.priority,
        "start_date": None,
        "target_date": None,
        "sequence_id": card.sequence_id,
        "sort_order": card.sort_order,
        "completed_at": stamp(card.completed_at),
        "archived_at": stamp(card.archived_at),
        "is_draft": False,
        "external_source": card.external_source,
        "external_id": card.external_id,
        "created_by": card.created_by,
        "updated_by": card.updated_by,
        "project": card.project,
        "workspace": world.workspace_id,
        "parent": None,
        "estimate_point": None,
        "type": None,
    }


def work_item(world: PlaneWorld, project: PlaneProject, card: Card, expand: frozenset[str] = frozenset()) -> Json:
    """A work item as the API answers it; `expand` knows state, labels, assignees and project."""
    body = _common(world, card) | {
        "type_id": None,
        "state": card.state,
        "assignees": card.assignees,
        "labels": card.labels,
    }
    if "state" in expand:
        body["state"] = brief_state(_state_of(project, card))
    if "labels" in expand:
        body["labels"] = [label(world, project, one) for one in _labels(project, card)]
    if "assignees" in expand:
        body["assignees"] = [user(one) for one in _assignees(world, card)]
    if "project" in expand:
        body["project"] = _brief_project(project)
    return body


def _brief_project(project: PlaneProject) -> Json:
    return {
        "id": project.id,
        "identifier": project.identifier,
        "name": project.name,
        "cover_image": None,
        "icon_prop": None,
        "emoji": None,
        "description": "",
        "cover_image_url": None,
    }


def hook_issue(world: PlaneWorld, project: PlaneProject, card: Card) -> Json:
    """The `data` of an issue webhook: everything is expanded there, but more briefly than in the API."""
    return _common(world, card) | {
        "labels": [{"id": one.id, "name": one.name, "color": one.color} for one in _labels(project, card)],
        "assignees": [user(one) for one in _assignees(world, card)],
        "state": brief_state(_state_of(project, card)),
        "description": {},
        "description_json": {},
        "description_stripped": stripped(card.description_html),
    }


def comment(world: PlaneWorld, one: PlaneComment, *, project: str, listed: bool = False) -> Json:
    """A comment as the API answers it and as a webhook carries it; in lists it has `is_member`."""
    body: Json = {
        "id": one.id,
        "created_at": stamp(one.created_at),
        "updated_at": stamp(one.updated_at),
        "deleted_at": None,
        "comment_html": one.comment_html,
        "attachments": [],
        "access": "INTERNAL",
        "external_source": one.external_source,
        "external_id": one.external_id,
        "edited_at": None,
        "created_by": one.actor,
        "updated_by": one.updated_by,
        "project": project,
        "workspace": world.workspace_id,
        "description": one.description,
        "issue": one.card,
        "actor": one.actor,
        "parent": None,
    }
    return body | {"is_member": True} if listed else body


def activity(actor: PlaneUser, field: str | None = None, old: object = None, new: object = None) -> Json:
    """What a webhook says about the change itself."""
    return {
        "field": field,
        "new_value": new,
        "old_value": old,
        "actor": user(actor),
        "old_identifier": None,
        "new_identifier": None,
    }


def page(results: list[Json], *, per_page: int, number: int) -> Json:
    """One page of a list, with Plane's `per_page:page:offset` cursors; a page past the end is empty, not an error."""
    total = len(results)
    chosen = results[number * per_page : (number + 1) * per_page]
    return {
        "grouped_by": None,
        "sub_grouped_by": None,
        "total_count": total,
        "next_cursor": f"{per_page}:{number + 1}:0",
        "prev_cursor": f"{per_page}:{number - 1}:1",
        "next_page_results": (number + 1) * per_page < total,
        "prev_page_results": number > 0,
        "count": len(chosen),
        "total_pages": -(-total // per_page),
        "total_results": total,
        "extra_stats": None,
        "results": chosen,
    }
