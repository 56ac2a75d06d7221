"""Landing through Gitea's merge call: which of its many answers means what.

Measured on Gitea 1.21 unless said otherwise: the call can answer 500 and have merged, 405 without a word when the pull
request is merged already, 409 when its head moved. So the pull request is read again before any refusal is believed.
"""

from http import HTTPStatus

from pipeline.clients.gitea_answers import CommentAnswer, PullAnswer
from pipeline.clients.http import Answer, HttpApi
from pipeline.errors import Refused, Unavailable
from pipeline.model import Landed, MovedOn, Protected

_FAST_FORWARD = "fast-forward-only"
_NO_SUCH_STYLE = "allowed merge style"
_OF_THE_MOMENT = ("try again later", "out of date")
"""Mergeability is still being computed; or the merge saw a head or base that the pull request does not show yet."""


async def read_pull(http: HttpApi, repository: str, number: int) -> PullAnswer:
    """The pull request as Gitea tells it now; `repository` is the path of the repository."""
    return (await http.call("GET", f"{repository}/pulls/{number}")).read(PullAnswer)


async def fast_forward(
    http: HttpApi, repository: str, *, number: int, commit: str
) -> Landed | MovedOn | Protected | None:
    """Merge pull request `number` fast-forward only, if its head is `commit`. See `GiteaClient.fast_forward`."""
    before = _settled(await read_pull(http, repository, number), commit)
    if before is not None:
        return before
    answer = await _merge(http, repository, number, {"Do": _FAST_FORWARD, "head_commit_id": commit})
    if isinstance(answer, Answer) and answer.good:
        return Landed(commit)
    pull = await read_pull(http, repository, number)
    return _settled(pull, commit) or _diverged(pull) or _refusal(answer)


async def mark_landed(http: HttpApi, repository: str, *, number: int, commit: str) -> None:
    """Mark a pull request as landed by a push. See `GiteaClient.mark_landed`."""
    if (await read_pull(http, repository, number)).state != "open":
        return
    # Whether a repository allows this style is not told by Gitea 1.21, so it is simply tried.
    answer = await _merge(http, repository, number, {"Do": "manually-merged", "MergeCommitID": commit})
    if (await read_pull(http, repository, number)).state != "open":
        return
    if isinstance(answer, Unavailable):
        raise answer
    await comment_once(http, repository, number, f"Landed as {commit}.")
    await http.call("PATCH", f"{repository}/pulls/{number}", body={"state": "closed"})


async def _merge(http: HttpApi, repository: str, number: int, merge: dict[str, str]) -> Answer | Unavailable:
    """Make the merge call; a failure is handed back, because the merge may have happened all the same."""
    try:
        return await http.send("POST", f"{repository}/pulls/{number}/merge", body=merge)
    except Unavailable as error:
        return error


def _settled(pull: PullAnswer, commit: str) -> Landed | MovedOn | None:
    """What the pull request itself says about landing `commit`; None while it is open with that head."""
    if pull.merged:
        landed = (pull.merge_commit_sha or pull.head.sha) == commit
        return Landed(commit) if landed else MovedOn(pull.merge_commit_sha)
    if pull.state != "open":
        raise Refused(f"Pull request #{pull.number} was closed unmerged; reopen it, or stop its work item.")
    return None if pull.head.sha == commit else MovedOn(pull.head.sha)


def _diverged(pull: PullAnswer) -> MovedOn | None:
    """The base's commit, if the base has commits that the head lacks: Gitea answers a mere 500 then (its source)."""
    return None if pull.merge_base in (None, pull.base.sha) else MovedOn(pull.base.sha)


def _refusal(answer: Answer | Unavailable) -> Protected | None:
    """What a merge call means that did not merge, though head and base are as they should be."""
    if isinstance(answer, Unavailable):
        raise answer
    if _NO_SUCH_STYLE in answer.message or answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        return None
    if (passing := _of_the_moment(answer)) is not None:
        raise Unavailable(f"Gitea is not ready for {answer.path}: {passing}.", status=answer.status, path=answer.path)
    if answer.status in (HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.CONFLICT):
        return Protected(answer.message or "Gitea refuses the merge without a reason.")
    raise answer.refusal()


def _of_the_moment(answer: Answer) -> str | None:
    """Why the pull request and the refusal contradict each other, so that both have to be looked at again."""
    if any(words in answer.message for words in _OF_THE_MOMENT):
        return answer.message
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED and not answer.message:
        return "it calls the pull request merged, which does not look so"
    if isinstance(answer.body, dict) and "Style" in answer.body:  # git's own words about a conflict, without a message
        return "it found a conflict where the branch contains all of its base"
    return None


async def read_comments(http: HttpApi, repository: str, number: int) -> list[CommentAnswer]:
    """The comments on a pull request, oldest first. Gitea does not cut this list into pages (its source)."""
    return (await http.call("GET", f"{repository}/issues/{number}/comments")).read(list[CommentAnswer])


async def comment_once(http: HttpApi, repository: str, number: int, text: str) -> None:
    """Write a comment unless its text is there. See `GiteaClient.comment`."""
    if all(comment.body != text for comment in await read_comments(http, repository, number)):
        await http.call("POST", f"{repository}/issues/{number}/comments", body={"body": text})
