"""The sandbox's Plane answers and tells in the same words as the recorded Plane CE 1.3.1."""

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.running import running_sandbox
from tests.deployments.sandbox.receiver import Received, Receiver
from tests.deployments.sandbox.shapes import differences, recorded

SECRET = "plane_wh_secret"
NOWHERE = "00000000-0000-4000-8000-000000000000"


@dataclass
class Desk:
    """One sandbox for the whole file, with a card to talk about and every webhook that came."""

    sandbox: SandboxClient
    receiver: Receiver
    api: httpx.Client
    project: str
    card: str
    other: str

    @property
    def item(self) -> str:
        return f"/projects/{self.project}/work-items/{self.card}/"

    def state(self, name: str) -> str:
        return self.sandbox.state().project("SHOP").states[name]

    def hook(self, field: str | None, *, event: str = "issue", action: str = "updated") -> Received:
        def seen(one: Received) -> bool:
            body = one.body
            return (body["event"], body["action"], body["activity"]["field"]) == (event, action, field)

        return self.receiver.wait(seen)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    receiver = Receiver()
    root: Path = tmp_path_factory.mktemp("plane")
    with running_sandbox(root / "sandbox") as sandbox, sandbox.plane_api() as api:
        sandbox.plane_webhook(receiver.url, SECRET)
        project = sandbox.state().project("SHOP")
        items = f"/projects/{project.id}/work-items/"
        fields = {"name": "Spin", "description_html": "<p>Make it spin.</p>", "labels": [project.labels["autoApprove"]]}
        card = api.post(items, json=fields).json()["id"]
        other = api.post(items, json={"name": "Blocker"}).json()["id"]
        yield Desk(sandbox, receiver, api, project.id, card, other)
    receiver.close()


def assert_as_recorded(answer: httpx.Response, name: str) -> dict[str, Any]:
    """Compared are status, content type and the whole body; not Django's and the rate limiter's other headers."""
    recording = recorded("plane", name)
    assert answer.status_code == recording["status"]
    assert answer.headers["content-type"] == recording["headers"]["Content-Type"]
    assert differences(recording["json"], answer.json()) == []
    body: dict[str, Any] = recording["json"]
    return body


def assert_told_as_recorded(received: Received, name: str) -> None:
    recording = recorded("plane", name)
    assert differences(recording["body"], received.body) == []
    sent = dict(recording["headers"])
    assert {key.lower() for key in sent} == {key.lower() for key in received.headers}
    assert received.header("User-Agent") == sent["User-Agent"]
    assert received.header("X-Plane-Event") == sent["X-Plane-Event"]
    signature = hmac.new(SECRET.encode(), received.raw, hashlib.sha256).hexdigest()
    assert received.header("X-Plane-Signature") == signature


# --- answers ---


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/projects/{project}/states/", "api-states-list"),
        ("/projects/{project}/labels/", "api-labels-list"),
        ("/projects/{project}/members/", "api-members-project"),
        ("/projects/{project}/work-items/{card}/", "api-work-item-get"),
        (
            "/projects/{project}/work-items/{card}/?expand=state,labels,assignees,project",
            "api-work-item-get-expand",
        ),
        ("/work-items/SHOP-1/?expand=state,labels", "api-work-item-by-sequence"),
        ("/work-items/SHOP-9999/", "api-work-item-by-sequence-404"),
        ("/projects/{project}/work-items/?per_page=1", "api-work-items-list"),
        ("/projects/{project}/work-items/?per_page=1&cursor=1:1:0", "api-work-items-list-page2"),
        ("/projects/{project}/work-items/?per_page=2&cursor=2:99:0", "api-work-items-list-last"),
        (f"/projects/{{project}}/work-items/{NOWHERE}/", "api-err-404-work-item"),
    ],
)
def test_a_read_answers_as_recorded(desk: Desk, path: str, name: str) -> None:
    answer = desk.api.get(path.format(project=desk.project, card=desk.card))
    assert_as_recorded(answer, name)


def test_the_last_page_and_one_past_the_end_look_as_recorded(desk: Desk) -> None:
    past = desk.api.get(f"/projects/{desk.project}/work-items/?per_page=2&cursor=2:99:0").json()
    real = recorded("plane", "api-work-items-list-last")["json"]
    named = ("next_cursor", "prev_cursor", "next_page_results", "prev_page_results", "count", "results")
    assert {name: past[name] for name in named} == {name: real[name] for name in named}


def test_the_bot_is_who_it_says(desk: Desk) -> None:
    answer = httpx.get(
        f"{desk.sandbox.plane_url}/api/v1/users/me/", headers={"X-API-Key": desk.sandbox.options.plane_bot_token}
    )
    assert_as_recorded(answer, "api-users-me")
    assert answer.json()["display_name"] == "pipeline-bot"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (None, "api-err-401-no-key"),
        ("plane_api_nope", "api-err-401-bad-key"),
        ("plane-outsider-token", "api-err-403-not-project-member"),
    ],
)
def test_a_caller_without_rights_is_refused_as_recorded(desk: Desk, key: str | None, name: str) -> None:
    url = f"{desk.sandbox.plane_url}/api/v1/workspaces/acme/projects/{desk.project}/work-items/"
    answer = httpx.get(url, headers={"X-API-Key": key} if key else {})
    assert answer.json() == assert_as_recorded(answer, name)


def test_a_state_given_by_name_is_refused_as_recorded(desk: Desk) -> None:
    answer = desk.api.patch(desk.item, json={"state": "Testing"})
    assert answer.json() == assert_as_recorded(answer, "api-patch-state-by-name")


def test_a_state_id_is_ignored_without_a_word(desk: Desk) -> None:
    before = desk.api.get(desk.item).json()
    answer = desk.api.patch(desk.item, json={"state_id": desk.state("Testing")})
    assert_as_recorded(answer, "api-patch-state_id-ignored")
    assert answer.json() == before


def test_a_path_without_its_last_slash_is_redirected(desk: Desk) -> None:
    answer = desk.api.patch(desk.item.rstrip("/"), json={"name": "x"})
    assert answer.status_code == 301
    assert answer.headers["location"].endswith(desk.item)


def test_a_key_in_the_wrong_case_is_forbidden(desk: Desk) -> None:
    assert desk.api.get("/work-items/shop-1/").status_code == 403


def test_a_comment_is_written_once_per_external_id(desk: Desk) -> None:
    fields = {"comment_html": "<p>x</p>", "external_source": "pipeline", "external_id": "run-1"}
    first = desk.api.post(f"{desk.item}comments/", json=fields)
    assert_as_recorded(first, "api-comment-create")
    again = desk.api.post(f"{desk.item}comments/", json=fields)
    real = assert_as_recorded(again, "api-comment-create-same-external-id")
    assert again.json() == {"error": real["error"], "id": first.json()["id"]}
    listed = desk.api.get(f"{desk.item}comments/?per_page=2")
    assert_as_recorded(listed, "api-comments-list")


def test_relations_are_told_from_both_ends(desk: Desk) -> None:
    desk.api.post(f"{desk.item}relations/", json={"relation_type": "blocked_by", "issues": [desk.other]})
    answer = desk.api.get(f"{desk.item}relations/")
    assert_as_recorded(answer, "api-relations-get")
    assert answer.json()["blocked_by"] == [{"project_id": desk.project, "issue_id": desk.other}]
    other_end = desk.api.get(f"/projects/{desk.project}/work-items/{desk.other}/relations/").json()
    assert other_end["blocking"] == [{"project_id": desk.project, "issue_id": desk.card}]


def test_the_rate_limit_answers_as_recorded(desk: Desk) -> None:
    desk.sandbox.plane_rate_limit(0)
    answer = httpx.get(
        f"{desk.sandbox.plane_url}/api/v1/users/me/", headers={"X-API-Key": desk.sandbox.options.plane_person_token}
    )
    desk.sandbox.plane_rate_limit(None)
    assert answer.json() == assert_as_recorded(answer, "api-err-429")
    assert answer.headers["retry-after"] == recorded("plane", "api-err-429")["headers"]["Retry-After"]


# --- webhooks ---


def test_a_new_card_is_told_as_recorded(desk: Desk) -> None:
    assert_told_as_recorded(desk.hook(None, action="created"), "01-issue-created")


@pytest.mark.parametrize(
    ("fields", "field", "name"),
    [
        ({"state": "Architecture"}, "state", "02-issue-updated-state"),
        ({"name": "Spin twice"}, "name", "03-issue-updated-name"),
        ({"labels": ["autoApprove", "autoDeploy"]}, "labels", "04-issue-updated-label-added"),
        ({"description_html": "<p>New</p>"}, "description_html", "05-issue-updated-description"),
        ({"assignees": ["pipeline-bot"]}, "assignees", "12-issue-updated-assignee"),
    ],
)
def test_a_change_over_the_api_is_told_as_recorded(desk: Desk, fields: dict[str, Any], field: str, name: str) -> None:
    project = desk.sandbox.state().project("SHOP")
    if "state" in fields:
        fields = {"state": project.states[fields["state"]]}
    if "labels" in fields:
        fields = {"labels": [project.labels[label] for label in fields["labels"]]}
    if "assignees" in fields:
        members = desk.api.get(f"/projects/{desk.project}/members/").json()
        fields = {"assignees": [one["id"] for one in members if one["display_name"] in fields["assignees"]]}
    answer = desk.api.patch(desk.item, json=fields)
    assert_as_recorded(answer, "api-patch-labels-list" if field == "labels" else "api-patch-state")
    assert_told_as_recorded(desk.hook(field), name)


def test_a_drag_on_the_board_is_told_twice_as_plane_does(desk: Desk) -> None:
    desk.sandbox.move_card("SHOP-2", "Architecture")
    told = desk.hook("state_id")
    assert_told_as_recorded(told, "21-issue-updated-state-ui")
    assert told.body["activity"]["new_value"] == desk.state("Architecture")
    assert desk.hook("sort_order").body["data"]["id"] == desk.other


def test_labels_set_on_the_board_are_told_as_recorded(desk: Desk) -> None:
    desk.sandbox.set_labels("SHOP-2", ["autoDeploy"])
    assert_told_as_recorded(desk.hook("label_ids"), "23-issue-updated-label-added-ui")


def test_comments_are_told_as_recorded(desk: Desk) -> None:
    comment = desk.api.post(f"{desk.item}comments/", json={"comment_html": "<p>a</p>"}).json()["id"]
    assert_told_as_recorded(desk.hook(None, event="issue_comment", action="created"), "09-issue_comment-created")
    desk.api.patch(f"{desk.item}comments/{comment}/", json={"comment_html": "<p>b</p>"})
    assert_told_as_recorded(desk.hook("comment_html", event="issue_comment"), "10-issue_comment-updated")


def test_what_plane_does_not_tell_is_not_told(desk: Desk) -> None:
    """The same state again, a key that Plane ignores, and a relation; then one change, to know that all was sent."""
    state = desk.api.get(desk.item).json()["state"]
    before = len(desk.receiver.wait_count(len(desk.receiver.got)))
    desk.api.patch(desk.item, json={"state": state})
    desk.api.patch(desk.item, json={"state_id": desk.state("Done")})
    desk.api.post(f"{desk.item}relations/", json={"relation_type": "blocking", "issues": [desk.other]})
    desk.api.patch(desk.item, json={"priority": "urgent"})
    told = desk.receiver.wait_count(before + 1)[before:]
    assert [one.body["activity"]["field"] for one in told] == ["priority"]
