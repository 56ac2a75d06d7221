"""Plane's states, labels and permissions: what is there, what has a stand-in, what is missing."""

from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from deployments.checkup.finding import Finding, Grade, exit_code
from deployments.checkup.plane import look_at_plane, look_at_states, look_at_webhook_secret, webhook_values
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from pipeline.clients.plane import PlaneClient
from pipeline.model import TrackerState
from pipeline.projects import Project
from pipeline.settings import Settings
from pipeline.stages import Status
from pipeline.states import StateList
from tests.support.faulty import faulty_server, page

SETTINGS = Settings.model_construct(
    **{n: f.get_default(call_default_factory=True) for n, f in Settings.model_fields.items()}
)
NEW_BOARD = ("Backlog", "Todo", "In Progress", "Done", "Cancelled")
"""The states of a new project in Plane."""


def project(plane: str | UUID = "00000000-0000-0000-0000-000000000001") -> Project:
    return Project(key="SHOP", plane_project=UUID(str(plane)), repository="acme/shop", test_command=("true",))


def states(*names: str) -> list[Finding]:
    known = tuple(TrackerState(str(number), name, "") for number, name in enumerate(names))
    return look_at_states(StateList(project(), known, fetched=0))


def names_of(findings: list[Finding], grade: Grade) -> list[str]:
    return [one.sentence.split()[1] for one in findings if one.grade is grade]


async def look(
    sandbox: SandboxClient, token: str, *projects: Project, url: str = "", workspace: str = ""
) -> list[Finding]:
    where = (url or sandbox.plane_url, workspace or Options().workspace, SecretStr(token))
    async with PlaneClient(*where) as client:
        return await look_at_plane(client, projects, SETTINGS)


def shop(sandbox: SandboxClient) -> Project:
    return project(sandbox.state().project("SHOP").id)


def test_a_new_board_lacks_what_people_say_and_shows_the_rest_by_the_next_best() -> None:
    found = states(*NEW_BOARD)
    assert names_of(found, Grade.MISSING) == ["Approved", "Rejected", "Confirm", "Stop"]
    assert exit_code(found) == 4
    less = [one.sentence for one in found if one.grade is Grade.LESS]
    assert "State To Analyse is missing: In Progress starts an item instead." in less
    assert "State Monitoring is missing: Done is shown instead." in less


@pytest.mark.parametrize("gone", ["In Progress", "Done", "Cancelled"])
def test_a_state_that_nothing_stands_in_for_is_missing(gone: str) -> None:
    found = states(*(name for name in NEW_BOARD if name != gone))
    assert gone.split()[0] in names_of(found, Grade.MISSING)


def test_a_full_board_has_no_fault_and_every_fault_has_a_next_step() -> None:
    [whole] = states(*(status.value.replace("_", " ") for status in Status))
    assert whole.grade is Grade.OK
    assert all(one.next_step for one in states() if one.grade is not Grade.OK)


async def test_the_sandboxs_plane_lacks_nothing(sandbox: SandboxClient) -> None:
    found = await look(sandbox, Options().plane_bot_token, shop(sandbox))
    assert {one.grade for one in found} == {Grade.OK}
    assert "Label autoApprove is there." in [one.sentence for one in found]


async def test_a_token_that_is_wrong_is_the_only_finding_and_is_not_shown(sandbox: SandboxClient) -> None:
    [found] = await look(sandbox, "wrong-token", shop(sandbox))
    assert found.grade is Grade.MISSING
    assert "wrong-token" not in found.sentence
    assert "Personal access tokens" in found.next_step


async def test_a_server_that_is_not_there_is_told_apart_from_a_wrong_token(
    sandbox: SandboxClient, free_port: int
) -> None:
    [found] = await look(sandbox, Options().plane_bot_token, url=f"http://127.0.0.1:{free_port}")
    assert (found.grade, found.next_step) == (Grade.MISSING, "Correct ORCH_PLANE_URL, or start Plane.")


async def test_an_address_where_something_else_answers_is_not_taken_for_a_wrong_token(sandbox: SandboxClient) -> None:
    with faulty_server([page(404, "404 page not found")]) as other:
        [found] = await look(sandbox, Options().plane_bot_token, url=other.url)
    assert found.next_step == "Correct ORCH_PLANE_URL, or start Plane."
    assert found.sentence.endswith("as what stands between does: 404 404 page not found.")


@pytest.mark.parametrize(
    ("token", "plane", "workspace"),
    [
        (Options().plane_outsider_token, None, ""),
        (Options().plane_bot_token, uuid4(), ""),
        (Options().plane_bot_token, None, "elsewhere"),
    ],
)
async def test_who_is_no_member_or_names_no_project_is_told_so_for_that_project(
    sandbox: SandboxClient, token: str, plane: UUID | None, workspace: str
) -> None:
    wanted = project(plane) if plane else shop(sandbox)
    good, bad = await look(sandbox, token, wanted, workspace=workspace)
    assert (good.grade, bad.grade, bad.about) == (Grade.OK, Grade.MISSING, "Plane SHOP")
    assert "a member of project" in bad.next_step


def test_the_webhooks_form_is_told_with_the_public_address() -> None:
    told = webhook_values(SETTINGS.model_copy(update={"public_url": "https://orch.example.org/"}))
    assert any("https://orch.example.org/webhooks/plane" in line for line in told)


def test_without_the_webhooks_secret_no_delivery_could_be_checked() -> None:
    assert look_at_webhook_secret(SETTINGS).grade is Grade.MISSING
    secret = SETTINGS.model_copy(update={"plane_webhook_secret": SecretStr("plane_wh_1")})
    assert look_at_webhook_secret(secret).grade is Grade.OK
