"""What an operator does besides deciding: each says what it did, and refuses with the next step."""

from datetime import timedelta
from typing import Any

import pytest

from deployments import control
from pipeline.clients.process_identity import alive_here
from pipeline.errors import Refused
from pipeline.model import Hold, WaitKind
from pipeline.signals import WAKE
from pipeline.stages import Stage
from pipeline.store import deliveries, dependencies, freezes, items, journal, leases, outbox, waits
from pipeline.store.leases import Lease
from tasks.pending import resolve_pending
from tests.pipeline.store.helpers import claimed
from tests.support.deliveries import OWN, plane_says
from tests.support.hooks import plane_moved
from tests.support.services import Desk


@pytest.fixture
async def desk(desk: Desk) -> Desk:
    """A desk that knows the project's states."""
    await desk.root.states.of(desk.project)
    return desk


def woken(desk: Desk) -> list[str]:
    rows = [row for row in desk.letters if row.kind == outbox.Kind.EVENT and row.payload["event"] == WAKE]
    return [row.item_key for row in rows]


# --- why


def test_why_answers_for_a_waiting_item(desk: Desk) -> None:
    item = desk.item()
    desk.asks(item, WaitKind.APPROVAL)
    told = control.explain(desk.settings, item.key)
    assert (told["stage"], told["waits_for"]) == ("analysis", "A person: waits for approval")
    assert f"`orch approve {item.key}`" in told["moved_by"]


def test_why_names_what_an_item_depends_on_as_it_stands_now(desk: Desk) -> None:
    item, other = desk.item(), desk.item(Stage.REVIEW)
    control.depend(desk.settings, item.key, [other.key], [])
    desk.asks(item, WaitKind.DEPENDENCY)
    assert control.explain(desk.settings, item.key)["waits_for"] == f"It waits for {other.key} (at review)."


def test_why_answers_for_a_cancelled_item_too(desk: Desk) -> None:
    item = desk.move(desk.item(), Stage.CANCELLED)
    assert "was stopped" in control.explain(desk.settings, item.key)["waits_for"]


def test_why_of_an_unknown_item_is_refused(desk: Desk) -> None:
    with pytest.raises(Refused, match="There is no work item SHOP-999"):
        control.explain(desk.settings, "SHOP-999")


# --- dependencies


def test_an_item_can_be_made_to_wait_and_let_go_again(desk: Desk) -> None:
    item, other = desk.item(), desk.item()
    assert control.depend(desk.settings, item.key, [other.key], []) == [f"{item.key} waits for {other.key}."]
    assert control.depend(desk.settings, item.key, [other.key], []) == [
        f"{item.key} waits for {other.key}, as it did before."
    ]
    desk.asks(item, WaitKind.DEPENDENCY)
    assert control.depend(desk.settings, item.key, [], [other.key]) == [f"{item.key} waits for {other.key} no longer."]
    assert woken(desk) == [item.key]


def test_a_circle_is_refused_and_named_and_nothing_is_changed(desk: Desk) -> None:
    one, two, three = desk.item(), desk.item(), desk.item()
    control.depend(desk.settings, one.key, [two.key], [])
    with pytest.raises(Refused, match=f"{two.key} waits for {one.key} waits for {two.key}"):
        control.depend(desk.settings, two.key, [three.key, one.key], [])
    assert desk.store.read(dependencies.of_item, two.key, ("db",)) == ()


def test_an_item_cannot_wait_for_itself(desk: Desk) -> None:
    item = desk.item()
    with pytest.raises(Refused, match="in a circle"):
        control.depend(desk.settings, item.key, [item.key], [])


@pytest.mark.parametrize(
    ("key", "said"), [("NOPE-1", "of no project"), ("SHOP-9999", "not a work item yet"), ("nonsense", "of no project")]
)
def test_what_cannot_be_waited_for_is_refused_with_the_next_step(desk: Desk, key: str, said: str) -> None:
    item = desk.item()
    with pytest.raises(Refused, match=said):
        control.depend(desk.settings, item.key, [key], [])


def test_with_dependencies_switched_off_that_is_said_instead(desk: Desk) -> None:
    item, other = desk.item(), desk.item()
    off = desk.settings.model_copy(update={"task_deps_enabled": False})
    with pytest.raises(Refused, match="ORCH_TASK_DEPS_ENABLED is off"):
        control.depend(off, item.key, [other.key], [])


# --- freezes


def test_a_freeze_and_its_thaw(desk: Desk) -> None:
    assert control.freeze(desk.settings, "SHOP", "release day", "cli:ada").startswith("SHOP is frozen")
    assert control.freeze(desk.settings, "SHOP", "still", "cli:ada") == (
        "SHOP was frozen already; the reason is now: still"
    )
    item = desk.item(Stage.DEPLOY)
    desk.asks(item, WaitKind.FREEZE)
    assert "frozen by cli:ada" in control.explain(desk.settings, item.key)["waits_for"]
    assert control.thaw(desk.settings, "SHOP") == "SHOP is thawed."
    assert woken(desk) == [item.key]


def test_a_project_that_is_frozen_with_everything_is_not_thawed_alone(desk: Desk) -> None:
    control.freeze(desk.settings, "", "the forge moves", "cli:ada")
    assert control.thaw(desk.settings, "SHOP") == "SHOP is not frozen as such. Frozen: everything."
    assert desk.store.read(freezes.in_the_way, "SHOP") is not None


def test_a_breaker_is_thawed_first_and_a_persons_freeze_with_the_second_thaw(desk: Desk) -> None:
    control.freeze(desk.settings, "SHOP", "release day", "cli:ada")
    desk.store.write(freezes.trip, "SHOP", why="its runs died", now=desk.clock.now)
    first = control.thaw(desk.settings, "SHOP")
    assert first.startswith("The breaker of SHOP is closed: its runs start again. But: SHOP is frozen by cli:ada")
    assert first.endswith("release day")
    assert control.thaw(desk.settings, "SHOP") == "SHOP is thawed."
    assert control.thaw(desk.settings, "SHOP") == "SHOP is not frozen as such. Frozen: nothing."


def test_a_freeze_of_a_project_whose_breaker_is_open_says_that_nothing_of_it_starts(desk: Desk) -> None:
    desk.store.write(freezes.trip, "SHOP", why="its runs died", now=desk.clock.now)
    said = control.freeze(desk.settings, "SHOP", "release day", "cli:ada")
    assert "work goes on" not in said
    assert "Besides, nothing of it starts: SHOP is frozen by its breaker" in said


def test_why_names_the_breaker_for_an_item_that_would_be_started(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    control.freeze(desk.settings, "SHOP", "release day", "cli:ada")
    desk.store.write(freezes.trip, "SHOP", why="its runs died", now=desk.clock.now)
    told = control.explain(desk.settings, item.key)
    assert told["waits_for"].startswith("SHOP is frozen by its breaker")
    assert told["moved_by"] == "A person: `orch thaw SHOP`."
    desk.asks(item, WaitKind.APPROVAL)
    assert "before `orch thaw SHOP`: SHOP is frozen by its breaker" in control.explain(desk.settings, item.key)["then"]


@pytest.mark.parametrize(("project", "why", "said"), [("NOPE", "x", "no project NOPE"), ("SHOP", " ", "its reason")])
def test_a_freeze_without_a_reason_or_of_nothing_is_refused(desk: Desk, project: str, why: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        control.freeze(desk.settings, project, why, "cli:ada")


# --- leases


def test_a_dead_runs_lease_is_released_told_and_the_item_woken(desk: Desk) -> None:
    item = desk.item(Stage.DEVELOPMENT)
    claimed(desk.store, item, now=desk.clock.now - timedelta(hours=1))
    said = control.release_lease(desk.settings, item.key, "cli:ada")
    assert said == f"{item.key} was taken away from run run-1, which is dead."
    assert desk.store.read(leases.owner, item.id) is None
    assert woken(desk) == [item.key]
    assert any("cli:ada has taken the item away" in str(row.payload.get("html")) for row in desk.letters)
    assert control.release_lease(desk.settings, item.key, "cli:ada") == f"No run owns {item.key}."


def test_a_living_run_in_the_middle_of_what_cannot_be_undone_keeps_its_item(desk: Desk) -> None:
    item = desk.item(Stage.DEPLOY, validated="a" * 40)
    lease = claimed(desk.store, item, now=desk.clock.now)
    assert isinstance(lease, Lease)
    desk.store.write(journal.start, item, "land", lease, subject="a" * 40, now=desk.clock.now)
    with pytest.raises(Refused, match="about to end its land"):
        desk.store.write(
            control.release, desk.root.texts, item.key, "ada", desk.clock.now, lambda _: True, lambda _: False
        )  # fmt: skip


def test_a_process_of_another_host_is_neither_dead_nor_alive_here(desk: Desk) -> None:
    item = desk.item()
    claimed(desk.store, item)
    owner = desk.store.read(leases.owner, item.id)
    assert owner is not None
    assert alive_here(owner.process) is None


# --- deliveries


def ids(found: list[dict[str, Any]]) -> list[int]:
    return [one["id"] for one in found]


def test_deliveries_are_listed_with_what_became_of_them(desk: Desk) -> None:
    card = desk.card()
    plane_says(desk, plane_moved(desk, card, "Backlog"))
    plane_says(desk, plane_moved(desk, card, "To Analyse"))
    waiting, ignored = control.latest_deliveries(desk.settings, failed=False, limit=10)
    assert (waiting["source"], waiting["note"], waiting["waiting"]) == ("plane", f"{card.key}: start_requested", 1)
    assert (ignored["note"], ignored["failed"]) == ("state Backlog asks for nothing", False)
    assert ids(control.latest_deliveries(desk.settings, failed=True, limit=10)) == [waiting["id"]]


def test_an_unknown_delivery_is_refused_and_nothing_is_replayed(desk: Desk) -> None:
    plane_says(desk, plane_moved(desk, desk.card(), "Backlog"))
    [one] = desk.deliveries
    with pytest.raises(Refused, match="There is no delivery 999"):
        control.replay(desk.settings, [one.id or 0, 999], None)
    assert desk.deliveries[0].resolved_at is not None


async def test_a_delivery_that_led_to_nothing_is_understood_anew(desk: Desk) -> None:
    item = desk.item(Stage.REVIEW)
    object.__setattr__(desk.root, "settings", desk.settings.model_copy(update={"stop_status_enabled": False}))
    plane_says(desk, plane_moved(desk, desk.sandbox.card(item.key), "Stop"))
    assert desk.deliveries[0].note == "ORCH_STOP_STATUS_ENABLED is off"
    assert desk.again(item).cancel_requested_at is None
    object.__setattr__(desk.root, "settings", desk.settings.model_copy(update={"stop_status_enabled": True}))
    [said] = control.replay(desk.settings, [desk.deliveries[0].id or 0], None)
    assert said.endswith("is understood anew by the running Orch.")
    assert await resolve_pending(desk.root, OWN) == (item.key,)
    assert desk.again(item).cancel_requested_at is not None


async def test_replaying_what_was_applied_changes_nothing_however_often(desk: Desk) -> None:
    item = desk.item()
    desk.asks(item, WaitKind.APPROVAL, commit="c" * 40)
    plane_says(desk, plane_moved(desk, desk.sandbox.card(item.key), "Approved"))
    before = (len(desk.signals), len(desk.letters), desk.store.read(waits.decisions, item.id))
    for _ in range(2):
        [said] = control.replay(desk.settings, [], desk.clock.now - timedelta(hours=1))
        assert "was applied before" in said
        await resolve_pending(desk.root, OWN)
    assert (len(desk.signals), len(desk.letters), desk.store.read(waits.decisions, item.id)) == before


def test_a_signal_that_still_waits_is_announced_again(desk: Desk) -> None:
    card = desk.card()
    plane_says(desk, plane_moved(desk, card, "To Analyse"))
    for letter in desk.store.write(outbox.claim, desk.clock.now):
        desk.store.write(outbox.sent, letter.id, desk.clock.now)
    [said] = control.replay(desk.settings, [desk.deliveries[0].id or 0], None)
    assert said.endswith(f"is announced again: {card.key} start_requested.")
    assert [row.payload["event"] for row in desk.letters if row.sent_at is None] == ["orch.signal.start_requested"]


def test_the_inbox_forgets_what_is_old_and_applied_in_batches_and_nothing_else(desk: Desk) -> None:
    item = desk.item()
    desk.asks(item, WaitKind.APPROVAL)
    card = desk.sandbox.card(item.key)
    plane_says(desk, plane_moved(desk, desk.card(), "To Analyse"))
    for state in ("Approved", "Backlog", "Backlog"):
        plane_says(desk, plane_moved(desk, card, state))
    assert desk.store.write(deliveries.prune, desk.clock.now - timedelta(days=1)) == 0
    tomorrow = desk.clock.now + timedelta(days=1)
    assert [desk.store.write(deliveries.prune, tomorrow, limit=2) for _ in range(3)] == [2, 1, 0]
    assert [row.note.partition(": ")[2] for row in desk.deliveries] == ["start_requested"]
    assert len(desk.signals) == 1


def test_an_item_that_is_held_has_its_reason_and_time(desk: Desk) -> None:
    item = desk.item()
    desk.store.write(items.hold, item.id, Hold.BLOCKED, "the repository is gone", desk.clock.now)
    told = control.explain(desk.settings, item.key)
    assert told["waits_for"].endswith("the repository is gone")
    assert told["since"] == desk.clock.now.isoformat()
