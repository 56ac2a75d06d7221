"""The clients against the sandbox: servers that keep state, and git repositories that are real."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from deployments.sandbox.running import running_sandbox
from pipeline.clients.gitea import GiteaClient
from pipeline.clients.plane import PlaneClient
from pipeline.clients.telegram import TelegramClient
from pipeline.errors import Missing, Refused, Unavailable
from pipeline.model import CiState, Landed, MovedOn, Protected
from pipeline.projects import Project

OPTIONS = Options()


@pytest.fixture
def project(shop: Project) -> Project:
    return shop


@pytest.fixture
async def plane(sandbox: SandboxClient) -> AsyncIterator[PlaneClient]:
    token = SecretStr(OPTIONS.plane_bot_token)
    async with PlaneClient(sandbox.plane_url, OPTIONS.workspace, token) as client:
        yield client


@pytest.fixture
async def gitea(sandbox: SandboxClient) -> AsyncIterator[GiteaClient]:
    async with GiteaClient(sandbox.gitea_url, SecretStr(OPTIONS.gitea_bot_token)) as client:
        yield client


async def pull_of(gitea: GiteaClient, sandbox: SandboxClient, project: Project, branch: str) -> tuple[int, str]:
    """A new branch with one commit and its pull request: (number, commit)."""
    commit = sandbox.commit(branch, {f"{branch}.txt": "x"}, who="api")
    pull = await gitea.open_pull(project, branch=branch, title=branch, body="")
    return pull.number, commit


# --- Plane ---


async def test_a_card_moves_and_is_read_back(plane: PlaneClient, sandbox: SandboxClient, project: Project) -> None:
    key = sandbox.create_card("Spin", "Make it **spin** <fast>")
    item = await plane.item_by_key(project, key)
    states = {state.name: state for state in await plane.states(project)}
    await plane.set_state(project, item.id, states["Development"].id)
    assert sandbox.card(key).state == "Development"
    again = await plane.item(project, item.id)
    assert (again.title, again.state_id) == ("Spin", states["Development"].id)
    assert again.updated_at > item.updated_at


async def test_a_comment_written_twice_is_there_once(
    plane: PlaneClient, sandbox: SandboxClient, project: Project
) -> None:
    key = sandbox.create_card("Comment me")
    item = sandbox.card(key).id
    sandbox.comment(key, "a person's")
    await plane.comment(project, item, "<p>Done &amp; dusted</p>", external_id="run-1")
    await plane.comment(project, item, "<p>Done &amp; dusted</p>", external_id="run-1")
    comments = await plane.comments(project, item)
    assert [comment.text for comment in comments] == ["a person's", "Done & dusted"]
    own = await plane.own_ids()
    assert (comments[0].actor_id in own, comments[1].actor_id in own) == (False, True)


async def test_activities_tell_states_by_name_oldest_first(
    plane: PlaneClient, sandbox: SandboxClient, project: Project
) -> None:
    key = sandbox.create_card("Move me twice")
    sandbox.move_card(key, "To Analyse")
    sandbox.move_card(key, "Stop")
    moves = [one for one in await plane.activities(project, sandbox.card(key).id) if one.field == "state"]
    assert [(one.old, one.new) for one in moves] == [("Backlog", "To Analyse"), ("To Analyse", "Stop")]
    people = {member.id: member.name for member in await plane.members(project)}
    assert [people[one.actor_id] for one in moves] == ["ada", "ada"]


async def test_the_same_external_id_on_another_card_is_another_comment(
    plane: PlaneClient, sandbox: SandboxClient, project: Project
) -> None:
    items = [sandbox.card(sandbox.create_card(title)).id for title in ("One", "Other")]
    for item in items:
        await plane.comment(project, item, "<p>x</p>", external_id="same")
    assert [len(await plane.comments(project, item)) for item in items] == [1, 1]


async def test_a_comment_whose_answer_was_lost_is_not_written_again(
    plane: PlaneClient, sandbox: SandboxClient, project: Project
) -> None:
    item = sandbox.card(sandbox.create_card("Lost answer")).id
    sandbox.fail_next("plane", match="comments", after=True)
    with pytest.raises(Unavailable):
        await plane.comment(project, item, "<p>x</p>", external_id="run-1")
    await plane.comment(project, item, "<p>x</p>", external_id="run-1")
    assert len(await plane.comments(project, item)) == 1


async def test_changed_cards_come_first_and_old_ones_not_at_all(
    plane: PlaneClient, sandbox: SandboxClient, project: Project
) -> None:
    first, second = sandbox.create_card("First"), sandbox.create_card("Second")
    sandbox.comment(first, "moves updated_at")
    items = await plane.items(project)
    assert [item.title for item in items[:2]] == ["First", "Second"]
    since = items[1].updated_at + timedelta(microseconds=1)
    assert [item.title for item in await plane.items(project, changed_since=since)] == ["First"]
    assert second == f"SHOP-{items[1].sequence_id}"


async def test_a_key_that_may_not_is_refused(sandbox: SandboxClient, project: Project) -> None:
    token = SecretStr(OPTIONS.plane_outsider_token)
    async with PlaneClient(sandbox.plane_url, OPTIONS.workspace, token) as outsider:
        with pytest.raises(Refused) as raised:
            await outsider.states(project)
    assert raised.value.status == 403


async def test_a_rate_limit_is_unavailable_for_so_long(
    plane: PlaneClient, sandbox: SandboxClient, project: Project
) -> None:
    sandbox.plane_rate_limit(1)
    try:
        outcomes = await asyncio.gather(*(plane.states(project) for _ in range(3)), return_exceptions=True)
    finally:
        sandbox.plane_rate_limit(None)
    limited = [outcome for outcome in outcomes if isinstance(outcome, Unavailable)]
    assert limited
    assert all(outcome.status == 429 and outcome.retry_after is not None for outcome in limited)


# --- Gitea ---


async def test_opening_a_pull_request_twice_gives_one(
    gitea: GiteaClient, sandbox: SandboxClient, project: Project
) -> None:
    number, commit = await pull_of(gitea, sandbox, project, "orch/twice")
    again = await gitea.open_pull(project, branch="orch/twice", title="again", body="")
    assert (again.number, again.head, again.open) == (number, commit, True)
    assert await gitea.pull(project, number) == again


async def test_two_at_once_open_one_pull_request(gitea: GiteaClient, sandbox: SandboxClient, project: Project) -> None:
    sandbox.commit("orch/race", {"race.txt": "x"}, who="api")
    opened = await asyncio.gather(
        *(gitea.open_pull(project, branch="orch/race", title="race", body="") for _ in range(3))
    )
    assert len({pull.number for pull in opened}) == 1


async def test_a_branch_has_a_tip_or_none(gitea: GiteaClient, sandbox: SandboxClient, project: Project) -> None:
    commit = sandbox.commit("orch/tip", {"tip.txt": "x"}, who="api")
    assert await gitea.branch_tip(project, "orch/tip") == commit
    assert await gitea.branch_tip(project, "orch/nothing") is None
    elsewhere = project.model_copy(update={"repository": "acme/nothing"})
    with pytest.raises(Missing):
        await gitea.branch_tip(elsewhere, "main")


async def test_a_fast_forward_makes_main_exactly_that_commit_once(
    gitea: GiteaClient, sandbox: SandboxClient, project: Project
) -> None:
    number, commit = await pull_of(gitea, sandbox, project, "orch/land")
    assert await gitea.fast_forward(project, number=number, commit=commit) == Landed(commit)
    assert sandbox.repository().main == commit
    assert await gitea.fast_forward(project, number=number, commit=commit) == Landed(commit)
    assert sandbox.repository().main_tips.count(commit) == 1


async def test_a_merge_whose_answer_was_lost_has_landed(
    gitea: GiteaClient, sandbox: SandboxClient, project: Project
) -> None:
    number, commit = await pull_of(gitea, sandbox, project, "orch/lost")
    sandbox.fail_next("gitea", match="/merge", after=True)
    assert await gitea.fast_forward(project, number=number, commit=commit) == Landed(commit)
    assert sandbox.repository().main == commit


async def test_merging_three_times_at_once_lands_once(
    gitea: GiteaClient, sandbox: SandboxClient, project: Project
) -> None:
    number, commit = await pull_of(gitea, sandbox, project, "orch/thrice")
    calls = (gitea.fast_forward(project, number=number, commit=commit) for _ in range(3))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert Landed(commit) in outcomes
    assert all(outcome == Landed(commit) or isinstance(outcome, Unavailable) for outcome in outcomes)
    assert sandbox.repository().main_tips.count(commit) == 1


async def test_nothing_lands_on_a_main_that_moved(gitea: GiteaClient, sandbox: SandboxClient, project: Project) -> None:
    number, commit = await pull_of(gitea, sandbox, project, "orch/behind")
    moved = sandbox.commit("main", {"meanwhile.txt": "x"})
    assert await gitea.fast_forward(project, number=number, commit=commit) == MovedOn(moved)
    assert sandbox.repository().main == moved


async def test_nothing_lands_when_the_head_moved(gitea: GiteaClient, sandbox: SandboxClient, project: Project) -> None:
    number, commit = await pull_of(gitea, sandbox, project, "orch/pushed")
    newer = sandbox.commit("orch/pushed", {"more.txt": "x"})
    before = sandbox.repository().main
    assert await gitea.fast_forward(project, number=number, commit=commit) == MovedOn(newer)
    assert sandbox.repository().main == before


async def test_a_protected_main_says_why(gitea: GiteaClient, sandbox: SandboxClient, project: Project) -> None:
    number, commit = await pull_of(gitea, sandbox, project, "orch/protected")
    sandbox.protect("all")
    try:
        outcome = await gitea.fast_forward(project, number=number, commit=commit)
    finally:
        sandbox.protect("")
    assert outcome == Protected("User not allowed to merge PR")


def push_as_orch(sandbox: SandboxClient, gitea: GiteaClient, project: Project, refspec: str, folder: Path) -> None:
    """Clone, and push `refspec`, with the client's own URL and credentials."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_TERMINAL_PROMPT": "0"}
    environment |= gitea.git_credentials()
    clone = ["git", "clone", "--quiet", "--mirror", gitea.clone_url(project), str(folder / "clone")]
    push = ["git", "-C", str(folder / "clone"), "push", "--quiet", gitea.clone_url(project), refspec]
    for command in (clone, push):
        subprocess.run(command, env=environment, check=True, capture_output=True)


@pytest.mark.parametrize("allowed", [True, False])
async def test_what_a_push_landed_is_marked(allowed: bool, tmp_path: Path) -> None:
    """Gitea before 1.22 lands by push; where marking is not allowed the pull request is closed with one comment."""
    options = Options(gitea_version="1.21.0", allow_manual_merge=allowed)
    async with running_sandbox(tmp_path / "sandbox", options=options) as sandbox:
        sandbox.ci("off")
        project_id = UUID(sandbox.state().project("SHOP").id)
        project = Project(key="SHOP", plane_project=project_id, repository="acme/shop", test_command=("true",))
        async with GiteaClient(sandbox.gitea_url, SecretStr(options.gitea_bot_token)) as gitea:
            number, commit = await pull_of(gitea, sandbox, project, "orch/pushed")
            assert await gitea.fast_forward(project, number=number, commit=commit) is None
            await asyncio.to_thread(push_as_orch, sandbox, gitea, project, f"{commit}:refs/heads/main", tmp_path)
            for _ in range(2):
                await gitea.mark_landed(project, number=number, commit=commit)
            pull = await gitea.pull(project, number)
        assert (pull.open, pull.merged) == (False, allowed)
        assert sandbox.repository().main == commit


async def test_ci_is_silent_then_pending_then_green(
    gitea: GiteaClient, sandbox: SandboxClient, project: Project
) -> None:
    commit = sandbox.commit("orch/ci", {"ci.txt": "x"}, who="api")
    assert (await gitea.combined_status(project, commit)).state is CiState.NONE
    with sandbox.gitea_api(OPTIONS.gitea_bot_token) as api:
        for state, expected in (
            ("pending", CiState.PENDING),
            ("failure", CiState.FAILURE),
            ("success", CiState.SUCCESS),
        ):
            status = {"state": state, "context": "ci/unit"}
            api.post(f"/repos/acme/shop/statuses/{commit}", json=status).raise_for_status()
            assert (await gitea.combined_status(project, commit)).state is expected


async def test_the_login_is_the_bots(gitea: GiteaClient) -> None:
    assert await gitea.own_login() == "orch-bot"


# --- Telegram ---


async def test_a_message_arrives(sandbox: SandboxClient) -> None:
    async with TelegramClient(sandbox.telegram_url, SecretStr(OPTIONS.telegram_bot_token), "1") as telegram:
        number = await telegram.send("<b>Hello</b> a &lt; b", silent=True)
        rescued = await telegram.send("<b>not closed")
    messages = {f"1/{message.message_id}": message for message in sandbox.state().telegram.messages}
    assert (messages[number].text, messages[number].silent) == ("<b>Hello</b> a &lt; b", True)
    assert messages[rescued].text == "not closed"
