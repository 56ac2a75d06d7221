"""What the sandbox's Gitea remembers besides git itself."""

from datetime import datetime

from pydantic import BaseModel, Field

from deployments.sandbox.clock import now


class GiteaUser(BaseModel):
    """A user of Gitea; `writer` may push and merge, others only read and review."""

    id: int
    login: str
    email: str
    writer: bool = True
    created_at: datetime = Field(default_factory=now)


class Hook(BaseModel):
    """A repository webhook of Gitea."""

    id: int
    url: str
    secret: str
    content_type: str = "json"
    events: list[str]
    active: bool = True
    branch_filter: str = ""
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)


class Remark(BaseModel):
    """What a review says about one line."""

    id: int
    path: str
    position: int
    body: str


class Review(BaseModel):
    """A review of a pull request."""

    id: int
    user: str
    state: str
    body: str
    commit_id: str
    official: bool
    stale: bool = False
    remarks: list[Remark] = Field(default_factory=list)
    submitted_at: datetime = Field(default_factory=now)


class IssueComment(BaseModel):
    """A comment on a pull request."""

    id: int
    user: str
    body: str
    created_at: datetime = Field(default_factory=now)


class Pull(BaseModel):
    """A pull request inside one repository. `head_sha` and `base_sha` are kept once it is closed."""

    id: int
    number: int
    user: str
    title: str
    body: str
    head: str
    base: str
    head_sha: str
    base_sha: str
    merge_base: str
    state: str = "open"
    mergeable: bool = True
    mergeable_for: str = ""
    """The (base, head) pair that `mergeable` was computed for."""
    merged: bool = False
    merged_by: str | None = None
    merged_at: datetime | None = None
    merge_commit_sha: str | None = None
    closed_at: datetime | None = None
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)
    reviews: list[Review] = Field(default_factory=list)
    comments: list[IssueComment] = Field(default_factory=list)


class CommitStatus(BaseModel):
    """What a CI said about a commit in one context."""

    id: int
    sha: str
    context: str
    state: str
    description: str = ""
    target_url: str = ""
    creator: str
    created_at: datetime = Field(default_factory=now)


class DefaultPush(BaseModel):
    """One move of a default branch: by whom and how (`push` or `merge`)."""

    before: str
    after: str
    user: str
    how: str
    at: datetime = Field(default_factory=now)


class Repository(BaseModel):
    """A repository of Gitea; its git data lives in a bare repository below the sandbox's root."""

    id: int
    owner: str
    name: str
    default_branch: str = "main"
    protection: str = ""
    """`push`: the default branch takes no push, merges through the API only; `all`: not those either."""
    allow_fast_forward_only_merge: bool = True
    allow_manual_merge: bool = True
    test_command: list[str]
    known_branches: list[str] = Field(default_factory=list)
    hooks: list[Hook] = Field(default_factory=list)
    pulls: list[Pull] = Field(default_factory=list)
    statuses: list[CommitStatus] = Field(default_factory=list)
    default_pushes: list[DefaultPush] = Field(default_factory=list)
    ci_results: dict[str, bool] = Field(default_factory=dict)
    """Result of the test command by tree."""
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)

    @property
    def full_name(self) -> str:
        """Owner and name, as Gitea writes them."""
        return f"{self.owner}/{self.name}"


class GiteaWorld(BaseModel):
    """All that Gitea knows besides git itself. `last_id` numbers what is not numbered per repository."""

    users: list[GiteaUser] = Field(default_factory=list)
    repositories: list[Repository] = Field(default_factory=list)
    last_id: int = 0
    ci_mode: str = "run"
    """`run`; `hold`: statuses stay pending until it runs again; `off`: no status is ever posted."""

    def next_id(self) -> int:
        """A number never used before."""
        self.last_id += 1
        return self.last_id
