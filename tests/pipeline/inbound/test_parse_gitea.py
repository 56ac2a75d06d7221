"""What Gitea's deliveries mean, each recording of a real server included."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadSignature, UnreadableDelivery
from pipeline.inbound.gitea import parse_gitea
from pipeline.inbound.signature import sign
from pipeline.model import Delivery
from pipeline.signals import Signal

# The recorded hook was made with this secret (api-post-hook.json), so the recorded signatures are checked as they are.
SECRET = "hook-secret-1"
CAPTURES = Path(__file__).parents[2] / "captures" / "gitea"

PUSHED, REVIEWED = Signal.PUSHED, Signal.REVIEW_SUBMITTED
SIGNALS: dict[str, tuple[Signal, str, str]] = {
    "01-push-hook-test": (PUSHED, "main", "root1"),
    "02-push-push-main": (PUSHED, "main", "dev1"),
    "07-push-branch-created-git": (PUSHED, "feature/one", "dev1"),
    "08-push-push-2-commits": (PUSHED, "feature/one", "dev1"),
    "10-push-push-new-branch-with-commits": (PUSHED, "feature/two", "dev1"),
    "11-push-contents-put-api": (PUSHED, "feature/two", "dev1"),
    "127-push-push-8-commits": (PUSHED, "t/eight", "dev1"),
    "53-push-style-rebase-merged": (PUSHED, "main", "bot1"),
    "29-pull_request_review_rejected-pr1-review-rejected": (REVIEWED, "feature/one", "rev1"),
    "28-pull_request_review_comment-pr1-review-comment": (REVIEWED, "feature/one", "rev1"),
    "30-pull_request_review_approved-pr1-review-approved": (REVIEWED, "feature/one", "rev1"),
    "37-pull_request-pr1-closed-unmerged": (Signal.PR_CLOSED, "feature/one", "dev1"),
    "52-pull_request-style-rebase-merged": (Signal.PR_MERGED, "t/rebase", "bot1"),
}
IGNORED: dict[str, str] = {
    "03-create-branch-created-api": "Nothing follows from Gitea's event 'create'.",
    "05-delete-branch-deleted-api": "Nothing follows from Gitea's event 'delete'.",
    "100-delete-head-branch-deleted-open-pr": "Nothing follows from Gitea's event 'delete'.",
    "12-push-tag-push": "refs/tags/v0.1 is not a branch.",
    "165-pull_request_label-labels-assign": "Nothing follows from Gitea's event 'pull_request_label'.",
    "18-pull_request-pr1-opened": "Nothing follows from a pull request that is opened.",
    "20-pull_request_sync-pr1-synchronized": "Nothing follows from Gitea's event 'pull_request_sync'.",
    "22-pull_request_comment-pr1-comment": "Nothing follows from Gitea's event 'pull_request_comment'.",
    "36-pull_request_sync-pr1-force-push": "Nothing follows from Gitea's event 'pull_request_sync'.",
    "48-pull_request-style-rebase-setup": "Nothing follows from a pull request that is opened.",
    "92-pull_request-wip": "Nothing follows from a pull request that is opened.",
}


def parse(event: str, body: bytes | dict[str, Any]) -> Delivery:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_gitea({"x-gitea-signature": sign(raw, SECRET), "X-Gitea-Event-Type": event}, raw, SECRET)


def closed(**pull: Any) -> dict[str, Any]:
    head = {"ref": "orch/wid-1", "label": "orch/wid-1", "sha": "abc", "repo": {"full_name": "acme/widgets"}}
    return {
        "action": "closed",
        "repository": {"full_name": "acme/widgets"},
        "sender": {"login": "ada"},
        "pull_request": {"number": 3, "merged": False, "head": head, "base": {"ref": "main"}} | pull,
    }


def status(**fields: Any) -> dict[str, Any]:
    told = {"repository": {"full_name": "acme/widgets"}, "sha": "abc", "state": "success", "context": "ci/unit"}
    return told | {"sender": {"login": "ci"}, "branches": [{"name": "orch/wid-1"}]} | fields


def test_every_recorded_delivery_is_in_a_table() -> None:
    assert {path.stem for path in CAPTURES.glob("[0-9]*.json")} == set(SIGNALS) | set(IGNORED)


@pytest.mark.parametrize(("name", "expected"), SIGNALS.items())
def test_a_recorded_delivery_is_this_signal(
    name: str, expected: tuple[Signal, str, str], recorded: Callable[[str], Any]
) -> None:
    recording = recorded(f"gitea/{name}")
    (signal,) = parse_gitea(recording.headers, recording.body, SECRET).signals
    assert (signal.signal, signal.item_ref, signal.actor) == expected
    assert (signal.actor_id, signal.project_ref, signal.state) == (signal.actor, "acme/widgets", None)


@pytest.mark.parametrize(("name", "expected"), IGNORED.items())
def test_everything_else_is_ignored_with_the_reason(name: str, expected: str, recorded: Callable[[str], Any]) -> None:
    recording = recorded(f"gitea/{name}")
    delivery = parse_gitea(recording.headers, recording.body, SECRET)
    assert (delivery.signals, delivery.ignored_because) == ((), expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "08-push-push-2-commits",
            {
                "before": "3ce00710b22251521640cbb8e45f6f42894e7b93",
                "after": "d64dc2ef8e0fc122352712a343d84504370bd728",
                "pusher": "dev1",
            },
        ),
        (
            "52-pull_request-style-rebase-merged",
            {
                "number": 4,
                "base": "main",
                "merged_by": "bot1",
                "merge_commit_sha": "1f5f30bdb0b3323bc67efc31d5990245ff53a87a",
            },
        ),
        ("37-pull_request-pr1-closed-unmerged", {"number": 1, "base": "main", "closed_by": "dev1"}),
        (
            "29-pull_request_review_rejected-pr1-review-rejected",
            {
                "number": 1,
                "base": "main",
                "kind": "rejected",
                "reviewer": "rev1",
                "commit": "7b8fb04753b99f62b7a2f0df2552a78a1de86e15",
            },
        ),
    ],
)
def test_the_payload_carries_what_the_pipeline_needs(
    name: str, expected: dict[str, object], recorded: Callable[[str], Any]
) -> None:
    recording = recorded(f"gitea/{name}")
    assert parse_gitea(recording.headers, recording.body, SECRET).signals[0].payload == expected


@pytest.mark.parametrize(
    "action", ["opened", "reopened", "edited", "synchronized", "assigned", "label_updated", "reviewed"]
)
def test_what_happens_to_an_open_pull_request_leads_to_nothing(action: str) -> None:
    body = closed() | {"action": action}
    assert parse("pull_request", body).ignored_because == f"Nothing follows from a pull request that is {action}."


@pytest.mark.parametrize(
    "event",
    [
        *("create", "delete", "fork", "issues", "issue_assign", "issue_label", "issue_milestone", "issue_comment"),
        *("pull_request_assign", "pull_request_label", "pull_request_milestone", "pull_request_comment"),
        *("pull_request_review_request", "pull_request_sync"),
        *("wiki", "repository", "release", "package", "workflow_run", "workflow_job", "an event of the future"),
    ],
)
@pytest.mark.parametrize("body", [closed(), {}, [], "text"])
def test_every_other_event_leads_to_nothing_whatever_its_body(event: str, body: Any) -> None:
    assert parse(event, body).ignored_because == f"Nothing follows from Gitea's event {event!r}."


def test_who_closed_a_pull_request_and_into_what_it_was_is_told() -> None:
    (signal,) = parse("pull_request", closed(base={"ref": "release"})).signals
    assert signal.payload == {"number": 3, "base": "release", "closed_by": "ada"}


@pytest.mark.parametrize("after", ["0" * 40, "0" * 64])
def test_a_deleted_branch_is_not_a_push(after: str) -> None:
    push = {"ref": "refs/heads/x", "before": "a", "after": after, "pusher": {"login": "ada"}}
    delivery = parse("push", push | {"repository": {"full_name": "acme/widgets"}})
    assert delivery.ignored_because.startswith("Branch x was deleted")


def test_a_pull_request_closed_by_the_deletion_of_its_branch_keeps_the_branchs_name() -> None:
    body = closed()
    body["pull_request"]["head"]["ref"] = "refs/pull/3/head"
    assert parse("pull_request", body).signals[0].item_ref == "orch/wid-1"


@pytest.mark.parametrize("repo", [None, {"full_name": "mallory/widgets"}])
@pytest.mark.parametrize("event", ["pull_request", "pull_request_review_rejected", "pull_request_review_approved"])
def test_a_pull_request_of_a_fork_says_nothing_about_our_branches(repo: dict[str, str] | None, event: str) -> None:
    body = closed() | {"review": {"type": event}}
    body["pull_request"]["head"]["repo"] = repo
    assert parse(event, body).ignored_because == "Pull request #3 comes from another repository."


def test_a_repository_is_the_same_however_its_name_is_written() -> None:
    body = closed() | {"repository": {"full_name": "ACME/Widgets"}}
    assert parse("pull_request", body).signals[0].signal is Signal.PR_CLOSED


def test_a_finished_status_names_its_commit() -> None:
    (signal,) = parse("status", status(state="failure")).signals
    assert (signal.signal, signal.item_ref) == (Signal.CI_FINISHED, "sha:abc")
    assert signal.payload == {"state": "failure", "context": "ci/unit", "branches": ["orch/wid-1"]}


def test_a_status_without_branches_is_understood() -> None:
    assert parse("status", status(branches=None)).signals[0].payload["branches"] == []


def test_a_pending_status_is_ignored() -> None:
    assert parse("status", status(state="pending")).ignored_because == "ci/unit is still pending."


@pytest.mark.parametrize("context", [{}, {"context": None}])
def test_a_status_need_not_have_a_name(context: dict[str, None]) -> None:
    told = {key: value for key, value in status().items() if key != "context"} | context
    assert parse("status", told).signals[0].payload["context"] == ""
    assert parse("status", told | {"state": "pending"}).ignored_because == "A status without a name is still pending."


@pytest.mark.parametrize("pusher", [{"username": "ada"}, {"login": None, "username": "ada"}])
def test_who_pushed_is_told_by_the_username_where_there_is_no_login(pusher: dict[str, Any]) -> None:
    push = {"ref": "refs/heads/x", "before": "a", "after": "b", "repository": {"full_name": "acme/widgets"}}
    (signal,) = parse("push", push | {"pusher": pusher}).signals
    assert (signal.actor, signal.actor_id, signal.payload["pusher"]) == ("ada", "ada", "ada")


def test_a_review_is_what_its_signed_body_says_not_its_header() -> None:
    body = closed() | {"action": "reviewed", "review": {"type": "pull_request_review_rejected"}}
    assert parse("pull_request_review_approved", body).signals[0].payload["kind"] == "rejected"


def test_the_plain_event_header_is_enough() -> None:
    body = json.dumps(status()).encode()
    headers = {"X-Gitea-Signature": sign(body, SECRET), "X-Gitea-Event": "status"}
    assert parse_gitea(headers, body, SECRET).signals[0].signal is Signal.CI_FINISHED


@pytest.mark.parametrize(
    ("plain", "kind"),
    [
        ("pull_request_approved", "approved"),
        ("pull_request_rejected", "rejected"),
        ("pull_request_comment", "comment"),
    ],
)
def test_a_review_is_understood_by_the_plain_event_alone(plain: str, kind: str) -> None:
    body = json.dumps(closed() | {"action": "reviewed", "review": {"type": f"pull_request_review_{kind}"}}).encode()
    headers = {"X-Gitea-Signature": sign(body, SECRET), "X-Gitea-Event": plain}
    delivery = parse_gitea(headers, body, SECRET)
    assert (delivery.event, delivery.signals[0].signal) == (plain, REVIEWED)
    assert delivery.signals[0].payload["kind"] == kind


def test_a_plain_comment_that_is_no_review_leads_to_nothing() -> None:
    headers = {"X-Gitea-Signature": sign(b"{}", SECRET), "X-Gitea-Event": "pull_request_comment"}
    delivery = parse_gitea(headers, b"{}", SECRET)
    assert delivery.ignored_because == "Nothing follows from a comment on a pull request that is no review."


def test_a_delivery_without_an_event_is_unreadable() -> None:
    with pytest.raises(UnreadableDelivery, match="X-Gitea-Event-Type"):
        parse("", b"{}")


@pytest.mark.parametrize("field", ["ref", "after", "pusher", "repository"])
def test_a_missing_field_is_named(field: str) -> None:
    push: dict[str, Any] = {"ref": "refs/heads/x", "before": "a", "after": "b", "pusher": {"login": "ada"}}
    push["repository"] = {"full_name": "acme/widgets"}
    del push[field]
    with pytest.raises(UnreadableDelivery, match=f"field {field}"):
        parse("push", push)


def test_an_empty_signature_is_refused_as_hooks_without_a_secret_send_it() -> None:
    with pytest.raises(BadSignature):
        parse_gitea({"X-Gitea-Signature": "", "X-Gitea-Event-Type": "push"}, b"{}", SECRET)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KNOWN = ("ref", "before", "after", "sha", "state", "context", "branches", "review", "number")
BODIES = st.fixed_dictionaries(
    {"action": st.sampled_from(["closed", "reviewed"])},
    optional=dict.fromkeys(KNOWN, JSON)
    | {
        "repository": st.fixed_dictionaries({"full_name": st.text()}) | JSON,
        "sender": st.fixed_dictionaries({"login": st.text()}) | JSON,
        "pusher": st.fixed_dictionaries({"login": st.text()}) | JSON,
        "pull_request": st.fixed_dictionaries({"number": st.integers(), "head": JSON}) | JSON,
    },
)


@given(
    event=st.sampled_from(["push", "pull_request", "pull_request_review_approved", "status"]) | st.text(),
    body=st.binary() | (BODIES | JSON).map(lambda value: json.dumps(value).encode()),
)
def test_no_body_raises_anything_but_unreadable(event: str, body: bytes) -> None:
    try:
        delivery = parse(event, body)
    except UnreadableDelivery:
        return
    assert bool(delivery.signals) != bool(delivery.ignored_because)
