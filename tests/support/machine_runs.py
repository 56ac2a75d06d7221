"""What the runs of stages and of STOP do in the made-up world of `tests.support.machine`: steps between writes."""

import contextlib
from collections.abc import Callable, Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

from flows import leaving
from flows.run import Run
from pipeline import outcomes
from pipeline.errors import LeaseLost, StaleWrite
from pipeline.model import (
    AgentEnd,
    AgentOutcome,
    Answer,
    Fail,
    GateResult,
    Hold,
    Pass,
    Pending,
    ProcessIdentity,
    TestRun,
    Usage,
    WaitKind,
    WorkItem,
)
from pipeline.outcomes import Advance, Answered, Ask, Block, Escalate, Outcome, RollBack, WaitFor
from pipeline.stages import ROWS, Stage
from pipeline.store import evidence, items, journal, leases, queue, waits
from tasks import landing, ownership, people, production, stopping
from tests.support.machine import Steps, World

Working = Generator[str, None, Outcome | None]


def run_of_stage(world: World, key: str, stage: Stage, run_id: str) -> Callable[[int], Steps]:
    """What `flows.stage.at_stage` does, as steps."""
    return lambda pid: _at_stage(world, key, stage, run_id, pid)


def _at_stage(world: World, key: str, stage: Stage, run_id: str, pid: int) -> Steps:
    root = world.root
    yield "claim"
    claimed = world.write(
        ownership._claim, root, key, stage, run_id=run_id, token=f"token-{pid}", process=_process(pid)
    )
    if isinstance(claimed, ownership.NotNow):
        return
    run = Run(root, claimed.item, world.project, claimed.lease, run_id)
    with contextlib.suppress(StaleWrite, LeaseLost):
        yield from _passes(world, run)
    yield "release"
    world.write(ownership._release, claimed, root.now(), True)


def _passes(world: World, run: Run) -> Steps:
    while True:
        run = _again(world, run)
        outcome = yield from WORK.get(run.item.stage, _agent_stage)(world, run)
        if not isinstance(outcome, Ask):
            yield "follow"
            _follow(world, run, outcome)
            return
        yield "ask"
        run = _again(world, run)
        claimed = ownership.Claimed(run.item, run.lease)
        wait = world.write(people._begin, world.root, claimed, outcome, run.run_id)
        if not world.read(people.already_decided, run.item, wait):
            return  # suspended: the process ends
        yield "looked at again"
        world.write(waits.close, run.item.id, "looked at again", world.root.now())


def _again(world: World, run: Run) -> Run:
    found = world.item(run.item.key)
    if found is None or (found.stage, found.version) != (run.item.stage, run.item.version):
        raise StaleWrite("moved meanwhile")
    return Run(run.root, found, run.project, run.lease, run.run_id)


def _follow(world: World, run: Run, outcome: Outcome | None) -> None:
    root = world.root
    match outcome:
        case Advance(to, why):
            world.write(leaving.advance, run, to, why)
        case RollBack():
            world.write(leaving.roll_back, run, outcome)
        case WaitFor():
            world.write(leaving.wait_for, root, ownership.Claimed(run.item, run.lease), run.run_id, outcome)
        case Escalate(why):
            world.write(leaving.hold, root, run.item, Hold.ESCALATED, why, ends_deploy=False)
        case Block(why):
            world.write(leaving.hold, root, run.item, Hold.BLOCKED, why, ends_deploy=True)


# --- the stages


def _agent_stage(world: World, run: Run) -> Working:
    """The agent works once a visit and publishes; then the gates are asked."""
    item, root, repository = run.item, world.root, world.repository
    theirs = yield from _prepare(world, run)
    if theirs and item.stage in (Stage.REVIEW, Stage.TESTING):
        return RollBack(Stage.REVIEW, None, "somebody pushed", feedback="")
    role = ROWS[item.stage].role
    for left in world.read(evidence.unfinished_agent_runs, item.id):
        yield "clean up"
        world.write(evidence.agent_interrupted, left.id, "interrupted", root.now())
    if world.read(evidence.agent_run_of_visit, item, role) is None:
        yield "agent starts"
        number = world.write(
            evidence.agent_started, item, role, model="", effort="", log=Path("log"), start_commit="c0",
            run=run.run_id, now=root.now(),
        )  # fmt: skip
        yield "agent ends"
        end = AgentEnd.FAILED if world.red(12) else AgentEnd.FINISHED
        question = "Which one?" if world.red(15) else ""
        outcome = AgentOutcome(end, "it ended", 0, Usage(), 1.0, question)
        world.write(evidence.agent_finished, number, outcome, root.now())
    done = world.read(evidence.agent_run_of_visit, item, role)
    if done.question and not _answered(world, item, done.finished_at):
        return Ask(WaitKind.ANSWER, done.question, item.tip or "start")
    if done.end is not AgentEnd.FINISHED and not done.question:
        return outcomes.roll_back(item, item.stage, "the agent failed", cap=root.caps)
    yield "publish"
    known = repository.branches.get(item.key)
    change = f"{item.key}:{item.stage}:{item.visit}"
    if known is None or change not in repository.trees[known]:
        known = repository.commit((known or "c0",), change)
        repository.branches[item.key] = known
    yield "record"
    world.write(items.update, item, run.lease.token, root.now(), tip=known, head=known)
    run = _again(world, run)
    return _leave(world, run, [(gate, _answer(world, run.item, gate)) for gate in ROWS[item.stage].gates])


def _answered(world: World, item: WorkItem, since: Any) -> bool:
    return any(d.kind is WaitKind.ANSWER and d.at >= since for d in world.read(waits.decisions, item.id))


def _prepare(world: World, run: Run) -> Generator[str, None, bool]:
    """Take over what somebody else has pushed; whether there was such a thing."""
    remote = world.repository.branches.get(run.item.key)
    if remote is None or remote == run.item.tip:
        return False
    yield "adopt"
    world.write(items.update, run.item, run.lease.token, world.root.now(), tip=remote, head=remote)
    return run.item.tip is not None


def _answer(world: World, item: WorkItem, gate: str) -> GateResult:
    tip = item.tip or ""
    if gate == "analysis_approved":
        return _decided(world, item, tip, WaitKind.APPROVAL)
    if gate == "change_integrity" and world.red(6):
        return _decided(world, item, tip, WaitKind.INTEGRITY)
    if gate == "ci_green" and not world.ci_speaks and world.red(3):
        return Pending("CI has not spoken", WaitKind.CI, commit=tip)
    if gate == "review_verdict" and world.red(8):
        return Pending("the verdict is about another commit", WaitKind.VERDICT, commit=tip)
    return Fail("red", commit=tip) if world.red(7) else Pass("green", commit=tip)


def _decided(world: World, item: WorkItem, tip: str, kind: WaitKind) -> GateResult:
    given = [d for d in world.read(waits.decisions, item.id) if d.kind is kind and d.commit == tip]
    if not given:
        return Pending("a person decides", kind, commit=tip)
    return Fail("rejected") if given[-1].choice.value == "reject" else Pass("approved")


def _leave(world: World, run: Run, answers: list[tuple[str, GateResult]]) -> Outcome:
    asked = []
    for gate, result in answers:
        asked.append(Answered(gate, result))
        if result.answer in (Answer.FAIL, Answer.PENDING):
            break
    return outcomes.on_gates(run.item, asked, cap=world.root.caps)


def _staging(world: World, run: Run) -> Working:
    """The merge gate without its lock: the lock is for order, and landing has to hold without it."""
    item, root, repository = run.item, world.root, world.repository
    yield "ticket"
    ticket = world.write(queue.take, item, root.now())
    if not ticket.first:
        return WaitFor(WaitKind.MERGE_TURN, "others are before it", None)
    base = repository.main
    if (item.validated, item.validated_base) != (repository.branches[item.key], base):
        if (yield from _prepare(world, run)):
            return RollBack(Stage.REVIEW, None, "somebody pushed", feedback="")
        yield "push"
        tip = repository.rebased(repository.branches[item.key], base)
        repository.branches[item.key] = tip
        yield "record"
        world.write(items.update, item, run.lease.token, root.now(), tip=tip, head=tip)
        yield "test"
        passed = not world.red(5)
        ran = TestRun(tip, passed, "tests", 1.0, Path("log"), ())
        world.write(evidence.tests_ran, item.id, f"{evidence.MERGE_PURPOSE}{base}", ran, root.now())
        if not passed:
            return outcomes.roll_back(item, Stage.DEVELOPMENT, "red together with main", cap=root.caps)
        repository.green.add(tip)
        yield "validated"
        changes = {"validated": tip, "validated_base": base, "confirmed": None}
        world.write(items.update, item, run.lease.token, root.now(), **changes)
    run = _again(world, run)
    outcome = _leave(world, run, [(gate, _answer(world, run.item, gate)) for gate in ROWS[item.stage].gates])
    yield "turn over"
    comes_back = isinstance(outcome, Advance) and _confirmed(world, run.item)
    world.write(queue.keep if comes_back else queue.leave, item, root.now())
    return outcome


def _confirmed(world: World, item: WorkItem) -> bool:
    given = world.read(waits.decisions, item.id)
    return any(d.kind is WaitKind.CONFIRMATION and d.commit == item.validated for d in given)


def _deploy(world: World, run: Run) -> Working:
    item, root = run.item, world.root
    if item.validated is None:
        return Block("nothing was validated")
    if item.landed is None:
        if not _confirmed(world, item):
            return Ask(WaitKind.CONFIRMATION, "Deploy?", item.validated)
        yield "ticket"
        ticket = world.write(queue.take, item, root.now())
        in_the_way = world.read(production.deploy_in_the_way, item)
        if not ticket.first or in_the_way:
            return WaitFor(WaitKind.MERGE_TURN, in_the_way or "others are before it", item.validated)
        outcome = yield from _land(world, run)
        if outcome is not None:
            return outcome
        run = _again(world, run)
    return (yield from _to_production(world, run))


def _land(world: World, run: Run) -> Working:
    """`tasks.landing.land`, and the begin of the deploy under the same turn."""
    item, root, repository = run.item, world.root, world.repository
    assert item.validated is not None
    tip = repository.main
    if repository.contains(tip, item.validated):
        mine = world.read(landing._begun, item) or repository.trees[tip] == repository.trees[item.validated]
        if not mine:
            return RollBack(Stage.DEPLOY_STAGING, None, "main moved on", feedback="")
    elif tip != item.validated_base:
        return RollBack(Stage.DEPLOY_STAGING, None, "main moved on", feedback="")
    else:
        yield "land: started"
        subject = item.validated
        effect, _first = world.write(
            journal.start, item, landing.LAND, run.lease, subject=subject, now=root.now(), base=tip
        )
        yield "land: moves"
        if not repository.land(item.validated, tip):
            yield "land: abandoned"
            world.write(journal.abandon, effect)
            return RollBack(Stage.DEPLOY_STAGING, None, "main moved on", feedback="")
    yield "land: done"
    world.write(landing._record, item, item.validated, run.lease, root)
    return None


def _to_production(world: World, run: Run) -> Working:
    item, root = run.item, world.root
    assert item.landed is not None
    if item.deployed != item.landed:
        if world.read(production.open_deploy, item) is None:
            if (in_the_way := world.read(production.deploy_in_the_way, item)) is not None:
                return WaitFor(WaitKind.MERGE_TURN, in_the_way, item.landed)
            if world.repository.contains(world.serving, item.landed):
                return Advance(Stage.DONE, "production runs a later commit")
            number = len(world.read(production._deploys, item)) + 1
            yield "deploy: started"
            world.write(
                journal.start, item, production.DEPLOY, run.lease, subject=f"{item.landed}#{number}", now=root.now(),
                commit=item.landed, previous=world.serving,
            )  # fmt: skip
            yield "deploy: turn over"
            world.write(queue.leave, item, root.now())
        yield "deploy: hook"
        if world.serving != item.landed:
            if world.red(6):
                return Block("the hook failed")
            world.deploys.append(f"{item.key} {item.landed}")
            world.serving = item.landed
        yield "deploy: settled"
        world.write(production._settle, item, run.lease, root.now() + timedelta(seconds=0), root)
    return Advance(Stage.DONE, "production runs it")


WORK: dict[Stage, Callable[[World, Run], Working]] = {Stage.DEPLOY_STAGING: _staging, Stage.DEPLOY: _deploy}


def run_of_stop(world: World, key: str) -> Callable[[int], Steps]:
    """What `flows.stop` does, as steps."""
    return lambda pid: _stop(world, key, pid)


def _stop(world: World, key: str, pid: int) -> Steps:
    root = world.root
    item = world.read(items.find, key)
    if item is None or item.stage.terminal or item.cancel_requested_at is None:
        return
    if world.read(stopping.stopped_elsewhere, item, root) or world.read(stopping._under_way, item, root) is not None:
        return  # the tick comes back to it
    yield "end the owner"
    owner = world.read(leases.owner, item.id)
    for actor in [a for a in world.actors if owner is not None and a.pid == owner.process.pgid and a.pid != pid]:
        world.kill(actor)
    found = world.item(key)
    assert found is not None
    begun = world.read(journal.of_item, item.id)
    landed = found.landed is not None or bool(
        begun and found.validated and world.repository.contains(world.repository.main, found.validated)
    )
    yield "take over"
    lease = world.write(stopping._take_over, root, item, landed, f"stop-{pid}")
    if isinstance(lease, str):
        return
    yield "cancel"
    with contextlib.suppress(StaleWrite, LeaseLost):
        world.write(stopping._cancel, root, item, lease, [])
    yield "give back"
    world.write(leases.release, item.id, lease.token)


def _process(pid: int) -> ProcessIdentity:
    return ProcessIdentity("here", "boot", pid, 1.0)
