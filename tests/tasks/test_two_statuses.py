"""Approved passes the analysis gate alone, Confirm Deploy starts the deploy alone; elsewhere they are only answered."""

import pytest

from pipeline.model import WaitKind, WorkItem
from pipeline.signals import WAIT_ANSWERED
from pipeline.stages import Stage
from pipeline.store import outbox, waits
from tasks.outbox import deliver
from tests.support.deliveries import plane_says
from tests.support.hooks import plane_moved
from tests.support.services import Desk

A, B = "a" * 40, "b" * 40


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """A desk that knows the project's states."""
    await desk.root.states.of(desk.project)
    return desk


def person_moves(desk: Desk, item: WorkItem, state: str) -> None:
    assert plane_says(desk, plane_moved(desk, desk.sandbox.card(item.key), state)).stored


def events(desk: Desk) -> list[str]:
    return [row.payload["event"] for row in desk.letters if row.kind == outbox.Kind.EVENT]


def decided(desk: Desk, item: WorkItem) -> list[tuple[str, str, str]]:
    return [(d.kind, d.choice, d.commit) for d in desk.store.read(waits.decisions, item.id)]


async def nothing_but_said(desk: Desk, item: WorkItem, said: str) -> None:
    """The item stands and waits as before, no run hears of anything, and one comment on the card says why."""
    assert decided(desk, item) == []
    assert events(desk) == []
    assert desk.again(item) == item
    await deliver(desk.root)
    [comment] = desk.sandbox.card(item.key).comments
    assert comment.html == f"<p>{said}</p>"


# --- each at its own gate


def test_approved_at_analysis_approves_what_was_shown(desk: Desk) -> None:
    item = desk.item()
    desk.asks(item, WaitKind.APPROVAL, commit=A)
    person_moves(desk, item, "Approved")
    assert decided(desk, item) == [("approval", "approve", A)]
    assert events(desk) == [WAIT_ANSWERED]


def test_confirm_deploy_at_deploy_confirms_what_was_shown(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY, validated=B)
    desk.asks(item, WaitKind.CONFIRMATION, commit=B)
    person_moves(desk, item, "Confirm Deploy")
    assert decided(desk, item) == [("confirmation", "confirm", B)]
    assert events(desk) == [WAIT_ANSWERED]


# --- each at the other's


@pytest.mark.parametrize("state", ["Approved", "Rejected"])
async def test_approved_and_rejected_at_deploy_only_say_so(desk: Desk, state: str) -> None:
    item = desk.item(Stage.DEPLOY, validated=B, tip=B)
    wait = desk.asks(item, WaitKind.CONFIRMATION, commit=B)
    person_moves(desk, item, state)
    await nothing_but_said(desk, item, f"Nothing about {item.key} waits for an approval now (it is at deploy).")
    assert desk.wait_of(item) == wait


async def test_confirm_deploy_at_analysis_only_says_so(desk: Desk) -> None:
    item = desk.item(tip=A)
    wait = desk.asks(item, WaitKind.APPROVAL, commit=A)
    person_moves(desk, item, "Confirm Deploy")
    said = f"Nothing about {item.key} waits for a deploy confirmation now (it is at analysis)."
    await nothing_but_said(desk, item, said)
    assert desk.wait_of(item) == wait


@pytest.mark.parametrize("stage", [Stage.ARCHITECTURE, Stage.DEPLOY_STAGING])
@pytest.mark.parametrize(("state", "asked"), [("Approved", "an approval"), ("Confirm Deploy", "a deploy confirmation")])
async def test_between_the_two_gates_both_only_say_so(desk: Desk, stage: Stage, state: str, asked: str) -> None:
    item = desk.item(stage, validated=B, tip=A)
    person_moves(desk, item, state)
    await nothing_but_said(desk, item, f"Nothing about {item.key} waits for {asked} now (it is at {stage}).")


# --- where the gate does not ask yet, or not any more


async def test_approved_before_the_analysis_is_there_only_says_so(desk: Desk) -> None:
    item = desk.item(tip=A)
    person_moves(desk, item, "Approved")
    await nothing_but_said(desk, item, f"Nothing about {item.key} waits for an approval now (it is at analysis).")


async def test_confirm_deploy_after_the_change_has_landed_only_says_so(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY, validated=B, landed=B)
    person_moves(desk, item, "Confirm Deploy")
    said = f"Nothing about {item.key} waits for a deploy confirmation now (it is at deploy)."
    await nothing_but_said(desk, item, said)


async def test_a_wrong_status_twice_is_answered_each_time_and_a_repeated_delivery_once(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY, validated=B)
    desk.asks(item, WaitKind.CONFIRMATION, commit=B)
    for _ in range(2):
        person_moves(desk, item, "Approved")
    await deliver(desk.root)
    assert len(desk.sandbox.card(item.key).comments) == 2
    assert decided(desk, item) == []
