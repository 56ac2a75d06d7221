"""Everything that a sandbox remembers, as plain models that are saved as one JSON file."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from deployments.sandbox.clock import now
from deployments.sandbox.gitea_state import GiteaWorld
from deployments.sandbox.plane_state import PlaneWorld

PRESSES = 42
"""Telegram's user id of the person who presses buttons, unless another one is said to."""


class TelegramMessage(BaseModel):
    """A message in a chat; `edits` holds its earlier texts, oldest first."""

    message_id: int
    chat_id: int
    text: str
    parse_mode: str | None = None
    silent: bool = False
    buttons: list[list[dict[str, str]]] = Field(default_factory=list)
    edits: list[str] = Field(default_factory=list)
    deleted: bool = False
    sent_at: datetime = Field(default_factory=now)


class CallbackAnswer(BaseModel):
    """What a person who pressed a button was shown."""

    id: str
    text: str = ""


class TelegramWorld(BaseModel):
    """All that Telegram knows.

    `migrated`: groups that became supergroups, with their new ids; `closed`: chats that take no messages, and why.
    """

    messages: list[TelegramMessage] = Field(default_factory=list)
    asked_callbacks: list[str] = Field(default_factory=list)
    answered_callbacks: list[CallbackAnswer] = Field(default_factory=list)
    webhook_url: str = ""
    webhook_secret: str = ""
    allowed_updates: list[str] = Field(default_factory=list)
    migrated: dict[int, int] = Field(default_factory=dict)
    closed: dict[int, str] = Field(default_factory=dict)
    last_update: int = 0


StandName = Literal["staging", "production"]
Hook = Literal["stage", "check", "deploy", "rollback"]


class Artifact(BaseModel):
    """What was built once from one revision. `name` is what ORCH_ARTIFACT said."""

    name: str
    revision: str
    built_at: datetime = Field(default_factory=now)


class Deploy(BaseModel):
    """A stand was told by a hook to run an artifact, and runs it. Repetitions are in the list too."""

    stand: StandName
    hook: Hook
    artifact: str
    revision: str
    work_item: str
    at: datetime = Field(default_factory=now)


class StandsWorld(BaseModel):
    """All that staging and production know. `running`: the artifact that each stand runs, by name."""

    artifacts: list[Artifact] = Field(default_factory=list)
    running: dict[StandName, str] = Field(default_factory=dict)
    deploys: list[Deploy] = Field(default_factory=list)


class World(BaseModel):
    """Everything that the three servers and the two stands know."""

    plane: PlaneWorld = Field(default_factory=PlaneWorld)
    gitea: GiteaWorld = Field(default_factory=GiteaWorld)
    telegram: TelegramWorld = Field(default_factory=TelegramWorld)
    stands: StandsWorld = Field(default_factory=StandsWorld)
