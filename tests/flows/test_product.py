"""The whole product at work: real Prefect server, automations, receiver, git and sandbox; one project for each test."""

import subprocess

import pytest
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun

from pipeline.model import Choice, Hold, WaitKind, WorkItem
from pipeline.stages import Stage
from pipeline.store import evidence, inbox, items, journal, leases, waits
from tests.support.product import Product


@pytest.fixture(scope="module")
def done(product: Product) -> WorkItem:
    """An item that has gone all the way."""
    return product.decide_for(product.start_item())


def test_an_issue_goes_to_done_and_what_landed_is_what_was_tested(product: Product, done: WorkItem) -> None:
    item, key = done, done.key
    assert product.sandbox.repository().main == item.landed == item.validated
    assert product.read(lambda s: evidence.tested_for_landing(s, item.id)) == item.landed
    assert product.moves(key) == [
        "analysis", "architecture", "development", "review", "testing", "deploy_staging", "deploy", "done",
    ]  # fmt: skip
    assert [e.name for e in product.read(lambda s: journal.of_item(s, item.id))] == ["land"]
    assert product.read(leases.owners) == []
    product.until(lambda: product.sandbox.card(key).state == "Done", what="the card in Done")
    [pull] = product.sandbox.repository().pulls
    assert pull.merged
    runs = product.read(lambda s: evidence.agent_runs(s, item.id))
    assert [str(run.role) for run in runs] == ["analyst", "architect", "developer", "reviewer", "tester"]
    assert all(run.usage.full_input > 0 and run.usage.cost_usd > 0 for run in runs)


def test_the_runs_tell_the_story_by_their_names_and_tags(product: Product, done: WorkItem) -> None:
    runs = product.prefect(lambda client: client.read_flow_runs(limit=200))
    run = max((run for run in runs if run.name == f"{done.key} · analysis · 1"), key=lambda run: run.created)
    assert run.state.name == "To architecture"
    assert {"orch-stage", f"item:{done.key}", f"project:{done.project}"} <= set(run.tags)
    pages = product.prefect(lambda client: client.read_artifacts(artifact_filter=_of_run(run)))
    [page] = [page.data for page in pages if page.type == "markdown"]
    assert "| role | analyst |" in page
    assert "The end of its log:" in page


def _of_run(run: FlowRun) -> ArtifactFilter:
    return ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))


def test_two_deliveries_and_a_run_by_hand_create_exactly_one_item(product: Product) -> None:
    for number in range(4):
        key = product.sandbox.create_card(f"Raced for {number}", "It is started three times at once.", project="PB")
        product.sandbox.duplicate_webhooks(2, peer="plane")
        product.sandbox.move_card(key, "To Analyse")
        by_hand = product.start_run("intake", work_item=key)
        product.until(lambda key=key: product.item(key), what=f"{key} started")
        product.ended(by_hand)
        product.until(lambda key=key: not product.read(lambda s: inbox.unconsumed(s, key)), what="the starts consumed")
        history = product.read(lambda s: [i for i in items.all_items(s) if i.key == key])  # noqa: B023  called at once
        assert len(history) == 1
        assert product.moves(key)[0] == "analysis"


@pytest.mark.long
def test_a_stage_started_by_hand_at_the_wrong_time_ends_completed_and_says_why(product: Product) -> None:
    key = product.start_item(project="PC")
    product.until(lambda: product.wait(key), what="the approval wait")
    state = product.ended(product.start_run("review", work_item=key))
    assert (state.type.value, state.name) == ("COMPLETED", "Not at this stage")
    assert state.message == f"{key} is at analysis, not at review: nothing to do."
    unknown = product.ended(product.start_run("review", work_item="NOPE-1"))
    assert (unknown.type.value, unknown.name) == ("COMPLETED", "No such work item")


def test_the_form_in_prefects_pages_passes_the_gate_as_prefect_ui(product: Product) -> None:
    key = product.start_item(project="PD")
    wait = product.until(lambda: product.wait(key), what="the approval wait")
    product.until(lambda: product.run_of(wait.flow_run_id).state.name == "Suspended", what="the suspended run")
    form = {"decision": "approve", "comment": "looks right"}
    answer = product.prefect(lambda client: client.resume_flow_run(wait.flow_run_id, run_input=form))
    assert answer.status.value == "ACCEPT"
    product.until(lambda: product.item(key).stage is not Stage.ANALYSIS, what="architecture")  # type: ignore[union-attr]
    item = product.item(key)
    assert item is not None
    [decision] = product.read(lambda s: waits.decisions(s, item.id))
    assert (decision.actor, decision.choice, decision.text) == ("prefect-ui", Choice.APPROVE, "looks right")


@pytest.mark.long
def test_a_resume_without_a_decision_asks_again_and_tells_nobody_twice(product: Product) -> None:
    key = product.start_item(project="PE")
    wait = product.until(lambda: product.wait(key), what="the approval wait")
    product.until(lambda: product.run_of(wait.flow_run_id).state.name == "Suspended", what="the suspended run")
    product.prefect(lambda client: client.resume_flow_run(wait.flow_run_id))
    again = product.until(lambda: (w := product.wait(key)) and w.key != wait.key and w, what="a new wait")
    assert again.kind is WaitKind.APPROVAL
    assert len([m for m in product.sandbox.state().telegram.messages if key in m.text and not m.silent]) == 1


@pytest.mark.long
def test_a_rejected_analysis_is_done_again_with_the_comment(product: Product) -> None:
    key = product.start_item(project="PF")
    wait = product.until(lambda: product.wait(key), what="the approval wait")
    product.until(lambda: product.run_of(wait.flow_run_id).state.name == "Suspended", what="the suspended run")
    form = {"decision": "reject", "comment": "the edge cases are missing"}
    product.prefect(lambda client: client.resume_flow_run(wait.flow_run_id, run_input=form))
    item = product.until(lambda: (i := product.item(key)) and i.visit == 2 and i, what="the second visit")
    assert item.attempts == {"analyst": 1}
    assert "the edge cases are missing" in item.feedback
    product.until(lambda: (w := product.wait(key)) and w.visit == 2, what="the second approval wait")


def test_stop_ends_the_item_its_suspended_run_and_its_worktree_and_frees_its_key(product: Product) -> None:
    key = product.start_item(project="PG")
    wait = product.until(lambda: product.wait(key), what="the approval wait")
    product.until(lambda: product.run_of(wait.flow_run_id).state.name == "Suspended", what="the suspended run")
    product.sandbox.move_card(key, "Stop")
    item = product.until(lambda: (i := product.item(key)) and i.stage is Stage.CANCELLED and i, what="cancelled")
    product.ended(str(wait.flow_run_id))
    product.until(lambda: product.sandbox.card(key).state == "Cancelled", what="the card in Cancelled")
    worktree = product.settings.state_dir / "worktrees" / "PG" / key
    product.until(lambda: not worktree.exists(), what="the worktree gone")
    product.sandbox.move_card(key, "To Analyse")
    fresh = product.until(lambda: (i := product.item(key)) and i.id != item.id and i, what="a fresh start")
    assert fresh.stage is Stage.ANALYSIS


def test_a_card_that_says_too_little_is_blocked_with_the_reason(product: Product) -> None:
    key = product.start_item("Do it", "now", project="PH")
    product.until(lambda: product.sandbox.card(key).state == "Blocked", what="the card in Blocked")
    card = product.until(lambda: (c := product.sandbox.card(key)).comments and c, what="the comment")
    assert "was not started" in card.comments[-1].html
    assert product.item(key) is None


@pytest.mark.long
def test_a_repository_that_is_gone_blocks_the_item_with_a_next_step(product: Product) -> None:
    repository = product.folder / "sandbox"
    [bare] = [path for path in repository.rglob("ph.git") if path.is_dir()]
    subprocess.run(["mv", str(bare), f"{bare}.gone"], check=True)
    try:
        key = product.start_item("Build on sand", project="PH")
        item = product.until(lambda: (i := product.item(key)) and i.hold and i, what="the hold", within_s=90)
    finally:
        subprocess.run(["mv", f"{bare}.gone", str(bare)], check=True)
    assert item.hold is Hold.BLOCKED
    assert "acme/ph" in item.hold_reason
    product.until(lambda: product.sandbox.card(key).state == "Blocked", what="the card in Blocked")
