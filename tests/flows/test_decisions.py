"""A decision passes its gate once, whenever it comes; it is never lost to a run that was not ready to hear it."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.signals import DECISIONS
from pipeline.stages import Stage
from pipeline.store import dependencies, drains, inbox, items, waits
from tasks.people import UI_ACTOR
from tests.support.own_prefect import own_prefect
from tests.support.product import Product, running_product


def passed_once(product: Product, key: str, *, actor: str = "ada") -> None:
    """The item went on, on exactly one decision, and nothing is left to be heard."""
    item = product.until(
        lambda: (i := product.item(key)) and i.stage is not Stage.ANALYSIS and i, what="architecture", within_s=90
    )
    assert product.moves(key).count("architecture") == 1
    [decision] = product.read(lambda s: waits.decisions(s, item.id))
    assert (decision.actor, decision.commit) == (actor, item.approved)
    unheard = product.read(lambda s: inbox.unconsumed(s, key))
    assert [stored for stored in unheard if stored.signal in DECISIONS] == []


def suspended(product: Product, key: str) -> str:
    wait = product.until(lambda: product.wait(key), what="the approval wait")
    product.until(lambda: product.run_of(wait.flow_run_id).state.name == "Suspended", what="the suspended run")
    return str(wait.flow_run_id)


def fill(product: Product, run: str) -> None:
    """Approve by the form on the run's page."""
    form = {"decision": "approve", "comment": "well written"}
    answer = product.prefect(lambda client: client.resume_flow_run(run, run_input=form))
    assert answer.status.value == "ACCEPT", answer


def now() -> datetime:
    return datetime.now(UTC)


def other() -> items.NewItem:
    return items.NewItem("PG-999", "PG", "card-999", "Another", "feature/PG-999-another")


def test_a_decision_two_seconds_before_the_run_suspends(product: Product) -> None:
    product.sandbox.delay("telegram", 3, n=2, match="sendMessage")  # the live message and the question
    key = product.start_item(project="PA")
    product.until(lambda: product.wait(key), what="the approval wait")
    product.sandbox.move_card(key, "Approved")
    passed_once(product, key)


@pytest.mark.long
def test_a_decision_at_the_moment_the_run_suspends(product: Product) -> None:
    key = product.start_item(project="PB")
    wait = product.until(lambda: product.wait(key), what="the approval wait")
    for _ in range(200):
        if product.run_of(wait.flow_run_id).state.name != "Running":
            break
        time.sleep(0.01)
    product.sandbox.move_card(key, "Approved")
    passed_once(product, key)


@pytest.mark.long
def test_a_button_that_is_pressed_in_telegram(product: Product) -> None:
    key = product.start_item(project="PE")
    suspended(product, key)
    product.until(
        lambda: any(key in m.text and m.buttons for m in product.sandbox.state().telegram.messages), what="it"
    )
    product.sandbox.press_button("Approve", username="ada_l")
    passed_once(product, key, actor="telegram:ada_l")


@pytest.mark.long
def test_the_same_decision_twice(product: Product) -> None:
    key = product.start_item(project="PC")
    suspended(product, key)
    product.sandbox.duplicate_webhooks(2, peer="plane")
    product.sandbox.move_card(key, "Approved")
    product.sandbox.move_card(key, "In Review")
    product.sandbox.move_card(key, "Approved")
    passed_once(product, key)


def test_a_decision_whose_wake_is_lost_is_found_by_the_tick(product: Product) -> None:
    key = product.start_item(project="PD")
    suspended(product, key)
    [automation] = product.prefect(lambda c: c.read_automations_by_name("orch: an answer resumes its run"))
    product.prefect(lambda c: c.pause_automation(automation.id))
    try:
        product.sandbox.move_card(key, "Approved")
        item = product.item(key)
        assert item is not None
        product.until(lambda: product.read(lambda s: waits.decisions(s, item.id)), what="the decision")
        product.tick()
        passed_once(product, key)
    finally:
        product.prefect(lambda c: c.resume_automation(automation.id))


def test_a_form_that_is_filled_while_nothing_may_start_is_not_lost(product: Product) -> None:
    key = product.start_item(project="PF")
    run = suspended(product, key)
    product.store.write(drains.begin, "PF-999", now(), now() + timedelta(minutes=5))
    fill(product, run)
    assert product.ended(run).name == "Draining"
    product.store.write(drains.end, "PF-999", now())
    product.tick()
    passed_once(product, key, actor=UI_ACTOR)


@pytest.mark.long
def test_a_form_that_is_filled_while_the_item_depends_on_another_is_not_lost(product: Product) -> None:
    key = product.start_item(project="PG")
    run = suspended(product, key)
    product.store.write(items.create, other(), actor="ada", reason="asked for", run=None, now=now())
    product.store.write(dependencies.add, key, "PG-999", dependencies.BY_HAND, now())
    fill(product, run)
    assert product.ended(run).name == "Waiting for what it depends on"
    product.store.write(dependencies.remove, key, "PG-999", now())
    passed_once(product, key, actor=UI_ACTOR)


@pytest.mark.long
@pytest.mark.timeout(240)
def test_a_decision_after_the_prefect_server_was_killed_and_started_again(tmp_path: Path) -> None:
    with own_prefect(tmp_path) as prefect, running_product(tmp_path / "p", prefect.server) as product:
        key = product.start_item()
        suspended(product, key)
        prefect.kill()
        product.sandbox.move_card(key, "Approved")
        item = product.item(key)
        assert item is not None
        product.until(lambda: product.read(lambda s: waits.decisions(s, item.id)), what="the decision")
        prefect.start()
        passed_once(product, key)
