"""The automations: which event starts, resumes or reports what. One table, one sync.

Events are hints: an automation that fires twice, or not at all, is healed by the flows and the reconciler.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.events.actions import ActionTypes, ResumeFlowRun, RunDeployment, SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture

from pipeline.signals import DECISIONS, STAGE_ENTERED, WAIT_ANSWERED, WAKE, Signal
from pipeline.stages import WORKED

PREFIX = "orch:"
"""Automations whose name starts so are ours: those that the table does not know (any more) are deleted."""

STAGE_TAG = "orch-stage"
TAGS = ["orch"]
OUR_EVENTS = {"prefect.resource.id": "orch.work-item.*"}
STAGE_RUN_DIED = {"prefect.flow-run.Crashed", "prefect.flow-run.Failed"}
STAGE_RUNS = {"prefect.resource.id": f"prefect.tag.{STAGE_TAG}", "prefect.resource.role": "tag"}

ITEM_OF_EVENT = {"work_item": "{{ event.payload.work_item }}"}
ITEM_OF_RUN = {"work_item": "{{ flow_run.parameters.work_item }}"}

STARTERS = {Signal.START_REQUESTED: "intake", Signal.STOP_REQUESTED: "stop"}
"""Signals that start a flow of their own."""

WAKING = frozenset(Signal) - DECISIONS - STARTERS.keys()
"""Signals that wake the item. Decisions do not: their run is resumed by `WAIT_ANSWERED`."""

DIED_SUBJECT = "Run {{ flow_run.name }} {{ flow_run.state.name }}"
DIED_BODY = "{{ flow_run.state.message }}\n{{ flow_run | ui_url }}"

PAGE = 200


def table(deployments: Mapping[str, UUID], telegram_block: UUID | None) -> Iterator[AutomationCore]:
    """Every automation of Orch. `deployments` are ids by deployment name; without a block nobody is notified."""
    for signal, flow in STARTERS.items():
        yield _automation(f"{signal} starts {flow}", _ours({signal.event}), _run(deployments[flow], ITEM_OF_EVENT))
    for stage in WORKED:
        trigger = _ours({STAGE_ENTERED}, {"orch.stage": stage.value})
        yield _automation(f"entering {stage} starts it", trigger, _run(deployments[stage], ITEM_OF_EVENT))
    wake = deployments["wake"]
    yield _automation("wake", _ours({WAKE}), _run(wake, ITEM_OF_EVENT))
    yield _automation("signals wake", _ours({signal.event for signal in WAKING}), _run(wake, ITEM_OF_EVENT))
    yield _automation("an answer resumes its run", _ours({WAIT_ANSWERED}), ResumeFlowRun())
    yield _automation("a dead stage run wakes", _died(), _run(wake, ITEM_OF_RUN))
    if telegram_block is not None:
        tell = SendNotification(block_document_id=telegram_block, subject=DIED_SUBJECT, body=DIED_BODY)
        yield _automation("a dead stage run is told", _died(), tell)


@dataclass(frozen=True, slots=True)
class Synced:
    """What `sync_automations` did, a sentence for each change, and which automations the operator has switched off."""

    changes: tuple[str, ...]
    disabled: tuple[str, ...]


async def sync_automations(
    client: PrefectClient, deployments: Mapping[str, UUID], *, telegram_block: UUID | None = None
) -> Synced:
    """Make the server's automations those of the table. Idempotent.

    Equal ones are left alone, different ones updated in place, so that ids and the events under way survive. `enabled`
    is the operator's: never compared, and copied from the server on update.
    """
    ours = [found for found in await _read_all(client) if found.name.startswith(PREFIX)]
    changes: list[str] = []
    disabled: list[str] = []
    for wanted in table(deployments, telegram_block):
        found = next((automation for automation in ours if automation.name == wanted.name), None)
        if found is None:
            await client.create_automation(wanted)
            changes.append(f"created automation {wanted.name}")
            continue
        ours.remove(found)
        if not found.enabled:
            disabled.append(found.name)
        if _content(found) != _content(wanted):
            await client.update_automation(found.id, _complete(wanted, found.enabled))
            changes.append(f"updated automation {wanted.name}")
    for stray in ours:
        await client.delete_automation(stray.id)
        changes.append(f"deleted automation {stray.name}")
    return Synced(tuple(changes), tuple(disabled))


async def _read_all(client: PrefectClient) -> list[Automation]:
    found: list[Automation] = []
    while page := await client.read_automations(limit=PAGE, offset=len(found)):
        found += page
    return found


def _complete(automation: AutomationCore, enabled: bool) -> AutomationCore:
    """The same with every field set: the client's update leaves defaults out, the kinds of trigger and action too.

    All but the owner, which only the creation may tell (Prefect 3.8.8 answers 422 otherwise).
    """
    return AutomationCore.model_validate(automation.model_dump(exclude={"owner_resource"}) | {"enabled": enabled})


def _content(automation: AutomationCore) -> dict[str, Any]:
    return automation.model_dump(include={"name", "description", "tags", "trigger", "actions"})


def _automation(name: str, trigger: EventTrigger, action: ActionTypes) -> AutomationCore:
    return AutomationCore(name=f"{PREFIX} {name}", description="", tags=TAGS, trigger=trigger, actions=[action])


def _ours(events: set[str], labels: Mapping[str, str] | None = None) -> EventTrigger:
    return _each(events, match=OUR_EVENTS | dict(labels or {}))


def _died() -> EventTrigger:
    return _each(STAGE_RUN_DIED, match={"prefect.resource.id": "prefect.flow-run.*"}, match_related=STAGE_RUNS)


def _each(events: set[str], **matches: Any) -> EventTrigger:
    """A trigger that fires at once for every single one of `events`."""
    return EventTrigger(expect=events, posture=Posture.Reactive, threshold=1, within=timedelta(0), **matches)


def _run(deployment: UUID, parameters: Mapping[str, str]) -> RunDeployment:
    return RunDeployment(deployment_id=deployment, parameters=dict(parameters))
