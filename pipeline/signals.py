"""Every signal and every event name: the whole inbound vocabulary.

A signal is what an outside event means to a work item. An event is what Orch tells Prefect so that an automation
starts or resumes a run; events are hints, the signal's row in the store is the truth.
"""

from enum import StrEnum

from pipeline.stages import Stage


class Signal(StrEnum):
    """What an outside event means to a work item."""

    START_REQUESTED = "start_requested"
    APPROVED = "approved"
    REJECTED = "rejected"
    DEPLOY_CONFIRMED = "deploy_confirmed"
    STOP_REQUESTED = "stop_requested"
    CI_FINISHED = "ci_finished"
    PR_MERGED = "pr_merged"
    PR_CLOSED = "pr_closed"
    REVIEW_SUBMITTED = "review_submitted"
    PUSHED = "pushed"
    ANSWER_GIVEN = "answer_given"
    CARD_CLOSED = "card_closed"
    """A person put the card where work ends, which is no word of theirs to Orch."""

    @property
    def event(self) -> str:
        """The Prefect event that announces this signal."""
        return f"orch.signal.{self.value}"


DECISIONS: frozenset[Signal] = frozenset(
    {Signal.APPROVED, Signal.REJECTED, Signal.DEPLOY_CONFIRMED, Signal.ANSWER_GIVEN}
)
"""Signals that are a person's decision: recorded with actor and commit before anything is woken."""

STAGE_ENTERED = "orch.stage.entered"
"""The item now stands at a stage; payload `work_item`, `stage`. Starts that stage's flow."""

WAIT_ANSWERED = "orch.wait.answered"
"""A decision for a suspended run was recorded; related resource `prefect.flow-run.<id>` of role `flow-run`."""

WAKE = "orch.wake"
"""Something about the item may have changed; payload `work_item`. Starts the wake flow."""


def stage_resource(work_item: str, stage: Stage | None = None) -> dict[str, str]:
    """The resource labels of an event about `work_item`, the same for every event of Orch."""
    resource = {"prefect.resource.id": f"orch.work-item.{work_item}", "orch.work-item": work_item}
    if stage is not None:
        resource["orch.stage"] = stage.value
    return resource
