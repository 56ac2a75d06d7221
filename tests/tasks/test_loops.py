"""What fails for ever is started a bounded number of times; then one message calls a person, and nothing more happens."""

from deployments import operator
from flows import deploy, leaving, reconcile
from flows.run import Run
from pipeline import outcomes
from pipeline.model import Hold, WaitKind, WorkItem
from pipeline.outcomes import Escalate, WaitFor
from pipeline.stages import Role, Stage
from pipeline.store import leases, outbox
from tasks.ownership import Claimed, claim, release
from tests.support.services import Desk

STARTS = 60
"""How often each loop is driven: far more than any cap."""


def messages(desk: Desk, topic: str) -> list[str]:
    return [str(row.dedupe) for row in desk.letters if str(row.dedupe).startswith(f"message:{topic}")]


def started(desk: Desk, item: WorkItem, number: int) -> Claimed | None:
    """One start of the item's stage, an hour after the last."""
    desk.clock.forward(3600)
    claimed = claim(desk.root, item.key, desk.again(item).stage, f"run-{number}")
    return claimed if isinstance(claimed, Claimed) else None


def test_a_stage_that_always_crashes_is_started_as_often_as_there_are_pauses_and_then_escalated(desk: Desk) -> None:
    item, starts = desk.item(Stage.DEVELOPMENT), 0
    for number in range(STARTS):
        if (claimed := started(desk, item, number)) is not None:
            starts += 1
            desk.store.write(leases.release, item.id, claimed.lease.token)  # what a tick does about a dead owner
    assert starts == len(desk.settings.crash_backoff_s) + 1
    assert desk.again(item).hold is Hold.ESCALATED
    assert len(messages(desk, "escalated")) == 1


def test_an_agent_that_always_exits_at_once_spends_its_attempts_and_is_escalated(desk: Desk) -> None:
    item, starts = desk.item(Stage.DEVELOPMENT), 0
    for number in range(STARTS):
        if (claimed := started(desk, item, number)) is None:
            continue
        starts += 1
        _goes_back(desk, claimed, "The developer failed: exit code 1 after 0 s.")
        release(desk.store, claimed, desk.clock.now, in_order=True)
    assert starts == desk.root.caps[Role.DEVELOPER] + 1
    assert desk.again(item).hold is Hold.ESCALATED
    assert len(messages(desk, "escalated")) == 1


def test_two_stages_that_send_an_item_to_and_fro_end_at_the_cap(desk: Desk) -> None:
    item, rounds = desk.item(Stage.REVIEW), 0
    for number in range(STARTS):
        if (claimed := started(desk, item, number)) is None:
            continue
        if claimed.item.stage is Stage.REVIEW:
            rounds += 1
            _goes_back(desk, claimed, "The reviewer is never content.")
        else:
            run = Run(desk.root, claimed.item, desk.project, claimed.lease, f"run-{number}")
            desk.store.write(leaving.advance, run, Stage.REVIEW, "green")
        release(desk.store, claimed, desk.clock.now, in_order=True)
    assert rounds == desk.root.caps[Role.DEVELOPER] + 1
    assert desk.again(item).hold is Hold.ESCALATED
    assert len(messages(desk, "escalated")) == 1


def test_a_gate_that_is_away_for_days_is_asked_at_its_pace_and_a_person_is_told_once(desk: Desk) -> None:
    item = desk.item(Stage.DEVELOPMENT)
    for number in range(STARTS):
        claimed = started(desk, item, number)
        assert claimed is not None
        away = WaitFor(WaitKind.BACK_OFF, "Gitea does not answer.", None)
        desk.store.write(leaving.wait_for, desk.root, claimed, f"run-{number}", away)
        release(desk.store, claimed, desk.clock.now, in_order=True)
        desk.store.write(reconcile._remind, desk.root)
    after = desk.again(item)
    assert (after.stage, after.hold, after.attempts, after.failures) == (Stage.DEVELOPMENT, None, {}, 0)
    assert len(messages(desk, "overdue")) == 1
    assert [row for row in desk.letters if row.kind == outbox.Kind.COMMENT] == []


def test_a_check_that_can_never_run_holds_the_item_at_its_first_start(desk: Desk) -> None:
    item, starts = desk.item(Stage.TESTING), 0
    for number in range(STARTS):
        if (claimed := started(desk, item, number)) is None:
            continue
        starts += 1
        why = "The test command could not be started."
        desk.store.write(leaving.hold, desk.root, claimed.item, Hold.BLOCKED, why, ends_deploy=False)
        release(desk.store, claimed, desk.clock.now, in_order=True)
    assert (starts, desk.again(item).hold) == (1, Hold.BLOCKED)
    assert len(messages(desk, "blocked")) == 1


async def test_a_default_branch_that_always_moves_ends_in_an_escalation_and_a_retry_gives_as_many_looks_again(
    desk: Desk,
) -> None:
    item, looks = desk.item(Stage.DEPLOY), []
    for _ in range(2):
        looks.append(0)
        while True:
            claimed = started(desk, item, sum(looks))
            assert claimed is not None
            run = Run(desk.root, claimed.item, desk.project, claimed.lease, "run")
            outcome = await deploy._revalidate(run, "c" * 40)
            release(desk.store, claimed, desk.clock.now, in_order=True)
            if isinstance(outcome, Escalate):
                break
            looks[-1] += 1
            for there in (Stage.DEPLOY_STAGING, Stage.DEPLOY):
                item = desk.move(item, there)
        desk.store.write(leaving.hold, desk.root, item, Hold.ESCALATED, outcome.why, ends_deploy=False)
        operator.retry(desk.settings, item.key, "ada")
        item = desk.again(item)
    assert looks[0] == desk.settings.max_revalidations
    assert looks[1] >= desk.settings.max_revalidations


def _goes_back(desk: Desk, claimed: Claimed, why: str) -> None:
    """What a stage does with a red answer: back while there are attempts, escalated after that."""
    item = claimed.item
    outcome = outcomes.roll_back(item, Stage.DEVELOPMENT, why, cap=desk.root.caps)
    if isinstance(outcome, Escalate):
        desk.store.write(leaving.hold, desk.root, item, Hold.ESCALATED, outcome.why, ends_deploy=False)
    else:
        run = Run(desk.root, item, desk.project, claimed.lease, "run")
        desk.store.write(leaving.roll_back, run, outcome)
