"""What comes in from outside."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.signals import Signal


@dataclass(frozen=True, slots=True)
class StateChange:
    """A card now stands in this state; which signal that is depends on the project's states.

    `moved_to` is the state that the change itself led to, where that is told; it differs when the card has been moved
    on before the delivery was written.
    """

    state_id: str
    state_name: str
    state_group: str
    moved_to: str = ""


@dataclass(frozen=True, slots=True)
class InboundSignal:
    """What a delivery says, before the registry has resolved its project.

    `project_ref` is the tracker's project id or the forge's `owner/name`, and empty for a pressed button; `item_ref` a
    tracker issue id, a branch, a pull request as `#12`, a commit as `sha:<sha>`, or the wait that a button was about as
    `wait:<key>`. Exactly one of `signal` and `state` is set.
    """

    project_ref: str
    item_ref: str
    signal: Signal | None = None
    state: StateChange | None = None
    actor: str = ""
    actor_id: str = ""
    payload: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verified webhook, understood. Without signals `ignored_because` says why, in one sentence."""

    source: str
    event: str
    digest: str
    signals: tuple[InboundSignal, ...] = ()
    ignored_because: str = ""
