"""The roles that outside systems play for Orch. Adapters in `pipeline.clients` fill them; tests may bring their own.

Every method may raise `Unavailable` (try again later), `Refused` or `Missing` (do not). Methods are idempotent unless
their docstring says otherwise.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from pydantic import SecretStr

from pipeline.model import (
    AgentJob,
    AgentOutcome,
    Baseline,
    Button,
    CiStatus,
    CoverageRun,
    ForgeAccess,
    ForgeComment,
    Hook,
    HookRun,
    Landed,
    MovedOn,
    Probed,
    ProcessIdentity,
    Protected,
    Pull,
    Review,
    ReviewRemark,
    Stand,
    Subscription,
    TrackerActivity,
    TrackerComment,
    TrackerItem,
    TrackerLabel,
    TrackerMember,
    TrackerRef,
    TrackerState,
)
from pipeline.projects import Project


class Tracker(Protocol):
    """Where people write issues and move cards."""

    async def states(self, project: Project) -> tuple[TrackerState, ...]:
        """All states of the project, fresh from the tracker."""
        ...

    async def labels(self, project: Project) -> tuple[TrackerLabel, ...]:
        """All labels of the project, fresh from the tracker."""
        ...

    async def item(self, project: Project, item_id: str) -> TrackerItem:
        """One issue by its tracker id; `Missing` when deleted or archived."""
        ...

    async def item_by_key(self, project: Project, key: str) -> TrackerItem:
        """One issue by its key, such as `WID-12`."""
        ...

    async def key_of(self, ref: TrackerRef) -> str:
        """The key of an issue of whatever project, of the registry or not."""
        ...

    async def group_of(self, key: str) -> str:
        """The state group of an issue of whatever project, as it is now."""
        ...

    async def items(self, project: Project, *, changed_since: datetime | None = None) -> tuple[TrackerItem, ...]:
        """Issues of the project, latest change first; stops paging at the first one older than `changed_since`."""
        ...

    async def create_item(self, project: Project, *, title: str, html: str) -> TrackerItem:
        """Write a new issue in the project's default state. `html` is its description. Not idempotent."""
        ...

    async def set_state(self, project: Project, item_id: str, state_id: str) -> None:
        """Move a card."""
        ...

    async def comment(self, project: Project, item_id: str, html: str, *, external_id: str, voice: str = "") -> None:
        """Write a comment once per `external_id`, however often it is called, under the bot of `voice` if there is one.

        A voice is a role or `STREAM`, which tells of transitions; without one the shared bot speaks.
        """
        ...

    async def comments(self, project: Project, item_id: str) -> tuple[TrackerComment, ...]:
        """All comments of an issue, oldest first."""
        ...

    async def blocked_by(self, project: Project, item_id: str) -> tuple[TrackerRef, ...]:
        """The issues that must be done before this one."""
        ...

    async def activities(self, project: Project, item_id: str) -> tuple[TrackerActivity, ...]:
        """What was changed about an issue, oldest first."""
        ...

    async def members(self, project: Project) -> tuple[TrackerMember, ...]:
        """Who may work on the project, our bots included."""
        ...

    async def own_ids(self) -> frozenset[str]:
        """The tracker's user ids of all tokens in use, to tell our own changes and comments apart from people's."""
        ...


class Forge(Protocol):
    """Where repositories, pull requests and commit statuses live."""

    def clone_url(self, project: Project) -> str:
        """The URL to clone from and push to, without credentials."""
        ...

    def git_credentials(self) -> dict[str, str]:
        """Environment for a git process that talks to the forge (extra header through GIT_CONFIG_*); secret."""
        ...

    async def open_pull(self, project: Project, *, branch: str, title: str, body: str) -> Pull:
        """The open pull request of `branch` to the default branch; opened when there is none."""
        ...

    async def pull(self, project: Project, number: int) -> Pull:
        """A pull request as it is now."""
        ...

    async def recent_pulls(self, project: Project, *, changed_since: datetime) -> tuple[Pull, ...]:
        """Pull requests of the repository's own branches, open or not, that changed since then; latest change first."""
        ...

    async def reviews(self, project: Project, number: int) -> tuple[Review, ...]:
        """Submitted reviews of a pull request, oldest first."""
        ...

    async def review_remarks(self, project: Project, number: int, review: int) -> tuple[ReviewRemark, ...]:
        """What a review of a pull request says about single lines, in the forge's order."""
        ...

    async def comments(self, project: Project, number: int) -> tuple[ForgeComment, ...]:
        """Comments on a pull request, oldest first."""
        ...

    async def comment(self, project: Project, number: int, text: str) -> None:
        """Write a comment on a pull request, unless one with this very text is there."""
        ...

    async def combined_status(self, project: Project, commit: str) -> CiStatus:
        """What CI says about a commit."""
        ...

    async def branch_tip(self, project: Project, branch: str) -> str | None:
        """The branch's commit on the forge, None when there is no such branch."""
        ...

    async def delete_branch(self, project: Project, branch: str) -> None:
        """Delete a task branch; nothing when there is none. Its open pull request is closed by that, unmerged.

        Raises `Refused` for the default branch and for whatever is no task branch, before the forge is asked.
        """
        ...

    async def file(self, project: Project, path: str, *, ref: str) -> bytes | None:
        """A file as it is at a branch or commit, None when it is not there."""
        ...

    async def hook_state(self, project: Project, *, url: str) -> Subscription | None:
        """The webhook that tells `url`, None when there is none."""
        ...

    async def ensure_hook(self, project: Project, *, url: str, secret: SecretStr) -> Subscription:
        """Have exactly one webhook that tells `url` all that Orch needs, signed with `secret`."""
        ...

    async def fast_forward(self, project: Project, *, number: int, commit: str) -> Landed | MovedOn | Protected | None:
        """Land by the forge's own fast-forward-only merge of pull request `number` whose head must be `commit`.

        None when this forge or repository has no such merge style, and the pull request is open with that head: the
        caller then pushes. Not verified here.
        """
        ...

    async def mark_landed(self, project: Project, *, number: int, commit: str) -> None:
        """After a push landed `commit`: mark the pull request merged by hand, or close it with a comment."""
        ...

    async def access(self, project: Project) -> ForgeAccess:
        """What the token's user may do in the repository; `Missing` when it is not there, or hidden from them."""
        ...

    async def own_login(self) -> str:
        """The login of the token in use, to tell our own pushes apart."""
        ...


class Messenger(Protocol):
    """Where people are paged. A message is known by a reference that only the messenger can read."""

    @property
    def moved(self) -> str:
        """The chat's id when it is another by now than the one that was configured; else empty."""
        ...

    async def send(self, html: str, *, silent: bool = False, buttons: Sequence[Button] = ()) -> str:
        """Send a new message and return its reference. Not idempotent."""
        ...

    async def edit(self, message: str, html: str) -> bool:
        """Have a message say something else; False when it is gone, cannot be edited, or is in another chat."""
        ...

    async def delete(self, message: str) -> bool:
        """Delete a message; False when it is gone or too old to be deleted."""
        ...

    async def take_buttons_off(self, message: str) -> bool:
        """Leave a message as it is, without its buttons; False when it is gone or cannot be edited."""
        ...

    async def answer(self, press: str, text: str) -> bool:
        """Show `text` to the person who pressed a button; False when it is too late for that."""
        ...


class Agent(Protocol):
    """A coding agent."""

    async def run(self, job: AgentJob, *, started: Callable[[ProcessIdentity], None]) -> AgentOutcome:
        """Carry out one job; `started` is called once with the process's identity before any waiting. Not idempotent.

        Raises `CouldNotRun` when the program cannot be started at all. Cancelling ends the whole process group.
        """
        ...


class Stands(Protocol):
    """What a gate may ask about one item's staging and production. Every answer is recorded.

    Methods may raise `CouldNotRun` when nobody can tell.
    """

    async def coverage(self, commit: str) -> CoverageRun | None:
        """The recorded measurement of this commit."""
        ...

    async def baseline(self) -> Baseline | None:
        """The coverage that the project has reached."""
        ...

    async def hook(self, hook: Hook, commit: str) -> HookRun | None:
        """The last run of a hook for this commit since the item came to its stage."""
        ...

    async def check(self, commit: str) -> HookRun:
        """Run the staging check now. Not idempotent: it is asked anew every time."""
        ...

    async def probe(self, stand: Stand, commit: str, *, within_s: float = 0) -> Probed:
        """Look at a stand; again and again for at most `within_s` seconds until it is healthy with this commit."""
        ...
