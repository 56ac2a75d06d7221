"""The workspace against the sandbox's forge: smart HTTP, tokens and a protected branch."""

from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from pipeline.clients.gitea import GiteaClient
from pipeline.clients.workspace import GitWorkspace
from pipeline.errors import TurnedAway, Unavailable
from pipeline.model import Landed, Protected, Pushed
from pipeline.projects import Project
from tests.pipeline.clients.origin import change

OPTIONS = Options()
ITEM, BRANCH = "SHOP-1", "feature/SHOP-1-x"


async def workspace(
    sandbox: SandboxClient, tmp_path: Path, *, token: str = OPTIONS.gitea_bot_token, repository: str = "acme/shop"
) -> GitWorkspace:
    project = Project(key="SHOP", plane_project=UUID(int=1), repository=repository, test_command=("true",))
    async with GiteaClient(sandbox.gitea_url, SecretStr(token)) as forge:
        return GitWorkspace(
            project,
            root=tmp_path,
            url=forge.clone_url(project),
            credentials=forge.git_credentials(),
            home=tmp_path / "home",
        )


async def test_a_change_is_pushed_and_lands(sandbox: SandboxClient, tmp_path: Path) -> None:
    here = await workspace(sandbox, tmp_path)
    base, tip = here.fetch(), change(here, {"a.txt": "a"}, ITEM, BRANCH)
    assert here.push(ITEM, BRANCH, expected=None) == Pushed(tip)
    sandbox.protect("push")
    try:
        landed = here.land(tip, expected=base)
    finally:
        sandbox.protect("")
    assert isinstance(landed, Protected)
    assert "Not allowed to push to protected branch main" in landed.reason
    assert here.land(tip, expected=base) == Landed(tip)
    assert here.fetch() == tip


async def test_a_wrong_token_is_turned_away_and_not_told(sandbox: SandboxClient, tmp_path: Path) -> None:
    here = await workspace(sandbox, tmp_path, token="not-a-token-at-all")
    with pytest.raises(TurnedAway, match="git was turned away") as caught:
        here.fetch()
    assert "not-a-token-at-all" not in str(caught.value)


async def test_a_token_that_may_only_read_cannot_push(sandbox: SandboxClient, tmp_path: Path) -> None:
    here = await workspace(sandbox, tmp_path, token=OPTIONS.gitea_reader_token)
    base, tip = here.fetch(), change(here, {"b.txt": "b"}, ITEM, "feature/SHOP-1-y")
    with pytest.raises(TurnedAway, match="git was turned away"):
        here.push(ITEM, "feature/SHOP-1-y", expected=None)
    with pytest.raises(TurnedAway, match="git was turned away"):
        here.land(tip, expected=base)


async def test_a_landing_whose_answer_is_lost_is_found_to_have_landed(sandbox: SandboxClient, tmp_path: Path) -> None:
    here = await workspace(sandbox, tmp_path)
    base, tip = here.fetch(), change(here, {"c.txt": "c"}, ITEM, "feature/SHOP-1-z")
    sandbox.fail_next("gitea", status=502, match="POST /acme/shop.git/git-receive-pack", after=True)
    try:
        assert here.land(tip, expected=base) == Landed(tip)
    finally:
        sandbox.clear_faults()


async def test_a_repository_that_is_not_there_turns_git_away(sandbox: SandboxClient, tmp_path: Path) -> None:
    with pytest.raises(TurnedAway, match="acme/nothing: git was turned away"):
        (await workspace(sandbox, tmp_path, repository="acme/nothing")).fetch()


async def test_a_failing_forge_is_unavailable(sandbox: SandboxClient, tmp_path: Path) -> None:
    here = await workspace(sandbox, tmp_path)
    sandbox.fail_next("gitea", 3, status=503)
    try:
        with pytest.raises(Unavailable, match="503"):
            here.fetch()
    finally:
        sandbox.clear_faults()
    here.fetch()


@pytest.mark.parametrize("html", ["<html>502 Bad Gateway</html>", "<html>\n<body>\n502\n</body>\n</html>\n", ""])
async def test_a_page_of_a_proxy_instead_of_gits_answer_forgets_no_branch(
    sandbox: SandboxClient, tmp_path: Path, html: str
) -> None:
    here, branch = await workspace(sandbox, tmp_path), f"feature/SHOP-1-{len(html)}"
    base = here.fetch()
    tip = sandbox.commit(branch, {"d.txt": html}, "d", repository="acme/shop")
    here.fetch()
    sandbox.fail_next("gitea", 1000, status=200, body=html, match="/info/refs")
    try:
        with pytest.raises(Unavailable):
            here.fetch()
        with pytest.raises(Unavailable):
            here.land(tip, expected=base)
    finally:
        sandbox.clear_faults()
    assert (here.remote_tip("main"), here.remote_tip(branch)) == (base, tip)
    assert here.fetch() == base


async def test_a_page_instead_of_gits_first_answer_is_no_empty_repository(
    sandbox: SandboxClient, tmp_path: Path
) -> None:
    here = await workspace(sandbox, tmp_path)
    sandbox.fail_next("gitea", 1000, status=200, body="<html>502 Bad Gateway</html>", match="/info/refs")
    try:
        with pytest.raises(Unavailable, match="does not speak git's protocol"):
            here.fetch()
    finally:
        sandbox.clear_faults()
    here.fetch()
