"""The webhook that tells Orch is looked at, made, and made anew."""

from typing import Any

import pytest
from pydantic import SecretStr

from pipeline.clients.gitea import GiteaClient
from pipeline.errors import Refused, Unavailable
from pipeline.model import Subscription
from pipeline.projects import Project

HOOKS = "/api/v1/repos/acme/widgets/hooks"
URL = "http://127.0.0.1:3399/hook"
SECRET = SecretStr("hook-secret-1")
OLD = ["push", "pull_request", "pull_request_review_approved", "pull_request_review_rejected"]


def there_is(replay: Any, *hooks: dict[str, Any]) -> None:
    recorded = replay.recorded("gitea/api-get-hooks")["json"][0]
    replay.replies.clear()
    replay.on("GET", HOOKS, 200, [recorded | hook for hook in hooks])


async def test_the_recorded_hook_is_sound(gitea: GiteaClient, replay: Any, project: Project) -> None:
    replay.recorded("gitea/api-get-hooks")
    replay.recorded("gitea/api-version")
    assert await gitea.hook_state(project, url=URL) == Subscription(3, URL)


async def test_there_is_none_for_another_address(gitea: GiteaClient, replay: Any, project: Project) -> None:
    replay.recorded("gitea/api-get-hooks")
    assert await gitea.hook_state(project, url="http://127.0.0.1:3399/other") is None


async def test_a_hook_of_a_chat_is_not_ours_whatever_its_address(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    there_is(replay, {"type": "slack"})
    assert await gitea.hook_state(project, url=URL) is None


@pytest.mark.parametrize(
    ("hook", "fault"),
    [
        ({"active": False}, "it is switched off"),
        ({"config": {"url": URL, "content_type": "form"}}, "it sends form instead of json"),
        ({"branch_filter": "main"}, "it tells only of branches like main"),
        ({"events": ["push", "pull_request_comment"]}, "it does not tell of pull_request_only, pull_request_review"),
        ({"events": None}, "it does not tell of push, pull_request_only, pull_request_review"),
    ],
)
async def test_what_is_wrong_with_a_hook_is_said(
    gitea: GiteaClient, replay: Any, project: Project, hook: dict[str, Any], fault: str
) -> None:
    there_is(replay, hook)
    replay.recorded("gitea/api-version")
    found = await gitea.hook_state(project, url=URL)
    assert found == Subscription(3, URL, (fault,))
    assert not found.sound


@pytest.mark.parametrize("listed", [OLD, ["push", "pull_request", "pull_request_review"]])
@pytest.mark.parametrize(
    ("version", "faults"),
    [
        ("1.21.11", ()),
        ("1.22.6+dev-12-gabc", ()),
        ("1.23.0", ("it does not tell of status",)),
        ("1.24.0+rc0", ("it does not tell of status",)),
    ],
)
async def test_a_gitea_that_knows_statuses_has_to_tell_them(
    gitea: GiteaClient, replay: Any, project: Project, listed: list[str], version: str, faults: tuple[str, ...]
) -> None:
    there_is(replay, {"events": listed})
    replay.on("GET", "/api/v1/version", 200, {"version": version})
    assert await gitea.hook_state(project, url=URL) == Subscription(3, URL, faults)


async def test_two_hooks_for_one_address_are_one_too_many(gitea: GiteaClient, replay: Any, project: Project) -> None:
    there_is(replay, {"events": [*OLD, "status"]}, {"id": 4})
    assert await gitea.hook_state(project, url=f"{URL}/") == Subscription(3, f"{URL}/", ("there are 2 of it",))


async def test_a_missing_hook_is_made(gitea: GiteaClient, replay: Any, project: Project) -> None:
    replay.on("GET", HOOKS, 200, [])
    replay.recorded("gitea/api-post-hook")
    replay.recorded("gitea/api-version")
    assert await gitea.ensure_hook(project, url=URL, secret=SECRET) == Subscription(3, URL)
    assert replay.calls[1].body == {
        "type": "gitea",
        "active": True,
        "branch_filter": "",
        "config": {"url": URL, "content_type": "json", "secret": "hook-secret-1"},
        "events": ["push", "pull_request_only", "pull_request_review", "status"],
    }


async def test_what_tells_the_address_already_is_replaced_and_nothing_else(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    there_is(
        replay,
        {"id": 1, "active": False},
        {"id": 2, "config": {"url": "http://elsewhere/hook", "content_type": "json"}},
        {"id": 5},
        {"id": 6, "type": "discord"},
    )
    replay.recorded("gitea/api-post-hook")
    replay.recorded("gitea/api-version")
    replay.on("DELETE", f"{HOOKS}/1", 204)
    replay.on("DELETE", f"{HOOKS}/5", 404, {"message": "somebody was faster"})
    await gitea.ensure_hook(project, url=URL, secret=SECRET)
    written = [call for call in replay.made() if call[0] != "GET"]
    assert written == [("POST", HOOKS), ("DELETE", f"{HOOKS}/1"), ("DELETE", f"{HOOKS}/5")]


async def test_an_old_hook_stays_while_a_new_one_cannot_be_made(
    gitea: GiteaClient, replay: Any, project: Project
) -> None:
    there_is(replay, {})
    replay.on("POST", HOOKS, 500, {"message": ""})
    with pytest.raises(Unavailable):
        await gitea.ensure_hook(project, url=URL, secret=SECRET)
    assert [call for call in replay.made() if call[0] == "DELETE"] == []


async def test_a_token_that_may_not_administrate_is_refused(gitea: GiteaClient, replay: Any, project: Project) -> None:
    replay.on("GET", HOOKS, 403, {"message": "user should be an owner or a collaborator with admin write of a repo"})
    with pytest.raises(Refused, match="403 user should be an owner"):
        await gitea.ensure_hook(project, url=URL, secret=SECRET)
