"""What can be done in Plane, whoever asks for it: its API, the board page, or the control API. Sends its webhooks."""

from collections.abc import Iterator, Mapping
from typing import TypeVar
from uuid import UUID

from deployments.sandbox import plane_payloads as payloads
from deployments.sandbox.clock import now
from deployments.sandbox.core import Core
from deployments.sandbox.plane_hooks import PlaneHooks
from deployments.sandbox.plane_payloads import Json
from deployments.sandbox.plane_state import (
    Card,
    PlaneActivity,
    PlaneComment,
    PlaneLabel,
    PlaneProject,
    PlaneState,
    PlaneUser,
    PlaneWebhook,
)
from pipeline.stages import Status

GROUPS: Mapping[Status, str] = {
    Status.TO_ANALYSE: "unstarted",
    Status.NEEDS_INPUT: "unstarted",
    Status.BLOCKED: "unstarted",
    Status.REJECTED: "cancelled",
    Status.STOP: "cancelled",
    Status.CANCELLED: "cancelled",
    Status.DONE: "completed",
}
"""Plane's group of each state; `started` where nothing is said. As on the board that the recordings came from."""

UI_FIELDS: Mapping[str, str] = {"state": "state_id", "labels": "label_ids", "assignees": "assignee_ids"}
"""What Plane's own pages call a changed field, where the API calls it otherwise (measured on Plane CE 1.3)."""

EDITABLE = ("name", "description_html", "state", "labels", "assignees", "priority", "sort_order")


Found = TypeVar("Found")


class PlaneError(Exception):
    """An answer other than success: `status` and the JSON `body`."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


MISSING = PlaneError(404, {"error": "The requested resource does not exist."})
NOT_ALLOWED = PlaneError(403, {"detail": "You do not have permission to perform this action."})


def seeded_states() -> list[PlaneState]:
    """One state per logical key, in Title Case, and Backlog."""
    names = [("Backlog", "backlog")]
    names += [(status.value.replace("_", " ").title(), GROUPS.get(status, "started")) for status in Status]
    return [
        PlaneState(name=name, group=group, sequence=15000.0 * number, default=number == 1)
        for number, (name, group) in enumerate(names, 1)
    ]


class Plane:
    """A workspace of Plane. Every change is saved and announced to the workspace's webhooks."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.world = core.world.plane
        self._hooks = PlaneHooks(core)
        self._tokens = {
            core.options.plane_bot_token: "pipeline-bot",
            core.options.plane_stream_token: "stream-bot",
            core.options.plane_person_token: "ada",
            core.options.plane_outsider_token: "eve",
        }

    def seed(self) -> None:
        """The people of a new workspace: two bots, Ada, and Eve who belongs to no project."""
        self.world.users += [
            PlaneUser(display_name="pipeline-bot", first_name="Pipe", last_name="Line", email="bot@example.com"),
            PlaneUser(display_name="stream-bot", first_name="Stream", last_name="Bot", email="stream@example.com"),
            PlaneUser(display_name="ada", first_name="Ada", last_name="Admin", email="ada@example.com"),
            PlaneUser(display_name="eve", first_name="Eve", last_name="Else", email="eve@example.com", member=False),
        ]

    def add_project(self, identifier: str, name: str) -> PlaneProject:
        """A new project with every state and the two labels that Orch knows."""
        members = [one.id for one in self.world.users if one.member]
        project = PlaneProject(identifier=identifier, name=name, created_by=self.user("ada").id, members=members)
        project.states = seeded_states()
        project.labels = [
            PlaneLabel(name="autoApprove"),
            PlaneLabel(name="autoDeploy", sort_order=75535.0),
        ]
        self.world.projects.append(project)
        self._core.changed()
        return project

    # --- finding ---

    def user(self, display_name: str) -> PlaneUser:
        """A user by display name; `KeyError` when there is none."""
        for one in self.world.users:
            if one.display_name == display_name:
                return one
        raise KeyError(f"Plane has no user {display_name}.")

    def user_of_token(self, token: str) -> PlaneUser | None:
        """Whom an API key belongs to."""
        return self.user(self._tokens[token]) if token in self._tokens else None

    def project(self, project_id: str) -> PlaneProject:
        """A project by id; `MISSING` otherwise."""
        return _only(one for one in self.world.projects if one.id == project_id)

    def project_named(self, identifier: str) -> PlaneProject:
        """A project by its identifier, such as SHOP; `MISSING` otherwise."""
        return _only(one for one in self.world.projects if one.identifier == identifier)

    def card(self, card_id: str) -> Card:
        """A card by id; `MISSING` when there is none or it is archived."""
        return _only(one for one in self.world.cards if one.id == card_id and one.archived_at is None)

    def card_by_key(self, key: str) -> Card:
        """A card by its key, such as SHOP-12; `MISSING` otherwise."""
        identifier, _, number = key.rpartition("-")
        project = self.project_named(identifier)
        return _only(c for c in self.world.cards if c.project == project.id and str(c.sequence_id) == number)

    def key(self, card: Card) -> str:
        """The key of a card."""
        return f"{self.project(card.project).identifier}-{card.sequence_id}"

    def state_name(self, card: Card) -> str:
        """The name of the column that a card is in."""
        return next(s.name for s in self.project(card.project).states if s.id == card.state)

    def comments_of(self, card: Card) -> list[PlaneComment]:
        """A card's comments, oldest first."""
        return [one for one in self.world.comments if one.card == card.id]

    # --- changing ---

    def create_card(self, project: PlaneProject, fields: Mapping[str, object], actor: PlaneUser) -> Card:
        """A new card; `name` is required, the state is the default one unless given."""
        if not fields.get("name"):
            raise PlaneError(400, {"name": ["This field is required."]})
        self._check(project, fields)
        project.last_sequence += 1
        default = next(state.id for state in project.states if state.default)
        wanted = {name: fields[name] for name in (*EDITABLE, "external_source", "external_id") if name in fields}
        card = Card.model_validate(
            {"state": default}
            | wanted
            | {"project": project.id, "sequence_id": project.last_sequence, "created_by": actor.id}
        )
        self.world.cards.append(card)
        self._hooks.card("created", project, card, payloads.activity(actor))
        return card

    def update_card(self, card: Card, fields: Mapping[str, object], actor: PlaneUser, *, ui: bool = False) -> None:
        """Change fields of a card. One webhook per changed field; fields that Plane does not know are ignored.

        A value that stays the same sends nothing, except labels in another order and a saved description
        (measured on Plane CE 1.3).
        """
        known = {name: fields[name] for name in EDITABLE if name in fields}
        project = self.project(card.project)
        self._check(project, known)
        for name, new in known.items():
            old = getattr(card, name)
            if old == new and name != "description_html":
                continue
            setattr(card, name, new)
            self._touch(card, actor)
            self._note(project, card, actor, name, old, new)
            field = UI_FIELDS.get(name, name) if ui else name
            self._hooks.card("updated", project, card, payloads.activity(actor, field, old, new))

    def move_card(self, card: Card, state: PlaneState, actor: PlaneUser, *, ui: bool) -> None:
        """Put a card into another column; dragging on the board also changes its place there."""
        fields: Json = {"state": state.id}
        if ui and card.state != state.id:
            fields["sort_order"] = card.sort_order + 10000.0
        self.update_card(card, fields, actor, ui=ui)

    def delete_card(self, card: Card) -> None:
        """Delete a card and its comments; no webhook tells (measured on Plane CE 1.3)."""
        self.world.cards.remove(card)
        self.world.comments[:] = [one for one in self.world.comments if one.card != card.id]
        self._core.changed()

    def add_comment(self, card: Card, fields: Mapping[str, object], actor: PlaneUser) -> PlaneComment:
        """A new comment; a pair of external source and id that is already there answers 409 with its id."""
        pair = (fields.get("external_source"), fields.get("external_id"))
        for one in self.world.comments if all(pair) else ():
            if (one.external_source, one.external_id) == pair and self._same_project(one, card):
                text = "Work item comment with the same external id and external source already exists"
                raise PlaneError(409, {"error": text, "id": one.id})
        comment = PlaneComment(
            card=card.id,
            actor=actor.id,
            comment_html=str(fields.get("comment_html") or "<p></p>"),
            external_source=_text(pair[0]),
            external_id=_text(pair[1]),
        )
        self.world.comments.append(comment)
        card.updated_at = now()
        self._hooks.comment("created", self.project(card.project), comment, payloads.activity(actor))
        return comment

    def edit_comment(self, comment: PlaneComment, comment_html: str, actor: PlaneUser) -> None:
        """Change the text of a comment."""
        old, comment.comment_html = comment.comment_html, comment_html
        comment.updated_by, comment.updated_at = actor.id, now()
        activity = payloads.activity(actor, "comment_html", old, comment_html)
        project = self.project(self.card(comment.card).project)
        self._hooks.comment("updated", project, comment, activity)

    def block(self, card: Card, by: list[Card]) -> None:
        """Say that `card` is blocked by other cards; bumps both sides, and no webhook tells."""
        for blocker in by:
            if blocker.id not in card.blocked_by:
                card.blocked_by.append(blocker.id)
            card.updated_at = blocker.updated_at = now()
        self._core.changed()

    def set_webhook(self, url: str, secret: str) -> PlaneWebhook:
        """The webhook for `url`, made or given a new secret, and switched on."""
        found = next((one for one in self.world.webhooks if one.url == url), None)
        hook = found or PlaneWebhook(url=url, secret=secret)
        hook.secret, hook.active = secret, True
        if found is None:
            self.world.webhooks.append(hook)
        self._core.changed()
        return hook

    # --- helpers ---

    def _same_project(self, comment: PlaneComment, card: Card) -> bool:
        return any(one.id == comment.card and one.project == card.project for one in self.world.cards)

    def _touch(self, card: Card, actor: PlaneUser) -> None:
        card.updated_by, card.updated_at = actor.id, now()
        group = next(s.group for s in self.project(card.project).states if s.id == card.state)
        card.completed_at = (card.completed_at or now()) if group == "completed" else None

    def _note(self, project: PlaneProject, card: Card, actor: PlaneUser, field: str, old: object, new: object) -> None:
        """What Plane writes into its log of activities: states by name."""
        words = {state.id: state.name for state in project.states} if field == "state" else {}
        said = [words.get(str(value), str(value)) for value in (old, new)]
        self.world.activities.append(PlaneActivity(card=card.id, actor=actor.id, field=field, old=said[0], new=said[1]))

    def _check(self, project: PlaneProject, fields: Mapping[str, object]) -> None:
        state = fields.get("state")
        if state is not None and not _is_uuid(state):
            raise PlaneError(400, {"state": [f"“{state}” is not a valid UUID."]})
        if state is not None and project.state(str(state)) is None:
            raise PlaneError(400, {"non_field_errors": ["State is not valid please pass a valid state_id"]})
        known = {"labels": {one.id for one in project.labels}, "assignees": set(project.members)}
        for name, allowed in known.items():
            ids = fields.get(name, [])
            if not isinstance(ids, list):
                raise PlaneError(400, {name: [f'Expected a list of items but got type "{type(ids).__name__}".']})
            for one in ids:
                if one not in allowed:
                    raise PlaneError(400, {name: [f'Invalid pk "{one}" - object does not exist.']})


def _only(found: Iterator[Found]) -> Found:
    for one in found:
        return one
    raise MISSING


def _is_uuid(value: object) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True


def _text(value: object) -> str | None:
    return None if value is None else str(value)
