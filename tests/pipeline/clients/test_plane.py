"""Plane's API against recorded answers of a real server."""

from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.clients.plane import PlaneClient
from pipeline.errors import Missing, Refused, Unavailable
from pipeline.model import TrackerMember, TrackerRef
from pipeline.projects import Project

CAPTURES = Path(__file__).parents[2] / "captures"
ITEM = "041af837-e08c-4830-bcb7-5018a5c92fc3"
WORKSPACE = "/api/v1/workspaces/acme"
FOLDER = f"{WORKSPACE}/projects/581ad294-072b-42fc-80a9-52449faee928"


@pytest.fixture
async def plane(replay: Any) -> AsyncIterator[PlaneClient]:
    async with PlaneClient(replay.url, "acme", SecretStr("plane_api_key")) as client:
        yield client


async def test_all_states_are_read_with_their_groups(plane: PlaneClient, replay: Any, project: Project) -> None:
    replay.recorded("plane/api-states-list")
    states = await plane.states(project)
    assert len(states) == 19
    assert (states[0].name, states[0].group) == ("Backlog", "backlog")
    assert {state.name: state.group for state in states}["STOP"] == "cancelled"
    assert replay.calls[0].headers["x-api-key"] == "plane_api_key"


async def test_an_issue_is_read_with_its_description_as_text(plane: PlaneClient, replay: Any, project: Project) -> None:
    replay.recorded("plane/api-work-item-get")
    item = await plane.item(project, ITEM)
    assert (item.id, item.sequence_id, item.title) == (ITEM, 1, "Widget must spin twice")
    assert item.description == "New description"
    assert item.state_id == "b23beebe-87fc-4d72-a080-198f1ebe55d5"
    assert item.updated_at == datetime(2026, 11, 21, 1, 43, 56, 442774, tzinfo=UTC)


async def test_an_issue_that_is_not_there_is_missing(plane: PlaneClient, replay: Any, project: Project) -> None:
    recording = replay.recorded("plane/api-err-404-work-item")
    with pytest.raises(Missing):
        await plane.item(project, "00000000-0000-4000-8000-000000000000")
    assert replay.made() == [("GET", recording["request"]["path"])], "a missing issue is not a missing route"


async def test_an_issue_is_found_by_its_key(plane: PlaneClient, replay: Any, project: Project) -> None:
    found = replay.recorded("plane/api-work-item-get")["json"]
    replay.on("GET", f"{WORKSPACE}/work-items/WID-1/", 200, found)
    assert (await plane.item_by_key(project, "WID-1")).id == ITEM


async def test_an_issue_of_another_project_is_missing(plane: PlaneClient, replay: Any, project: Project) -> None:
    found = replay.recorded("plane/api-work-item-get")["json"] | {"project": "another"}
    replay.on("GET", f"{WORKSPACE}/work-items/OTH-1/", 200, found)
    with pytest.raises(Missing, match="OTH-1 is not an issue of project WID"):
        await plane.item_by_key(project, "OTH-1")


async def test_a_key_that_is_not_there_is_missing(plane: PlaneClient, replay: Any, project: Project) -> None:
    replay.recorded("plane/api-work-item-by-sequence-404")
    with pytest.raises(Missing):
        await plane.item_by_key(project, "WID-9999")


async def test_issues_are_read_page_after_page(plane: PlaneClient, replay: Any, project: Project) -> None:
    replay.recorded("plane/api-work-items-list")
    replay.recorded("plane/api-work-items-list-page2")
    assert [item.sequence_id for item in await plane.items(project)] == [4, 2, 1]
    assert [call.path.partition("?")[2] for call in replay.calls] == [
        "order_by=-updated_at&per_page=100&cursor=100%3A0%3A0",
        "order_by=-updated_at&per_page=100&cursor=2%3A1%3A0",
    ]


async def test_reading_stops_at_the_first_issue_that_is_too_old(
    plane: PlaneClient, replay: Any, project: Project
) -> None:
    page = replay.recorded("plane/api-work-items-list")["json"]
    since = datetime.fromisoformat(page["results"][0]["updated_at"])
    assert [item.sequence_id for item in await plane.items(project, changed_since=since)] == [4]
    assert len(replay.calls) == 1


async def test_a_card_is_moved_by_the_key_that_plane_listens_to(
    plane: PlaneClient, replay: Any, project: Project
) -> None:
    recording = replay.recorded("plane/api-patch-state")
    await plane.set_state(project, ITEM, "1104a223-e2e4-4737-b4ee-e7089767cc49")
    assert replay.calls[0].body == recording["request"]["body"]


async def test_a_state_that_plane_does_not_take_is_refused_with_its_word(
    plane: PlaneClient, replay: Any, project: Project
) -> None:
    replay.recorded("plane/api-patch-state-by-name")
    with pytest.raises(Refused, match=r"400 .*“Testing” is not a valid UUID"):
        await plane.set_state(project, ITEM, "Testing")


async def test_a_new_issue_is_written_and_read_from_the_answer(
    plane: PlaneClient, replay: Any, project: Project
) -> None:
    written = replay.recorded("plane/api-work-item-get")["json"]
    replay.on("POST", f"{FOLDER}/work-items/", 201, written)
    item = await plane.create_item(project, title="Widget must spin twice", html="<p>New description</p>")
    assert (item.id, item.sequence_id, item.title) == (ITEM, 1, "Widget must spin twice")
    assert replay.calls[0].body == {"name": "Widget must spin twice", "description_html": "<p>New description</p>"}


async def test_a_new_issue_that_plane_does_not_take_is_refused_with_its_word(
    plane: PlaneClient, replay: Any, project: Project
) -> None:
    replay.on("POST", f"{FOLDER}/work-items/", 400, {"name": ["This field is required."]})
    with pytest.raises(Refused, match=r"400 .*This field is required"):
        await plane.create_item(project, title="", html="")


async def test_a_comment_is_written_once_per_external_id(plane: PlaneClient, replay: Any, project: Project) -> None:
    replay.recorded("plane/api-comment-create")
    replay.recorded("plane/api-comment-create-same-external-id")
    await plane.comment(project, ITEM, "<p>hello</p>", external_id="run-1")
    await plane.comment(project, ITEM, "<p>hello</p>", external_id="run-1")
    assert [call.body for call in replay.calls] == [
        {"comment_html": "<p>hello</p>", "external_source": "orch", "external_id": f"{ITEM}:run-1"}
    ] * 2


async def test_comments_come_oldest_first_as_text(plane: PlaneClient, replay: Any, project: Project) -> None:
    recording = replay.recorded("plane/api-comments-list")["json"]
    path = f"{FOLDER}/work-items/{ITEM}/comments/"
    replay.replies.clear()
    replay.on("GET", path, 200, recording)
    replay.on("GET", path, 200, recording | {"results": [], "next_page_results": False})
    comments = await plane.comments(project, ITEM)
    assert [comment.text for comment in comments] == ["plain text & <unclosed", "form"]
    assert comments[0].actor_id == "73255328-4a94-47df-8df9-fec7e850cd54"


async def test_the_tokens_own_user_is_known(plane: PlaneClient, replay: Any) -> None:
    replay.recorded("plane/api-users-me")
    assert await plane.own_ids() == {"73255328-4a94-47df-8df9-fec7e850cd54"}


async def test_labels_are_read_by_name(plane: PlaneClient, replay: Any, project: Project) -> None:
    recording = replay.recorded("plane/api-labels-list")["json"]
    labels = await plane.labels(project)
    assert [(label.id, label.name) for label in labels] == [(one["id"], one["name"]) for one in recording["results"]]
    assert labels


async def test_what_blocks_an_issue_is_read_from_its_relations(
    plane: PlaneClient, replay: Any, project: Project
) -> None:
    replay.recorded("plane/api-relations-get")
    assert await plane.blocked_by(project, ITEM) == (
        TrackerRef("581ad294-072b-42fc-80a9-52449faee928", "58228c7e-f970-47bd-a46b-18a1a1358d8d"),
    )


async def test_members_come_as_a_bare_list(plane: PlaneClient, replay: Any, project: Project) -> None:
    replay.recorded("plane/api-members-project")
    assert await plane.members(project) == (
        TrackerMember("73255328-4a94-47df-8df9-fec7e850cd54", "pipeline-bot"),
        TrackerMember("c32b02ce-b634-425a-bbef-fb8bbb8cb428", "ada"),
    )


@pytest.mark.parametrize("name", ["plane/api-patch-state_id-ignored", "plane/api-patch-labels-list"])
async def test_an_answer_to_a_change_is_an_answer_whatever_else_it_tells(
    plane: PlaneClient, replay: Any, project: Project, name: str
) -> None:
    replay.recorded(name)
    await plane.set_state(project, ITEM, "s")
    assert [call.body for call in replay.calls] == [{"state": "s"}]


async def test_a_list_past_its_end_is_empty(plane: PlaneClient, replay: Any, project: Project) -> None:
    replay.recorded("plane/api-work-items-list-last")
    assert await plane.items(project) == ()


async def test_a_list_that_never_ends_is_left_at_its_first_empty_page(
    plane: PlaneClient, replay: Any, project: Project
) -> None:
    page = {"results": [], "next_page_results": True}
    for number in range(3):
        replay.on("GET", f"{FOLDER}/labels/", 200, page | {"next_cursor": f"100:{number + 1}:0"})
    assert await plane.labels(project) == ()
    assert len(replay.calls) == 1


@pytest.mark.parametrize("name", ["api-work-item-get-expand", "api-work-item-by-sequence"])
async def test_an_expanded_answer_that_was_not_asked_for_is_named_and_not_misread(
    plane: PlaneClient, replay: Any, project: Project, name: str
) -> None:
    replay.recorded(f"plane/{name}")
    replay.on("GET", f"{FOLDER}/work-items/{ITEM}/", 200, next(iter(replay.replies.values()))[0].body)
    with pytest.raises(Unavailable, match="state: Input should be a valid string"):
        await plane.item(project, ITEM)


async def test_too_many_requests_say_when_to_come_back(plane: PlaneClient, replay: Any, project: Project) -> None:
    recording = replay.recorded("plane/api-err-429")
    replay.on("GET", f"{FOLDER}/states/", 429, recording["json"], **{"Retry-After": "59"})
    with pytest.raises(Unavailable, match="RATE_LIMIT_EXCEEDED") as raised:
        await plane.states(project)
    assert (raised.value.status, raised.value.retry_after) == (429, 59)


def test_every_recorded_answer_is_read_here() -> None:
    source = Path(__file__).read_text()
    names = [path.stem for path in (CAPTURES / "plane").glob("api-*.json")]
    assert [name for name in names if name not in source] == []


# --- voices and budgets


async def test_a_comment_has_the_token_of_its_voice_and_everything_else_the_shared_one(
    replay: Any, project: Project
) -> None:
    path = f"{FOLDER}/work-items/{ITEM}/comments/"
    replay.on("POST", path, 201, {})
    replay.on("PATCH", f"{FOLDER}/work-items/{ITEM}/", 200, {})
    voices = {"stream": SecretStr("streams"), "tester": SecretStr("")}
    async with PlaneClient(replay.url, "acme", SecretStr("shared"), voices=voices) as plane:
        for voice in ("stream", "tester", ""):
            await plane.comment(project, ITEM, "x", external_id="1", voice=voice)
        await plane.set_state(project, ITEM, "s")
    assert [call.headers["x-api-key"] for call in replay.calls] == ["streams", "shared", "shared", "shared"]


@pytest.mark.parametrize(("status", "keys"), [(401, 2), (403, 2), (404, 1), (422, 1)])
async def test_a_bot_that_is_not_let_in_has_its_comment_written_by_the_shared_one(
    replay: Any, project: Project, status: int, keys: int
) -> None:
    path = f"{FOLDER}/work-items/{ITEM}/comments/"
    replay.on("POST", path, status, {"error": "no"})
    replay.on("POST", path, 201, {})
    voices = {"stream": SecretStr("streams")}
    async with PlaneClient(replay.url, "acme", SecretStr("shared"), voices=voices) as plane:
        with nullcontext() if keys == 2 else pytest.raises(Refused):
            await plane.comment(project, ITEM, "x", external_id="1", voice="stream")
    assert [call.headers["x-api-key"] for call in replay.calls] == ["streams", "shared"][:keys]


async def test_each_request_is_admitted_under_the_name_of_its_token(replay: Any, project: Project) -> None:
    admitted: list[str] = []

    async def admit(voice: str) -> None:
        admitted.append(voice)

    replay.recorded("plane/api-users-me")
    voices = {"stream": SecretStr("streams")}
    async with PlaneClient(replay.url, "acme", SecretStr("shared"), voices=voices, admit=admit) as plane:
        await plane.own_ids()
    assert admitted == ["", "stream"]


# --- refusals


@pytest.mark.parametrize(
    "name", ["plane/api-err-401-no-key", "plane/api-err-401-bad-key", "plane/api-err-403-not-project-member"]
)
async def test_a_key_that_may_not_is_refused(plane: PlaneClient, replay: Any, project: Project, name: str) -> None:
    recording = replay.recorded(name)
    with pytest.raises(Refused) as raised:
        await plane.items(project)
    assert recording["json"]["detail"].rstrip(".") in str(raised.value)
    assert "plane_api_key" not in str(raised.value)


@pytest.mark.parametrize("no_such_route", [{"error": "Page not found."}, "<h1>Not Found</h1>"])
async def test_an_older_plane_is_asked_for_issues_from_then_on(
    plane: PlaneClient, replay: Any, project: Project, no_such_route: Any
) -> None:
    found = replay.recorded("plane/api-work-item-get")["json"]
    replay.replies.clear()
    replay.on("GET", f"{FOLDER}/work-items/{ITEM}/", 404, no_such_route)
    replay.on("GET", f"{FOLDER}/issues/{ITEM}/", 200, found)
    replay.on("PATCH", f"{FOLDER}/issues/{ITEM}/", 200, found)
    assert (await plane.item(project, ITEM)).id == ITEM
    await plane.set_state(project, ITEM, "s")
    assert [path.split("/")[-3] for _, path in replay.made()] == ["work-items", "issues", "issues"]


async def test_what_is_missing_under_both_names_stays_missing(
    plane: PlaneClient, replay: Any, project: Project
) -> None:
    for word in ("work-items", "issues"):
        replay.on("GET", f"{FOLDER}/{word}/{ITEM}/", 404, {"error": "Page not found."})
    with pytest.raises(Missing):
        await plane.item(project, ITEM)


@pytest.mark.parametrize("said", [None, "404 page not found\n"])
async def test_an_answer_that_is_not_planes_says_nothing_about_the_card_under_either_name(
    plane: PlaneClient, replay: Any, project: Project, said: str | None
) -> None:
    for word in ("work-items", "issues"):
        replay.on("GET", f"{FOLDER}/{word}/{ITEM}/", 404, said)
    with pytest.raises(Unavailable, match="404"):
        await plane.item(project, ITEM)
    replay.replies.clear()
    replay.on("GET", f"{FOLDER}/work-items/{ITEM}/", 200, replay.recorded("plane/api-work-item-get")["json"])
    assert (await plane.item(project, ITEM)).id == ITEM, "it is not taken for an older Plane"


async def test_an_answer_without_a_needed_field_is_unavailable(
    plane: PlaneClient, replay: Any, project: Project
) -> None:
    replay.on("GET", f"{FOLDER}/work-items/{ITEM}/", 200, {"id": ITEM})
    with pytest.raises(Unavailable, match="project: Field required"):
        await plane.item(project, ITEM)


async def test_an_id_cannot_lead_out_of_its_folder(plane: PlaneClient, replay: Any, project: Project) -> None:
    with pytest.raises(Unavailable):
        await plane.item(project, "../../x")
    assert replay.calls[0].path == f"{FOLDER}/work-items/..%2F..%2Fx/"
