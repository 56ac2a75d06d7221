"""Labels that lift a human gate: each its own gate, read when the gate asks, and a person is asked in any doubt."""

from pathlib import Path
from typing import Any

import pytest

from deployments.sandbox.client import SandboxClient
from pipeline.model import Choice, WaitKind, WorkItem
from pipeline.outcomes import Ask
from pipeline.stages import Stage
from pipeline.store import waits
from pipeline.store.outbox import Kind
from tasks import labels
from tests.support.services import Desk, open_desk

APPROVAL = Ask(WaitKind.APPROVAL, "A person must approve the analysis.", "a" * 40)
CONFIRMATION = Ask(WaitKind.CONFIRMATION, "Deploy to production?", "b" * 40)
BOTH = ("autoApprove", "autoDeploy")


@pytest.fixture(autouse=True)
def _nothing_listed_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is a process of its own, as far as remembered labels go."""
    monkeypatch.setattr(labels, "_labels", labels.Labels())


def labelled(desk: Desk, *names: str) -> WorkItem:
    """An item whose card carries these labels."""
    card = desk.card()
    desk.sandbox.set_labels(card.key, names)
    return desk.item(card=card)


def asked(desk: Desk) -> int:
    """How often Plane was asked something."""
    return desk.sandbox.state().requests.get("plane", 0)


def decided(desk: Desk, item: WorkItem) -> list[tuple[str, str, str, str]]:
    return [(d.kind, d.choice, d.commit, d.actor) for d in desk.store.read(waits.decisions, item.id)]


def list_labels(desk: Desk, *named: tuple[str, str]) -> None:
    """Have Plane list these labels, (id, name), the next time it is asked for them."""
    results: list[dict[str, Any]] = [{"id": number, "name": name} for number, name in named]
    page = {"results": results, "next_page_results": False, "next_cursor": "", "total_count": len(results)}
    desk.sandbox.fail_next("plane", 1, status=200, body=page, match="/labels/")


def label_id(desk: Desk, name: str) -> str:
    return desk.sandbox.state().project("SHOP").labels[name]


# --- which gate a label lifts


async def test_auto_approve_approves_the_commit_that_the_gate_asks_about(desk: Desk) -> None:
    item = labelled(desk, "autoApprove")
    assert await labels.lifts(desk.root, item, APPROVAL)
    assert decided(desk, item) == [("approval", Choice.APPROVE, "a" * 40, "label:autoApprove")]


async def test_auto_deploy_confirms_the_commit_that_the_gate_asks_about(desk: Desk) -> None:
    item = labelled(desk, "autoDeploy")
    assert await labels.lifts(desk.root, item, CONFIRMATION)
    assert decided(desk, item) == [("confirmation", Choice.CONFIRM, "b" * 40, "label:autoDeploy")]


@pytest.mark.parametrize(("label", "ask"), [("autoApprove", CONFIRMATION), ("autoDeploy", APPROVAL)])
async def test_a_label_does_not_lift_the_other_gate(desk: Desk, label: str, ask: Ask) -> None:
    item = labelled(desk, label)
    assert not await labels.lifts(desk.root, item, ask)
    assert decided(desk, item) == []


@pytest.mark.parametrize("kind", [WaitKind.INTEGRITY, WaitKind.ANSWER])
async def test_no_label_accepts_findings_or_answers_a_question(desk: Desk, kind: WaitKind) -> None:
    item = labelled(desk, *BOTH)
    assert not await labels.lifts(desk.root, item, Ask(kind, "A person must look.", "c" * 40))
    assert decided(desk, item) == []


@pytest.mark.parametrize("spelled", ["auto-approve", "AUTO APPROVE"])
async def test_a_label_is_known_however_it_is_spelled(desk: Desk, spelled: str) -> None:
    item = labelled(desk, "autoApprove")
    list_labels(desk, (label_id(desk, "autoApprove"), spelled), (label_id(desk, "autoDeploy"), "autoDeploy"))
    assert await labels.lifts(desk.root, item, APPROVAL)


async def test_the_names_are_the_operators(sandbox: SandboxClient, tmp_path: Path) -> None:
    async with open_desk(sandbox, tmp_path, auto_approve_label="autoDeploy") as desk:
        item = labelled(desk, "autoDeploy")
        assert await labels.lifts(desk.root, item, APPROVAL)


# --- a person is asked in any doubt


async def test_a_person_is_asked_about_a_card_without_labels(desk: Desk) -> None:
    item = labelled(desk)
    for ask in (APPROVAL, CONFIRMATION):
        assert not await labels.lifts(desk.root, item, ask)
    assert decided(desk, item) == []


async def test_a_person_is_asked_when_two_labels_have_the_same_normalised_name(desk: Desk) -> None:
    item = labelled(desk, *BOTH)
    list_labels(desk, (label_id(desk, "autoApprove"), "autoApprove"), (label_id(desk, "autoDeploy"), "auto-approve"))
    assert not await labels.lifts(desk.root, item, APPROVAL)
    assert decided(desk, item) == []


@pytest.mark.parametrize("path", ["/labels/", "/work-items/"])
@pytest.mark.parametrize("status", [403, 503])
async def test_a_person_is_asked_when_plane_does_not_tell(desk: Desk, path: str, status: int) -> None:
    item = labelled(desk, *BOTH)
    desk.sandbox.fail_next("plane", 1, status=status, match=path)
    assert not await labels.lifts(desk.root, item, APPROVAL)
    assert decided(desk, item) == []


async def test_labels_that_plane_did_not_tell_are_asked_for_again(desk: Desk) -> None:
    item = labelled(desk, "autoApprove")
    desk.sandbox.fail_next("plane", 1, status=403, match="/labels/")
    assert not await labels.lifts(desk.root, item, APPROVAL)
    assert await labels.lifts(desk.root, item, APPROVAL)


async def test_a_label_that_was_taken_off_before_the_gate_asks_decides_nothing(desk: Desk) -> None:
    item = labelled(desk, *BOTH)
    assert await labels.lifts(desk.root, item, APPROVAL)
    desk.sandbox.set_labels(item.key, [])
    assert not await labels.lifts(desk.root, item, CONFIRMATION)
    assert [kind for kind, *_ in decided(desk, item)] == [WaitKind.APPROVAL]


async def test_a_label_that_was_put_on_since_the_labels_were_listed_decides(desk: Desk) -> None:
    item = labelled(desk)
    assert not await labels.lifts(desk.root, item, APPROVAL)
    desk.sandbox.set_labels(item.key, ["autoApprove"])
    assert await labels.lifts(desk.root, item, APPROVAL)


# --- what is asked of Plane


@pytest.mark.parametrize(
    "settings",
    [{"auto_label_enabled": False}, {"auto_label_repos": ("acme/other",)}, {"auto_approve_label": ""}],
    ids=["switched off", "another repository", "no such label"],
)
async def test_plane_is_not_asked_where_labels_do_not_count(
    sandbox: SandboxClient, tmp_path: Path, settings: dict[str, Any]
) -> None:
    async with open_desk(sandbox, tmp_path, **settings) as desk:
        item = labelled(desk, *BOTH)
        before = asked(desk)
        assert not await labels.lifts(desk.root, item, APPROVAL)
        assert asked(desk) == before


async def test_plane_is_not_asked_for_a_gate_that_no_label_lifts(desk: Desk) -> None:
    item = labelled(desk, *BOTH)
    before = asked(desk)
    await labels.lifts(desk.root, item, Ask(WaitKind.INTEGRITY, "A person must look.", "c" * 40))
    assert asked(desk) == before


async def test_a_repository_that_is_named_has_labels_that_count(sandbox: SandboxClient, tmp_path: Path) -> None:
    async with open_desk(sandbox, tmp_path, auto_label_repos=("Acme/Shop",)) as desk:
        assert await labels.lifts(desk.root, labelled(desk, *BOTH), APPROVAL)


async def test_the_projects_labels_are_listed_once_until_they_are_old(desk: Desk) -> None:
    item, before = labelled(desk), asked(desk)
    for _ in range(2):
        await labels.lifts(desk.root, item, APPROVAL)
    assert asked(desk) == before + 3  # the list once, the card each time
    desk.clock.forward(desk.settings.auto_label_states_ttl_s)
    await labels.lifts(desk.root, item, APPROVAL)
    assert asked(desk) == before + 5


# --- what people are told


async def test_what_a_label_decides_is_said_once_by_message_and_once_on_the_card(desk: Desk) -> None:
    item = labelled(desk, "autoApprove")
    for _ in range(2):
        assert await labels.lifts(desk.root, item, APPROVAL)
    told = [(letter.kind, str(letter.payload["html"])) for letter in desk.letters]
    assert [kind for kind, _ in told] == [Kind.MESSAGE, Kind.COMMENT]
    for _, html in told:
        assert "The label autoApprove has decided: A person must approve the analysis." in html
    assert len(decided(desk, item)) == 1


async def test_a_new_commit_is_decided_about_and_said_anew(desk: Desk) -> None:
    item = labelled(desk, "autoDeploy")
    for commit in ("b" * 40, "d" * 40):
        assert await labels.lifts(desk.root, item, Ask(WaitKind.CONFIRMATION, "Deploy?", commit))
    assert [commit for _, _, commit, _ in decided(desk, item)] == ["b" * 40, "d" * 40]
    assert [letter.kind for letter in desk.letters].count(Kind.MESSAGE) == 2


async def test_the_item_itself_is_not_touched(desk: Desk) -> None:
    item = labelled(desk, *BOTH)
    await labels.lifts(desk.root, item, APPROVAL)
    again = desk.again(item)
    assert (again.stage, again.version, again.hold) == (Stage.ANALYSIS, item.version, None)
