"""Everything that a sandbox remembers, as plain models that are saved as one JSON file."""

from datetime import datetime

from pydantic import BaseModel, Field

from deployments.sandbox.clock import now
from deployments.sandbox.gitea_state import GiteaWorld
from deployments.sandbox.plane_state import PlaneWorld


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


class TelegramWorld(BaseModel):
    """All that Telegram knows."""

    messages: list[TelegramMessage] = Field(default_factory=list)
    answered_callbacks: list[str] = Field(default_factory=list)
    webhook_url: str = ""
    webhook_secret: str = ""
    last_update: int = 0


class World(BaseModel):
    """Everything that the three servers know."""

    plane: PlaneWorld = Field(default_factory=PlaneWorld)
    gitea: GiteaWorld = Field(default_factory=GiteaWorld)
    telegram: TelegramWorld = Field(default_factory=TelegramWorld)
