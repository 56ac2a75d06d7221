"""What people decide, and what they are asked."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pipeline.model.work_items import WaitKind
from pipeline.stages import Stage


class Choice(StrEnum):
    """What a person can decide."""

    APPROVE = "approve"
    REJECT = "reject"
    CONFIRM = "confirm"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's recorded decision. It counts only for the wait kind and the commit it was made about."""

    kind: WaitKind
    choice: Choice
    commit: str
    actor: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Button:
    """A button below a message; `data` (at most 64 bytes, as Telegram has it) comes back when it is pressed."""

    label: str
    data: str


@dataclass(frozen=True, slots=True)
class Wait:
    """What an item waits for. `key` names the suspension; open while `closed_at` is None."""

    id: int
    key: str
    kind: WaitKind
    stage: Stage
    visit: int
    sentence: str
    since: datetime
    deadline: datetime | None
    look_again_at: datetime | None
    commit: str | None
    flow_run_id: str | None
    wake_requested_at: datetime | None
    closed_at: datetime | None
