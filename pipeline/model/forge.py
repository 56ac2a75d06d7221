"""What the forge tells."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CiState(StrEnum):
    """The forge's combined word about a commit. `NONE` means that nobody has said anything."""

    NONE = "none"
    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class CiStatus:
    """Combined commit status with the contexts that are not green."""

    state: CiState
    failing: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForgeAccess:
    """What Orch's user may do in a repository. `push_default` is about the default branch; None: there is none."""

    push: bool
    admin: bool
    push_default: bool | None
    fast_forward_only: bool


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request of a branch of the repository itself. `head` is the forge's idea of its head commit.

    `updated_at` is cut to whole seconds.
    """

    number: int
    url: str
    open: bool
    merged: bool
    branch: str
    head: str
    base: str
    updated_at: datetime
    merge_commit: str | None = None
    merged_by: str | None = None


class ReviewKind(StrEnum):
    """What a submitted review says."""

    APPROVED = "approved"
    REJECTED = "rejected"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class Review:
    """A submitted review of a pull request; ids grow. `commit` is what was reviewed, `stale` tells that the head moved.

    `official` is the forge's word for: of somebody whose verdict counts, and not superseded by a later one of theirs.
    `text` is what it says as a whole, `remarks` the number of remarks on single lines beside that.
    """

    id: int
    reviewer: str
    kind: ReviewKind
    commit: str
    official: bool
    stale: bool
    dismissed: bool
    submitted_at: datetime
    text: str = ""
    remarks: int = 0

    @property
    def rejects(self) -> bool:
        """Whether changes are requested by a verdict that counts now."""
        return self.kind is ReviewKind.REJECTED and self.official and not self.dismissed


@dataclass(frozen=True, slots=True)
class ForgeComment:
    """A comment on a pull request; `text` is the Markdown that was written."""

    id: int
    author: str
    text: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Subscription:
    """A webhook of the forge that is to tell Orch. `faults` say, as parts of a sentence, why it does not tell all."""

    id: int
    url: str
    faults: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether it tells what Orch needs. Whether its secret is ours is never told: only a delivery shows that."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class ReviewRemark:
    """What a review says about one line of a file; line 0 where the forge tells none."""

    path: str
    line: int
    text: str
