"""What `GET /sandbox/state` tells: plain models shared by the control API and its client."""

from datetime import datetime

from pydantic import BaseModel, Field

from deployments.sandbox.gitea_state import CommitStatus, DefaultPush, Pull
from deployments.sandbox.state import Artifact, CallbackAnswer, Deploy, Hook, StandName, TelegramMessage


class CommentView(BaseModel):
    """A comment on a card; `actor` is a display name."""

    id: str
    actor: str
    html: str
    external_id: str | None
    created_at: datetime


class CardView(BaseModel):
    """A card with its column, labels and comments (oldest first) by name."""

    key: str
    id: str
    project: str
    title: str
    description: str
    state: str
    group: str
    labels: list[str]
    blocked_by: list[str]
    comments: list[CommentView]
    updated_at: datetime


class ProjectView(BaseModel):
    """A Plane project: ids of its states and labels by name."""

    key: str
    id: str
    name: str
    states: dict[str, str]
    labels: dict[str, str]


class HookView(BaseModel):
    """A webhook of Plane or of a repository."""

    url: str
    active: bool
    events: list[str] = Field(default_factory=list)


class RepositoryView(BaseModel):
    """A repository. `main_tips`: every commit that the default branch ever stood on, oldest first."""

    main_tips: list[str]
    branches: dict[str, str]
    default_pushes: list[DefaultPush]
    pulls: list[Pull]
    statuses: list[CommitStatus]
    protection: str
    hooks: list[HookView]

    @property
    def main(self) -> str:
        """Where the default branch stands."""
        return self.main_tips[-1]

    def pull(self, number: int) -> Pull:
        """A pull request by number; `KeyError` when there is none."""
        for one in self.pulls:
            if one.number == number:
                return one
        raise KeyError(number)


class DeliveryView(BaseModel):
    """One attempt to send a webhook: `outcome` is an HTTP status, `dropped`, or the transport error's name."""

    peer: str
    event: str
    url: str
    outcome: str


class TelegramView(BaseModel):
    """The chat: all messages, deleted ones included, and the callbacks that were answered."""

    messages: list[TelegramMessage]
    answered_callbacks: list[CallbackAnswer]


class StandView(BaseModel):
    """Staging or production. `deploys`: what hooks had it run, oldest first, repetitions included.

    `revision` is what it runs, or will run once it is asked something: the first question starts its process.
    """

    revision: str | None
    pid: int | None
    hooks_under_way: list[Hook]
    deploys: list[Deploy]

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self.pid is not None


class StateView(BaseModel):
    """Everything. `requests` counts by peer, `calls` by peer, method and path pattern."""

    cards: list[CardView]
    projects: list[ProjectView]
    plane_webhooks: list[HookView]
    repositories: dict[str, RepositoryView]
    telegram: TelegramView
    stands: dict[StandName, StandView]
    artifacts: list[Artifact]
    requests: dict[str, int]
    calls: dict[str, int]
    deliveries: list[DeliveryView]

    def card(self, key: str) -> CardView:
        """A card by key; `KeyError` when there is none."""
        for one in self.cards:
            if one.key == key:
                return one
        raise KeyError(key)

    def project(self, key: str) -> ProjectView:
        """A project by its identifier; `KeyError` when there is none."""
        for one in self.projects:
            if one.key == key:
                return one
        raise KeyError(key)
