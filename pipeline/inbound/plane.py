"""Plane's webhooks, understood without any I/O. Shapes as measured on Plane Community 1.3.1."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, model_validator

from pipeline.errors import UnreadableDelivery
from pipeline.inbound.reading import read
from pipeline.inbound.signature import check_signature, digest, header
from pipeline.model import Delivery, InboundSignal, StateChange
from pipeline.plain_text import html_to_text
from pipeline.signals import Signal

SOURCE = "plane"
SIGNATURE = "X-Plane-Signature"
EVENTS = ("X-Plane-Event",)

_STATE_FIELDS = frozenset({"state", "state_id"})
"""`state` when changed over the API, `state_id` when a person moved the card."""


_Told = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
"""A text that some versions leave out and others send as null."""


class _Envelope(BaseModel):
    event: str
    action: _Told = ""
    event_id: _Told = ""


class _Actor(BaseModel):
    """Who did it; some versions send the bare id."""

    id: str
    display_name: _Told = ""
    email: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, told: Any) -> Any:
        return {"id": told} if isinstance(told, str) else told


class _Activity(BaseModel):
    field: str | None = None
    new_value: Any = None  # of another type for other fields
    new_identifier: Any = None  # of what `new_value` names, where that is a name; null where it is the id
    actor: _Actor | None = None

    @property
    def led_to(self) -> str:
        """The id that the field was set to; empty where that is not told."""
        return _text(self.new_identifier) or _text(self.new_value)


class _State(BaseModel):
    id: str
    name: _Told = ""
    group: _Told = ""


class _Issue(BaseModel):
    """`data` of an issue event: the whole issue as it was when the delivery was *sent*, not when it changed.

    Older versions send the changed fields only, and the commercial edition spells references `..._id`.
    """

    id: str
    project: _Told = ""
    state: _State | str | None = None
    sequence_id: int | None = None
    name: str | None = None
    description_html: str | None = None
    description_stripped: str | None = None
    updated_at: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _either(cls, told: Any) -> Any:
        if not isinstance(told, dict):
            return told
        spelt = {name: told[f"{name}_id"] for name in ("project", "state") if f"{name}_id" in told}
        return {**told, **{name: value for name, value in spelt.items() if told.get(name) is None}}


class _Created(BaseModel):
    data: _Issue
    activity: _Activity | None = None


class _Updated(BaseModel):
    """Only `activity` tells a state change from any other, so an update without it cannot be acted on."""

    activity: _Activity | None = None


class _Moved(BaseModel):
    data: _Issue
    activity: _Activity


class _SecondVersion(BaseModel):
    """The commercial edition's webhooks, version 2, as far as its documentation says: no `activity`, but what was."""

    data: _Issue
    previous_attributes: dict[str, Any] = {}
    actor: _Actor | None = None
    activity: _Activity | None = None


class _Comment(BaseModel):
    id: str
    issue: str
    project: str
    comment_html: str
    actor: _Told = ""
    created_at: Any = None


class _Commented(BaseModel):
    data: _Comment
    activity: _Activity | None = None


def parse_plane(headers: Mapping[str, str], body: bytes, secret: str) -> Delivery:
    """What a delivery of Plane's says, once its signature is checked; see `understand_plane`.

    Raises `BadSignature` before anything of the body is looked at, `UnreadableDelivery` naming what is missing.
    """
    check_signature(body, header(headers, SIGNATURE), secret)
    return understand_plane(headers, body)


def understand_plane(_headers: Mapping[str, str], body: bytes) -> Delivery:
    """What a delivery of Plane's says, whoever may have sent it.

    A card that stands in a state (created there, or moved) gives one signal with `state`; a new comment gives
    `ANSWER_GIVEN` with its `text`. Everything else is ignored with the reason. `actor_id` is Plane's user id, our own
    bots included: the caller tells them apart. What an older version does not tell (`project_ref`, and `sequence_id`
    in the payload) is left empty, to be read from the API. Raises `UnreadableDelivery` naming what is missing.
    """
    # The event is taken from the body, which is signed; the header that repeats it is not.
    envelope = read(_Envelope, body, "Plane")
    signals, ignored_because = _understand(envelope, body)
    return Delivery(
        source=SOURCE,
        event=envelope.event,
        # Version 2 numbers its attempts in the body; what it calls the event stays the same.
        digest=digest(SOURCE, envelope.event, envelope.event_id.encode() or body),
        signals=signals,
        ignored_because=ignored_because,
    )


def _understand(envelope: _Envelope, body: bytes) -> tuple[tuple[InboundSignal, ...], str]:
    match envelope.event, envelope.action:
        case "issue", "created":
            return _created(body)
        case "issue", "updated":
            return _updated(body)
        case "issue_comment", "created":
            return (_answer(read(_Commented, body, "Plane")),), ""
        case ("workitem.created" | "workitem.updated") as event, _:
            return _second_version(event, body)
    return (), f"Nothing follows from Plane's event {envelope.event!r} with action {envelope.action!r}."


def _created(body: bytes) -> tuple[tuple[InboundSignal, ...], str]:
    created = read(_Created, body, "Plane")
    if not created.data.state:
        return (), "The new issue's state is not told; polling will find it."
    return (_state_signal(created.data, created.data.state, created.activity or _Activity()),), ""


def _updated(body: bytes) -> tuple[tuple[InboundSignal, ...], str]:
    activity = read(_Updated, body, "Plane").activity
    if activity is None:
        # Not taken for a move: an edit of a card that stands in Approved, or Orch's own, would be a person's word.
        return (), "Plane's update does not tell what was changed and by whom; polling will find where the card stands."
    if activity.field not in _STATE_FIELDS:
        return (), f"Nothing follows from a change of an issue's {activity.field or 'unnamed field'}."
    moved = read(_Moved, body, "Plane")
    state = moved.data.state or moved.activity.led_to
    if not state:
        raise UnreadableDelivery("Plane's delivery cannot be read: field data.state: neither it nor the change tells.")
    return (_state_signal(moved.data, state, moved.activity),), ""


def _second_version(event: str, body: bytes) -> tuple[tuple[InboundSignal, ...], str]:
    told = read(_SecondVersion, body, "Plane")
    if event == "workitem.updated" and not _STATE_FIELDS & told.previous_attributes.keys():
        changed = ", ".join(sorted(told.previous_attributes)[:5]) or "unnamed field"
        return (), f"Nothing follows from a change of an issue's {changed}."
    actor = told.actor or (told.activity.actor if told.activity else None)
    if not told.data.state or actor is None:
        return (), f"Plane's event {event!r} does not tell the state and who put the card there; polling will find it."
    return (_state_signal(told.data, told.data.state, _Activity(field="state", actor=actor)),), ""


def _state_signal(issue: _Issue, state: _State | str, activity: _Activity) -> InboundSignal:
    # `data.state` is where the card stands by now, `activity.new_value` where this change led; with quick changes they
    # differ. Older versions send the state's bare id.
    standing = _State(id=state) if isinstance(state, str) else state
    actor = activity.actor or _Actor(id="")
    return InboundSignal(
        project_ref=issue.project,
        item_ref=issue.id,
        state=StateChange(standing.id, standing.name, standing.group, activity.led_to),
        actor=actor.display_name,
        actor_id=actor.id,
        payload=_known(issue, activity),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _known(issue: _Issue, activity: _Activity) -> dict[str, object]:
    """What the delivery tells about the issue; a key that is absent has to be read from the API."""
    told: dict[str, object | None] = {
        "sequence_id": issue.sequence_id,
        "title": issue.name,
        "description": _description(issue),
        "updated_at": issue.updated_at,
        "field": activity.field,
    }
    return {key: value for key, value in told.items() if value is not None}


def _description(issue: _Issue) -> str | None:
    """Plain text; from the HTML where there is any, because Plane's own stripped text runs paragraphs together."""
    return issue.description_stripped if issue.description_html is None else html_to_text(issue.description_html)


def _answer(commented: _Commented) -> InboundSignal:
    comment = commented.data
    actor = commented.activity.actor if commented.activity else None
    return InboundSignal(
        project_ref=comment.project,
        item_ref=comment.issue,
        signal=Signal.ANSWER_GIVEN,
        actor=actor.display_name if actor else "",
        actor_id=actor.id if actor else comment.actor,
        payload={
            "comment_id": comment.id,
            "text": html_to_text(comment.comment_html),
            "email": (actor.email if actor else None) or "",
            "created_at": _text(comment.created_at),
        },
    )
