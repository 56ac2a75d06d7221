"""What Plane's API v1 answers, as far as Orch reads it: unknown fields are ignored, missing ones are named."""

from typing import Generic, TypeVar

from pydantic import AwareDatetime, BaseModel

from pipeline.model import TrackerActivity, TrackerComment, TrackerItem
from pipeline.plain_text import html_to_text

Entry = TypeVar("Entry", bound=BaseModel)


class ProjectName(BaseModel):
    """A project, by the word that its issues' keys begin with."""

    id: str
    identifier: str


class State(BaseModel):
    """One state of a project."""

    id: str
    name: str
    group: str


class Item(BaseModel):
    """An issue; its state and labels are ids unless they are asked for expanded."""

    id: str
    project: str
    sequence_id: int
    name: str
    state: str
    updated_at: AwareDatetime
    description_html: str | None = None
    description_stripped: str | None = None
    labels: list[str] = []
    priority: str | None = None

    def as_item(self) -> TrackerItem:
        """As Orch's word."""
        description = self.description_stripped or ""
        return TrackerItem(
            id=self.id,
            project_id=self.project,
            sequence_id=self.sequence_id,
            title=self.name,
            description=description if self.description_html is None else html_to_text(self.description_html),
            state_id=self.state,
            updated_at=self.updated_at,
            labels=tuple(self.labels),
            priority=self.priority or "none",
        )


class Label(BaseModel):
    """One label of a project."""

    id: str
    name: str


class Comment(BaseModel):
    """A comment on an issue."""

    id: str
    actor: str | None = None
    comment_html: str
    created_at: AwareDatetime

    def as_comment(self) -> TrackerComment:
        """As Orch's word."""
        return TrackerComment(self.id, self.actor or "", html_to_text(self.comment_html), self.created_at)


class Ref(BaseModel):
    """An issue as relations name it."""

    project_id: str
    issue_id: str


class Relations(BaseModel):
    """What an issue has to do with others."""

    blocked_by: list[Ref]


class Member(BaseModel):
    """A member of a project."""

    id: str
    display_name: str = ""


class Activity(BaseModel):
    """States are told by name in `old_value` and `new_value`, their ids apart (measured; Plane's activity log)."""

    id: str
    field: str | None = None
    old_value: str | None = None
    new_value: str | None = None
    actor: str | None = None
    created_at: AwareDatetime

    def as_activity(self) -> TrackerActivity:
        """As Orch's word."""
        return TrackerActivity(
            self.field or "", self.old_value or "", self.new_value or "", self.actor or "", self.created_at
        )


class Page(BaseModel, Generic[Entry]):
    """One page of a list."""

    results: list[Entry]
    next_cursor: str = ""
    next_page_results: bool = False


class User(BaseModel):
    """The token's own user."""

    id: str
