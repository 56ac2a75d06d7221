"""Gitea's webhooks, understood without any I/O. Shapes as measured on Gitea 1.21; what later versions add is said."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, model_validator

from pipeline.errors import UnreadableDelivery
from pipeline.inbound.reading import read
from pipeline.inbound.signature import check_signature, digest, header
from pipeline.model import Delivery, InboundSignal
from pipeline.signals import Signal

SOURCE = "gitea"
SIGNATURE = "X-Gitea-Signature"
EVENTS = ("X-Gitea-Event-Type", "X-Gitea-Event")
"""The type is the finer name; some later versions leave the plain event empty for `status`."""

_BRANCH = "refs/heads/"
_PULL = "refs/pull/"

Understood = InboundSignal | str
"""A signal, or the reason why nothing follows."""


class _Login(BaseModel):
    """A user, by `login`; where that is missing by `username`, which Gitea sends with the same value."""

    login: str

    @model_validator(mode="before")
    @classmethod
    def _either(cls, told: Any) -> Any:
        if isinstance(told, dict) and told.get("login") is None and "username" in told:
            return {**told, "login": told["username"]}
        return told


class _Repository(BaseModel):
    full_name: str


class _Push(BaseModel):
    repository: _Repository
    ref: str
    before: str
    after: str
    pusher: _Login


class _Head(BaseModel):
    ref: str
    sha: str
    label: str = ""
    repo: _Repository | None = None

    @property
    def branch(self) -> str:
        """The branch's name. Once the branch is gone Gitea's `ref` is `refs/pull/<n>/head`; the label keeps it."""
        return self.label if self.ref.startswith(_PULL) and self.label else self.ref


class _Base(BaseModel):
    ref: str


class _PullRequest(BaseModel):
    number: int
    merged: bool = False
    merged_by: _Login | None = None
    merge_commit_sha: str | None = None
    head: _Head
    base: _Base


class _Action(BaseModel):
    action: str


class _PullEvent(BaseModel):
    repository: _Repository
    sender: _Login
    pull_request: _PullRequest

    @property
    def foreign(self) -> bool:
        """Whether the branch lives in a fork, where its name says nothing about ours."""
        repo = self.pull_request.head.repo
        return repo is None or repo.full_name.casefold() != self.repository.full_name.casefold()


class _Review(BaseModel):
    type: str


class _ReviewEvent(_PullEvent):
    review: _Review


class _Commented(BaseModel):
    review: Any = None


class _BranchName(BaseModel):
    name: str


class _Status(BaseModel):
    repository: _Repository
    sha: str
    state: str
    context: str | None = None
    sender: _Login | None = None
    branches: list[_BranchName] | None = None


def parse_gitea(headers: Mapping[str, str], body: bytes, secret: str) -> Delivery:
    """What a delivery of Gitea's says, once its signature is checked; see `understand_gitea`.

    Raises `BadSignature` before anything of the body is looked at, `UnreadableDelivery` naming what is missing.
    """
    check_signature(body, header(headers, SIGNATURE), secret)
    return understand_gitea(headers, body)


def understand_gitea(headers: Mapping[str, str], body: bytes) -> Delivery:
    """What a delivery of Gitea's says, whoever may have sent it.

    `actor` and `actor_id` both are the login, by which Gitea's users are told apart. Events that nothing follows from
    are ignored with the reason, whatever their body looks like. Raises `UnreadableDelivery` naming what is missing.
    """
    fine, event = header(headers, EVENTS[0]), header(headers, *EVENTS)
    if not event:
        raise UnreadableDelivery("Gitea's delivery cannot be read: it has no X-Gitea-Event-Type header.")
    reader = (_READERS if fine else _PLAIN_READERS).get(event)
    understood = reader(body) if reader else f"Nothing follows from Gitea's event {event!r}."
    return Delivery(
        source=SOURCE,
        event=event,
        digest=digest(SOURCE, event, body),
        signals=() if isinstance(understood, str) else (understood,),
        ignored_because=understood if isinstance(understood, str) else "",
    )


def _pushed(body: bytes) -> Understood:
    push = read(_Push, body, "Gitea")
    if not push.ref.startswith(_BRANCH):
        return f"{push.ref} is not a branch."
    branch = push.ref.removeprefix(_BRANCH)
    if not push.after.strip("0"):
        return f"Branch {branch} was deleted; a pull request of it is closed by an event of its own."
    return InboundSignal(
        project_ref=push.repository.full_name,
        item_ref=branch,
        signal=Signal.PUSHED,
        actor=push.pusher.login,
        actor_id=push.pusher.login,
        payload={"after": push.after, "before": push.before, "pusher": push.pusher.login},
    )


def _pull_request(body: bytes) -> Understood:
    action = read(_Action, body, "Gitea").action
    if action != "closed":
        return f"Nothing follows from a pull request that is {action}."
    event = read(_PullEvent, body, "Gitea")
    if event.foreign:
        return f"Pull request #{event.pull_request.number} comes from another repository."
    pull = event.pull_request
    if not pull.merged:
        return _pull_signal(event, Signal.PR_CLOSED, {"closed_by": event.sender.login})
    merge = {
        "merged_by": pull.merged_by.login if pull.merged_by else None,
        "merge_commit_sha": pull.merge_commit_sha,
    }
    return _pull_signal(event, Signal.PR_MERGED, merge)


def _reviewed(body: bytes) -> Understood:
    event = read(_ReviewEvent, body, "Gitea")
    if event.foreign:
        return f"Pull request #{event.pull_request.number} comes from another repository."
    # The kind is taken from the body, which is signed; the header that repeats it is not. Neither the review's id nor
    # the commit that was reviewed is sent, nor whether it is official: `commit` is the head when the delivery was made.
    payload = {
        "kind": event.review.type.rpartition("_")[2],
        "reviewer": event.sender.login,
        "commit": event.pull_request.head.sha,
    }
    return _pull_signal(event, Signal.REVIEW_SUBMITTED, payload)


def _review_commented(body: bytes) -> Understood:
    if read(_Commented, body, "Gitea").review is None:
        return "Nothing follows from a comment on a pull request that is no review."
    return _reviewed(body)


def _pull_signal(event: _PullEvent, signal: Signal, payload: Mapping[str, object]) -> InboundSignal:
    return InboundSignal(
        project_ref=event.repository.full_name,
        item_ref=event.pull_request.head.branch,
        signal=signal,
        actor=event.sender.login,
        actor_id=event.sender.login,
        payload={"number": event.pull_request.number, "base": event.pull_request.base.ref, **payload},
    )


def _status(body: bytes) -> Understood:
    """Sent from about Gitea 1.23 on; `branches` can be empty there."""
    status = read(_Status, body, "Gitea")
    if status.state == "pending":
        return f"{status.context or 'A status without a name'} is still pending."
    login = status.sender.login if status.sender else ""
    return InboundSignal(
        project_ref=status.repository.full_name,
        item_ref=f"sha:{status.sha}",
        signal=Signal.CI_FINISHED,
        actor=login,
        actor_id=login,
        payload={
            "state": status.state,
            "context": status.context or "",
            "branches": [branch.name for branch in status.branches or ()],
        },
    )


_READERS: dict[str, Callable[[bytes], Understood]] = {
    "push": _pushed,
    "pull_request": _pull_request,
    "pull_request_review_approved": _reviewed,
    "pull_request_review_rejected": _reviewed,
    "pull_request_review_comment": _reviewed,
    "status": _status,
}

_PLAIN_READERS = _READERS | {
    "pull_request_approved": _reviewed,
    "pull_request_rejected": _reviewed,
    "pull_request_comment": _review_commented,
}
"""By the plain event, where the type is not told: reviews have other names there, and `pull_request_comment`, which as a
type is a comment in the conversation, is a review (measured on 1.21)."""
