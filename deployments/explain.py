"""What a recorded delivery means, by the same code that the receiver runs; nothing is stored and nobody is asked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import BadSignature, Refused, UnreadableDelivery
from pipeline.inbound.recorded import Recorded, read_recorded
from pipeline.inbound.sources import Source, source_of
from pipeline.model import Delivery, InboundSignal, StateChange
from pipeline.projects import DEFAULT_STATE_NAMES, Project, Registry, normal_name
from pipeline.signals import Signal
from pipeline.stages import Status
from pipeline.states import SIGNALS

Explanation = dict[str, Any]


def explain(file: Path, secret: str, registry: Registry) -> Explanation:
    """What the delivery in `file` means, JSON-ready. Without `secret` its signature is not looked at.

    Either there are `signals`, or `ignored_because` says why the receiver would do nothing; with a wrong signature
    both, for it would refuse what is understood here. Raises `Refused` for a file that holds no recording.
    """
    try:
        recorded = read_recorded(file.read_bytes())
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}.") from error
    except UnreadableDelivery as error:
        raise Refused(f"{file} is not a recorded delivery: it {error}.") from error
    if isinstance(recorded, str):
        return _explanation(None, "unchecked", ignored_because=recorded)
    source = source_of(recorded.headers)
    if source is None:
        return _explanation(None, "unchecked", ignored_because="No sender that Orch knows sends these headers.")
    return _of(source, recorded, secret, registry)


def _of(source: Source, recorded: Recorded, secret: str, registry: Registry) -> Explanation:
    signature, refused = _signature(source, recorded, secret)
    try:
        delivery = source.understand(recorded.headers, recorded.body)
    except UnreadableDelivery as error:
        return _explanation(source.name, signature, ignored_because=refused or str(error))
    return _explanation(source.name, signature, delivery, registry, ignored_because=refused or delivery.ignored_because)


def _signature(source: Source, recorded: Recorded, secret: str) -> tuple[str, str]:
    """The signature's state in one word, and why the receiver would refuse the delivery; empty when it would not."""
    if not secret:
        return "unchecked", ""
    told = source.signature_of(recorded.headers)
    try:
        source.check(recorded.body, told, secret)
    except BadSignature as error:
        return ("invalid" if told else "missing"), str(error)
    return "valid", ""


def _explanation(
    source: str | None,
    signature: str,
    delivery: Delivery | None = None,
    registry: Registry | None = None,
    *,
    ignored_because: str,
) -> Explanation:
    known = registry or Registry()
    return {
        "source": source,
        "event": delivery.event if delivery else None,
        "signature": signature,
        "dedupe_key": delivery.digest if delivery else None,
        "signals": [_signal(inbound, known) for inbound in delivery.signals] if delivery else [],
        "ignored_because": ignored_because or None,
    }


def _signal(inbound: InboundSignal, registry: Registry) -> Mapping[str, object]:
    project = registry.of_tracker(inbound.project_ref) or registry.of_repository(inbound.project_ref)
    name, note = (inbound.signal, "") if inbound.state is None else _meaning(inbound.state, project)
    return {
        "name": name,
        "project": inbound.project_ref,
        "project_key": project.key if project else None,
        "item_ref": inbound.item_ref,
        "actor": inbound.actor or inbound.actor_id,
        "state": _state(inbound.state),
        "note": note or None,
        "payload": dict(inbound.payload),
    }


def _state(change: StateChange | None) -> Mapping[str, str] | None:
    if change is None:
        return None
    return {
        "id": change.state_id,
        "name": change.state_name,
        "group": change.state_group,
        "moved_to": change.moved_to,
    }


def _meaning(change: StateChange, project: Project | None) -> tuple[Signal | None, str]:
    """The signal by the delivered state's name, and how far that can be trusted: the project's own list decides."""
    if not change.state_name:
        return None, "Only the state's id was delivered; the project's list of states, which tells its name, decides."
    status = (
        project.status_of(change.state_name) if project else DEFAULT_STATE_NAMES.get(normal_name(change.state_name))
    )
    if status is Status.IN_PROGRESS:
        return None, f"{change.state_name} means start_requested only where the project has no state To Analyse."
    signal = SIGNALS.get(status) if status else None
    by = f"the registry's project {project.key}" if project else "Orch's own list of names"
    if signal is None:
        return None, f"State {change.state_name} asks for nothing, by {by}."
    return signal, f"By the delivered state's name and {by}; the receiver reads the project's list of states."
