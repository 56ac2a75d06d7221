"""What the tracker tells."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class TrackerState:
    """One state of a tracker project, as it stands there."""

    id: str
    name: str
    group: str


@dataclass(frozen=True, slots=True)
class TrackerItem:
    """A tracker issue as the API tells it. `description` is plain text, `labels` are ids."""

    id: str
    project_id: str
    sequence_id: int
    title: str
    description: str
    state_id: str
    updated_at: datetime
    labels: tuple[str, ...] = ()
    priority: str = "none"


@dataclass(frozen=True, slots=True)
class TrackerLabel:
    """One label of a tracker project."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class TrackerComment:
    """A comment on a tracker issue, as plain text."""

    id: str
    actor_id: str
    text: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TrackerRef:
    """An issue of the tracker, of whatever project, by its ids."""

    project_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class TrackerMember:
    """Somebody who may work on a tracker project, bots included."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class TrackerActivity:
    """One change of a tracker issue: `field` went from `old` to `new`, in words where it is a state."""

    field: str
    old: str
    new: str
    actor_id: str
    at: datetime
