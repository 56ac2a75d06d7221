"""Links lead where other people can go, or are left out."""

from typing import Any

import pytest

from pipeline.model import WorkItem
from pipeline.settings import Settings
from pipeline.stages import Stage
from tasks import links
from tests.pipeline.store.helpers import NOW


def item(**more: Any) -> WorkItem:
    return WorkItem(
        id=1, key="WID-1", project="WID", tracker_id="t", title="Spin", branch="feature/WID-1-spin",
        stage=Stage.ANALYSIS, version=1, attempts={}, visits={}, created_at=NOW, entered_at=NOW, **more,
    )  # fmt: skip


def settings(**more: str) -> Settings:
    return Settings.model_validate({"plane_workspace": "acme", **more})


def test_the_documents_and_the_issue_are_found_at_the_public_addresses() -> None:
    told = settings(
        plane_url="https://plane-api.internal", plane_web_url="https://plane.example.org/",
        gitea_url="http://gitea:3000", gitea_public_url="https://git.example.org/",
    )  # fmt: skip
    folder = "https://git.example.org/acme/widgets/src/branch/feature/WID-1-spin/docs/work-items/WID-1"
    assert links.issue(told, item()) == "https://plane.example.org/acme/browse/WID-1/"
    assert links.brd(told, "acme/widgets", item()) == f"{folder}/01-brd.md"
    assert links.artifacts(told, "acme/widgets", item()) == folder
    assert links.pull(told, "acme/widgets", item(pull_number=3)) == "https://git.example.org/acme/widgets/pulls/3"
    assert links.pull(told, "acme/widgets", item()) == ""


def test_without_a_public_address_the_servers_own_is_used() -> None:
    told = settings(plane_url="https://plane.example.org", gitea_url="https://git.example.org")
    assert links.issue(told, item()).startswith("https://plane.example.org/")
    assert links.brd(told, "acme/widgets", item()).startswith("https://git.example.org/")


@pytest.mark.parametrize(
    "base",
    [
        "", "   ", "plane.example.org", "ftp://plane.example.org", "http://", "http://localhost:8080",
        "http://LOCALHOST.", "http://plane.localhost", "http://127.0.0.1", "http://127.9.9.9:80", "http://[::1]:3000",
        "http://0.0.0.0", "http://[::]", "http://[", "javascript:alert(1)", "https://ada:secret@plane.example.org",
    ],
)  # fmt: skip
def test_an_address_that_nobody_else_can_open_is_no_link(base: str) -> None:
    told = settings(plane_url=base, gitea_url=base)
    assert (links.issue(told, item()), links.brd(told, "acme/widgets", item())) == ("", "")


@pytest.mark.parametrize("base", ["http://10.0.0.5:8080", "http://plane", "https://[fd00::1]"])
def test_an_address_inside_the_teams_network_is_one(base: str) -> None:
    assert links.opened(base + "/", near=False) == base


def test_whoever_sits_at_this_machine_can_open_its_own_addresses() -> None:
    told = settings(plane_url="http://127.0.0.1:8280/plane", gitea_url="http://localhost:3000")
    assert links.issue(told, item(), near=True) == "http://127.0.0.1:8280/plane/acme/browse/WID-1/"
    assert links.pull(told, "acme/widgets", item(pull_number=3), near=True) == (
        "http://localhost:3000/acme/widgets/pulls/3"
    )
    assert links.opened("javascript:alert(1)", near=True) == ""
