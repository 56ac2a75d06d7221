"""The sandbox's Gitea answers in the same words as the recorded Gitea 1.21."""

from collections.abc import Iterator

import httpx
import pytest

from tests.deployments.sandbox.gitea_desk import REPO, Desk, assert_as_recorded, assert_told_as_recorded, opened_desk
from tests.deployments.sandbox.shapes import recorded


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with opened_desk(tmp_path_factory.mktemp("gitea")) as desk:
        yield desk


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/version", "api-version"),
        ("/user", "api-get-user"),
        (REPO, "api-get-repo"),
        (f"{REPO}/branches/main", "api-get-branch"),
        (f"{REPO}/branches/feature%2Fone", "api-get-branch-slash-encoded"),
        (f"{REPO}/branches/feature%2Fnone", "api-err-404-branch"),
        ("/repos/acme/nope", "api-err-404-repo"),
        (f"{REPO}/compare/main...feature/one", "api-get-compare"),
        (f"{REPO}/pulls/main/feature/one", "api-get-pull-by-base-head"),
        (f"{REPO}/contents/shop/pricing.py?ref=main", "api-get-contents-file"),
        (f"{REPO}/contents/nope.txt?ref=main", "api-err-404-contents-file"),
        (f"{REPO}/commits/main/status", "api-get-combined-status-none"),
        (f"{REPO}/pulls/1", "api-get-pull-open"),
        (f"{REPO}/pulls?state=open&limit=50", "api-list-pulls-open"),
        (f"{REPO}/hooks", "api-get-hooks"),
    ],
)
def test_a_read_answers_as_recorded(desk: Desk, path: str, name: str) -> None:
    assert_as_recorded(desk.bot.get(path), name)


def test_a_bearer_token_is_as_good(desk: Desk) -> None:
    token = desk.sandbox.options.gitea_bot_token
    answer = httpx.get(
        f"{desk.sandbox.gitea_url}/api/v1{REPO}", headers={"Authorization": f"Bearer {token}"}, trust_env=False
    )
    assert_as_recorded(answer, "api-auth-bearer-ok")


def test_a_bad_token_is_refused_even_where_reading_is_free(desk: Desk) -> None:
    answer = desk.bot.get(REPO, headers={"Authorization": "token nope"})
    assert answer.json()["message"] == assert_as_recorded(answer, "api-err-401-bad-token")["message"]


def test_a_reader_may_not_write(desk: Desk) -> None:
    with desk.sandbox.gitea_api(desk.sandbox.options.gitea_reader_token) as eve:
        answer = eve.post(f"{REPO}/branches", json={"new_branch_name": "q"})
    assert answer.json()["message"] == assert_as_recorded(answer, "api-err-403-outsider-branch")["message"]


def test_a_second_pull_request_for_the_same_branches_is_refused(desk: Desk) -> None:
    fields = {"head": "feature/one", "base": "main", "title": "dup", "body": "body"}
    assert_as_recorded(desk.bot.post(f"{REPO}/pulls", json=fields), "api-err-409-duplicate-pull")
    answer = desk.bot.post(f"{REPO}/pulls", json={"head": "feature/one", "title": "x"})
    real = assert_as_recorded(answer, "api-err-422-pull-missing-fields")
    assert answer.json()["message"] == real["message"]


def test_a_webhook_is_made_as_recorded_and_drops_the_events_that_this_version_lacks(desk: Desk) -> None:
    request = recorded("gitea", "api-post-hook")["request"]["body"]
    made = desk.bot.post(f"{REPO}/hooks", json=request | {"active": False})
    real = assert_as_recorded(made, "api-post-hook")
    assert set(made.json()["events"]) == set(real["events"])
    assert "secret" not in made.json()["config"]
    changed = desk.bot.patch(f"{REPO}/hooks/{made.json()['id']}", json={"events": ["push", "create"]})
    assert (changed.status_code, changed.json()["events"]) == (200, ["create", "push"])
    assert desk.bot.patch(f"{REPO}/hooks/{made.json()['id']}", json={"active": True}).json()["events"] == ["push"]
    assert desk.bot.delete(f"{REPO}/hooks/{made.json()['id']}").status_code == 204
    assert desk.bot.delete(f"{REPO}/hooks/{made.json()['id']}").status_code == 404


def test_a_hook_is_tested_with_a_push_as_recorded_and_keeps_its_secret_when_it_is_changed(desk: Desk) -> None:
    hook = desk.bot.get(f"{REPO}/hooks").json()[0]
    config = {"url": hook["config"]["url"], "content_type": "json", "secret": "another"}
    desk.bot.patch(f"{REPO}/hooks/{hook['id']}", json={"config": config, "events": hook["events"] + ["pull_request"]})
    assert desk.bot.post(f"{REPO}/hooks/{hook['id']}/tests").status_code == 204
    told = desk.told("push", lambda body: body["before"] == body["after"])
    assert_told_as_recorded(told, "01-push-hook-test")  # its signature, too: by the secret that the hook was made with
    assert told.body["ref"] == "refs/heads/main"


def test_single_kinds_of_review_cannot_be_subscribed_to(desk: Desk) -> None:
    config = {"url": "http://127.0.0.1:9/hook", "content_type": "json"}
    wanted = {"type": "gitea", "config": config, "events": ["pull_request_review_approved", "push"]}
    assert desk.bot.post(f"{REPO}/hooks", json=wanted).json()["events"] == ["push"]


def test_commit_statuses_answer_as_recorded(desk: Desk) -> None:
    sha = desk.sandbox.commit("feature/status", {"a.txt": "a\n"})

    def post(state: str, context: str) -> httpx.Response:
        fields = {"state": state, "context": context, "target_url": "http://ci.example.test/1", "description": "d"}
        return desk.bot.post(f"{REPO}/statuses/{sha}", json=fields)

    def combined() -> httpx.Response:
        return desk.bot.get(f"{REPO}/commits/{sha}/status")

    post("pending", "ci/unit")
    assert_as_recorded(combined(), "api-get-combined-status-pending")
    post("failure", "ci/unit")
    assert_as_recorded(post("success", "ci/lint"), "api-post-status-success")
    assert_as_recorded(combined(), "api-get-combined-status-failure")
    post("success", "ci/unit")
    answer = combined()
    real = assert_as_recorded(answer, "api-get-combined-status-success")
    assert [one["context"] for one in answer.json()["statuses"]] == [one["context"] for one in real["statuses"]]
    assert answer.json()["state"] == "success"


def test_a_status_for_an_unknown_commit_is_a_server_error(desk: Desk) -> None:
    assert desk.bot.post(f"{REPO}/statuses/{'1' * 40}", json={"state": "success"}).status_code == 500


def test_branches_are_deleted_as_recorded(desk: Desk) -> None:
    desk.bot.post(f"{REPO}/branches", json={"new_branch_name": "api-branch", "old_branch_name": "main"})
    assert_told_as_recorded(desk.told("create", lambda b: b["ref"] == "api-branch"), "03-create-branch-created-api")
    assert_as_recorded(desk.bot.delete(f"{REPO}/branches/api-branch"), "api-delete-branch")
    assert_told_as_recorded(desk.told("delete", lambda b: b["ref"] == "api-branch"), "05-delete-branch-deleted-api")
    assert_as_recorded(desk.bot.delete(f"{REPO}/branches/api-branch"), "api-err-404-delete-branch")
    refused = desk.bot.delete(f"{REPO}/branches/main")
    assert refused.json()["message"] == assert_as_recorded(refused, "api-err-delete-default-branch")["message"]
    assert desk.bot.delete(f"{REPO}/branches/never-was").status_code == 404


def test_a_comment_answers_and_is_told_as_recorded(desk: Desk) -> None:
    answer = desk.bot.post(f"{REPO}/issues/1/comments", json={"body": "A comment"})
    assert_as_recorded(answer, "api-post-comment")
    assert_told_as_recorded(desk.told("pull_request_comment"), "22-pull_request_comment-pr1-comment")


def test_reviews_answer_and_are_told_as_recorded(desk: Desk) -> None:
    number, _ = desk.pull("feature/reviewed", {"r.txt": "r\n"})
    for event, kind, name in (
        ("COMMENT", "pull_request_review_comment", "28-pull_request_review_comment-pr1-review-comment"),
        ("REQUEST_CHANGES", "pull_request_review_rejected", "29-pull_request_review_rejected-pr1-review-rejected"),
        ("APPROVED", "pull_request_review_approved", "30-pull_request_review_approved-pr1-review-approved"),
    ):
        answer = desk.ada.post(f"{REPO}/pulls/{number}/reviews", json={"event": event, "body": "text"})
        assert_as_recorded(answer, "api-post-review-approved")
        assert_told_as_recorded(desk.told(kind), name)
    listed = desk.bot.get(f"{REPO}/pulls/{number}/reviews")
    assert_as_recorded(listed, "api-get-reviews")
    assert [(one["state"], one["official"]) for one in listed.json()] == [
        ("COMMENT", False),
        ("REQUEST_CHANGES", False),
        ("APPROVED", True),
    ]


def test_approve_instead_of_approved_only_makes_a_pending_review(desk: Desk) -> None:
    number, _ = desk.pull("feature/pending", {"p.txt": "p\n"})
    answer = desk.ada.post(f"{REPO}/pulls/{number}/reviews", json={"event": "APPROVE"})
    assert answer.json()["state"] == "PENDING"


def test_nobody_approves_their_own_pull_request(desk: Desk) -> None:
    assert desk.bot.post(f"{REPO}/pulls/1/reviews", json={"event": "APPROVED"}).status_code == 422


def test_a_readers_approval_is_not_official(desk: Desk) -> None:
    number, _ = desk.pull("feature/outsider", {"o.txt": "o\n"})
    with desk.sandbox.gitea_api(desk.sandbox.options.gitea_reader_token) as eve:
        answer = eve.post(f"{REPO}/pulls/{number}/reviews", json={"event": "APPROVED"}).json()
    assert (answer["state"], answer["official"]) == ("APPROVED", False)
