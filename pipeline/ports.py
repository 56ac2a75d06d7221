"""The roles that outside systems play for Orch. Adapters in `pipeline.clients` fill them; tests may bring their own.

Every method may raise `Unavailable` (try again later), `Refused` or `Missing` (do not). Methods are idempotent unless
their docstring says otherwise.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from pipeline.model import (
    AgentJob,
    AgentOutcome,
    Baseline,
    Button,
    CiStatus,
    Conflict,
    CoverageRun,
    ForgeComment,
    Hook,
    HookRun,
    Landed,
    MovedOn,
    Probed,
    ProcessIdentity,
    Protected,
    Pull,
    Pushed,
    Rebased,
    Review,
    Room,
    Stand,
    Subscription,
    TestRun,
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


class Workspace(Protocol):
    """One project's mirror clone and the worktrees of its items. Methods block: call them from a thread."""

    def fetch(self) -> str:
        """Bring the mirror up to date; the default branch's commit. Raises `Unavailable` or `Refused`."""
        ...

    def worktree(self, work_item: str, branch: str) -> Path:
        """The item's worktree on its task branch, made from the remote branch or the default branch as needed.

        An existing worktree is kept as it is. Never a checkout of the default branch.
        """
        ...

    def tip(self, work_item: str) -> str:
        """The commit that the item's worktree stands on."""
        ...

    def remote_tip(self, branch: str) -> str | None:
        """The branch's commit as of the last fetch."""
        ...

    def head(self, commit: str, artifacts: str) -> str:
        """The last commit up to `commit`, above the default branch, that changes anything outside `artifacts`.

        The merge base when no commit of the branch does.
        """
        ...

    def restore(self, work_item: str, commit: str) -> None:
        """Put the worktree back to `commit`, unfinished rebases, stray files and all."""
        ...

    def room(self, work_item: str, branch: str, *, home: Path, network: bool) -> Room:
        """What a confined agent in the item's worktree may touch."""
        ...

    def take_commits(self, work_item: str, branch: str) -> None:
        """Take over what a confined agent has committed in its room. Raises `CouldNotRun`. Idempotent."""
        ...

    def lay_agent_files(self, work_item: str, base: str) -> tuple[str, ...]:
        """Have the files that configure agents in the worktree as `base` has them, unseen by git; which were others."""
        ...

    def take_back_agent_files(self, work_item: str, base: str, names: tuple[str, ...]) -> None:
        """Put the branch's own version of these files back, where the agent has not edited them. Idempotent."""
        ...

    def commit_all(self, work_item: str, message: str) -> str:
        """Commit what an agent left uncommitted (nothing when clean); the worktree's commit afterwards."""
        ...

    def read(self, commit: str, path: str) -> str | None:
        """A text file of a commit, None when it is not there."""
        ...

    def files(self, commit: str, folder: str) -> tuple[str, ...]:
        """Paths of the files below `folder` in a commit, sorted."""
        ...

    def is_ancestor(self, ancestor: str, commit: str) -> bool:
        """Whether `commit` contains `ancestor`."""
        ...

    def rebase(self, work_item: str, onto: str) -> Rebased | Conflict:
        """Put the item's branch on top of `onto`; a conflict leaves the worktree as it was."""
        ...

    def same_change(self, old: tuple[str, str], new: tuple[str, str]) -> bool:
        """Whether two (base, tip) pairs carry the same change, so that a rebase between them was clean."""
        ...

    def push(self, work_item: str, branch: str, *, expected: str | None) -> Pushed | MovedOn:
        """Push the worktree's commit to the task branch, only if the remote stands at `expected` (None: is absent).

        Refuses the default branch with `Refused`. A remote that is already there counts as pushed.
        """
        ...

    def land(self, commit: str, *, expected: str) -> Landed | MovedOn | Protected:
        """Move the default branch from `expected` to `commit` by an unforced, atomic push; verified afterwards."""
        ...

    def diff(self, commit: str) -> str:
        """What `commit` changes since it left the default branch, as unified diff text for machines."""
        ...

    def revert(self, landed: str, *, since: str, onto: str, message: str) -> str | Conflict:
        """A commit on top of `onto` that takes back what happened from `since` to `landed`; nothing is pushed."""
        ...

    def push_commit(self, commit: str, branch: str) -> Pushed | MovedOn:
        """Push a commit to a task branch that does not exist yet."""
        ...

    def run_coverage(self, commit: str, *, log: Path) -> CoverageRun:
        """Measure the project's coverage in a clean worktree of exactly `commit`.

        Raises `CouldNotRun` when the command cannot be started.
        """
        ...

    def diffstat(self, base: str, commit: str) -> str:
        """`git diff --stat` between two commits."""
        ...

    def run_tests(self, commit: str, *, log: Path) -> TestRun:
        """Run the project's test command in a clean worktree of exactly `commit`.

        Raises `CouldNotRun` when the command cannot be started; a time-out is a red run.
        """
        ...

    def export(self, commit: str, folder: str, into: Path) -> None:
        """Write the regular files below `folder` of a commit into the directory `into`, where they keep their paths."""
        ...

    def remove(self, work_item: str) -> None:
        """Remove the item's worktree and local branch; nothing when there is none."""
        ...

    def worktrees(self) -> Sequence[str]:
        """Keys of the items that have a worktree."""
        ...
