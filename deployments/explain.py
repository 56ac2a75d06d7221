"""What a recorded delivery means, by the same code that the receiver runs; nothing is stored and nobody is asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import BadSignature, Refused, UnreadableDelivery
from pipeline.inbound.reading import NOT_JSON, says_json
from pipeline.inbound.recorded import Recorded, read_recorded
from pipeline.inbound.signature import digest
from pipeline.inbound.sources import Source, source_of
from pipeline.model import Delivery, InboundSignal, StateChange
from pipeline.projects import DEFAULT_STATE_NAMES, Project, Registry, normal_name
from pipeline.signals import Signal
from pipeline.stages import Status
from pipeline.states import SIGNALS, ends_work

Explanation = dict[str, Any]


def explain(file: Path, secret: str, registry: Registry) -> Explanation:
    """What the delivery in `file` means, JSON-ready. Without `secret` its signature is not looked at.

    Either there are `signals`, each with a name, or `ignored_because` says why the receiver would do nothing. The event
    is told in any case. Raises `Refused` for a file that holds no recording.
    """
    try:
        recorded = read_recorded(file.read_bytes())
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}.") from error
    except UnreadableDelivery as error:
        raise Refused(f"{file} is not a recorded delivery: it {error}.") from error
    if isinstance(recorded, str):
        return _explanation(None, ignored_because=recorded)
    source = source_of(recorded.headers)
    if source is None:
        return _explanation(None, ignored_because="No sender that Orch knows sends these headers.")
    return _of(source, recorded, secret, registry)


def _of(source: Source, recorded: Recorded, secret: str, registry: Registry) -> Explanation:
    signature, unsigned = _signature(source, recorded, secret)
    refused = _wrong_type(recorded) or unsigned  # in the receiver's order
    try:
        delivery = source.understand(recorded.headers, recorded.body)
    except UnreadableDelivery as error:
        event = source.event_of(recorded.headers)
        key = digest(source.name, event, recorded.body)
        return _explanation(source.name, signature, event, key, ignored_because=refused or str(error))
    signals, ignored_because = ([], refused) if refused else _signals(delivery, registry)
    return _explanation(
        source.name, signature, delivery.event, delivery.digest, signals, ignored_because=ignored_because
    )


def _wrong_type(recorded: Recorded) -> str:
    """Why the receiver would refuse the content type; empty when it would not, or when none was recorded."""
    told = recorded.headers.get("content-type")
    return "" if told is None or says_json(told) else NOT_JSON


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
    signature: str = "unchecked",
    event: str = "",
    dedupe_key: str = "",
    signals: Sequence[Mapping[str, object]] = (),
    *,
    ignored_because: str,
) -> Explanation:
    return {
        "source": source,
        "event": event or None,
        "signature": signature,
        "dedupe_key": dedupe_key or None,
        "signals": list(signals),
        "ignored_because": ignored_because or None,
    }


def _signals(delivery: Delivery, registry: Registry) -> tuple[list[Mapping[str, object]], str]:
    """What the delivery asks for; when that is nothing, why."""
    told: list[Mapping[str, object]] = []
    notes = [delivery.ignored_because]
    for inbound in delivery.signals:
        project = registry.of_tracker(inbound.project_ref) or registry.of_repository(inbound.project_ref)
        name, note = _meaning(inbound, project, registry)
        if name is None:
            notes.append(note)
        else:
            told.append(_signal(inbound, project, name, note))
    return told, "" if told else next((note for note in notes if note), "")


def _signal(inbound: InboundSignal, project: Project | None, name: Signal, note: str) -> Mapping[str, object]:
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


def _meaning(inbound: InboundSignal, project: Project | None, registry: Registry) -> tuple[Signal | None, str]:
    """The signal and how far it can be trusted; None with the reason where the receiver would do nothing."""
    if project is None and inbound.project_ref and registry:
        return None, f"No project of the registry is {inbound.project_ref}."
    base = inbound.payload.get("base")
    if project is not None and base is not None and base != project.default_branch:
        default = project.default_branch
        return None, f"The pull request wants into {base}, not into {default}, on which {project.key} lands."
    return (inbound.signal, "") if inbound.state is None else _of_state(inbound.state, project)


def _of_state(change: StateChange, project: Project | None) -> tuple[Signal | None, str]:
    """The signal by the delivered state's name, and how far that can be trusted: the project's own list decides."""
    if not change.state_name:
        return None, "Only the state's id was delivered; the project's list of states, which tells its name, decides."
    status = (
        project.status_of(change.state_name) if project else DEFAULT_STATE_NAMES.get(normal_name(change.state_name))
    )
    if status is Status.IN_PROGRESS:
        return None, f"{change.state_name} means start_requested only where the project has no state To Analyse."
    signal = SIGNALS.get(status) if status else None
    if signal is None and ends_work(change.state_group, status):
        return Signal.CARD_CLOSED, (
            f"Work ends in state {change.state_name}: that counts for an item that Orch works on and has not closed "
            "itself."
        )
    by = f"the registry's project {project.key}" if project else "Orch's own list of names"
    if signal is None:
        return None, f"State {change.state_name} asks for nothing, by {by}."
    return signal, f"By the delivered state's name and {by}; the receiver reads the project's list of states."
