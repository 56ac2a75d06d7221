"""What the sandbox's Plane remembers."""

from datetime import datetime

from pydantic import BaseModel, Field

from deployments.sandbox.clock import new_id, now


class PlaneUser(BaseModel):
    """A member of the workspace; `projects` tells whether they may see its projects."""

    id: str = Field(default_factory=new_id)
    display_name: str
    first_name: str
    last_name: str
    email: str
    member: bool = True


class PlaneState(BaseModel):
    """One column of a project's board."""

    id: str = Field(default_factory=new_id)
    name: str
    group: str
    color: str = "#60646C"
    sequence: float
    default: bool = False
    created_at: datetime = Field(default_factory=now)


class PlaneLabel(BaseModel):
    """A label of a project."""

    id: str = Field(default_factory=new_id)
    name: str
    color: str = "#22c55e"
    sort_order: float = 65535.0
    created_at: datetime = Field(default_factory=now)


class PlaneComment(BaseModel):
    """A comment on a card."""

    id: str = Field(default_factory=new_id)
    card: str
    actor: str
    comment_html: str
    external_source: str | None = None
    external_id: str | None = None
    description: str = Field(default_factory=new_id)
    updated_by: str | None = None
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)


class Card(BaseModel):
    """A work item of Plane."""

    id: str = Field(default_factory=new_id)
    project: str
    sequence_id: int
    name: str
    description_html: str = "<p></p>"
    state: str
    labels: list[str] = Field(default_factory=list)
    assignees: list[str] = Field(default_factory=list)
    blocked_by: list[str] = Field(default_factory=list)
    priority: str = "none"
    sort_order: float = 65535.0
    external_source: str | None = None
    external_id: str | None = None
    created_by: str
    updated_by: str | None = None
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)
    completed_at: datetime | None = None
    archived_at: datetime | None = None


class PlaneProject(BaseModel):
    """A project of Plane with its states and labels; `members` see it, others get 403."""

    id: str = Field(default_factory=new_id)
    identifier: str
    name: str
    created_by: str
    members: list[str]
    states: list[PlaneState] = Field(default_factory=list)
    labels: list[PlaneLabel] = Field(default_factory=list)
    last_sequence: int = 0
    created_at: datetime = Field(default_factory=now)

    def state_named(self, name: str) -> PlaneState | None:
        """The state with this name, compared without case."""
        return next((state for state in self.states if state.name.casefold() == name.casefold()), None)

    def state(self, state_id: str) -> PlaneState | None:
        """The state with this id."""
        return next((state for state in self.states if state.id == state_id), None)

    def label_named(self, name: str) -> PlaneLabel | None:
        """The label with this name, compared without case."""
        return next((label for label in self.labels if label.name.casefold() == name.casefold()), None)


class PlaneWebhook(BaseModel):
    """A webhook of the workspace; `active` is taken away when Plane gives up on it."""

    id: str = Field(default_factory=new_id)
    url: str
    secret: str
    active: bool = True


class PlaneActivity(BaseModel):
    """One change of a card, in words: states and labels by name."""

    id: str = Field(default_factory=new_id)
    card: str
    actor: str
    field: str
    old: str
    new: str
    created_at: datetime = Field(default_factory=now)


class PlaneWorld(BaseModel):
    """All that Plane knows."""

    workspace_id: str = Field(default_factory=new_id)
    users: list[PlaneUser] = Field(default_factory=list)
    projects: list[PlaneProject] = Field(default_factory=list)
    cards: list[Card] = Field(default_factory=list)
    comments: list[PlaneComment] = Field(default_factory=list)
    activities: list[PlaneActivity] = Field(default_factory=list)
    webhooks: list[PlaneWebhook] = Field(default_factory=list)
    rate_limit: int | None = None
    """Requests a minute per key; None = no limit."""
