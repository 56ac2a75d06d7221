"""`kill -9` of a stage's process at every checkpoint: with nobody's help the item goes on, and nothing is done twice.

By default an evenly spread choice of the checkpoints; `ORCH_KILL_EVERY=1` kills at each of them.
"""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlmodel import Session, col, select

from deployments.demo import PROJECT, REPOSITORY
from deployments.prefect_server import PrefectServer
from deployments.sandbox.gitea_state import Pull
from deployments.sandbox.options import GITEA_VERSION
from pipeline.model import WorkItem
from pipeline.signals import Signal
from pipeline.stages import Stage
from pipeline.store import evidence, journal, leases, queue, transitions, waits
from pipeline.store.outbox import Kind
from pipeline.store.tables import OutboxRow
from tests.support.kills import EVERY, Ended, Stand, standing, within
from tests.support.merge_lock import take_turn

WITHOUT_FAST_FORWARD = "1.21.11"
"""A Gitea that has no fast-forward-only merge: Orch lands by a push."""


@dataclass(frozen=True, slots=True)
class Case:
    """A stage whose process is killed, where the item must come to all the same, and how many kills are the default.

    What is `long` is left to `make test-long`.
    """

    stage: Stage
    to: Stage
    kills: int
    gitea: str = GITEA_VERSION
    long: bool = False


CASES = {
    "analysis": Case(Stage.ANALYSIS, Stage.ARCHITECTURE, 2, long=True),
    "architecture": Case(Stage.ARCHITECTURE, Stage.DEVELOPMENT, 1, long=True),
    "development": Case(Stage.DEVELOPMENT, Stage.REVIEW, 2),
    "review": Case(Stage.REVIEW, Stage.TESTING, 1, long=True),
    "testing": Case(Stage.TESTING, Stage.DEPLOY_STAGING, 2, long=True),
    "merge gate": Case(Stage.DEPLOY_STAGING, Stage.DEPLOY, 2),
    "landing by the forge's fast-forward": Case(Stage.DEPLOY, Stage.DONE, 2),
    "landing by a push": Case(Stage.DEPLOY, Stage.DONE, 2, WITHOUT_FAST_FORWARD, long=True),
}


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that a stage may leave behind."""

    item: WorkItem
    moves: list[str]
    agent_runs: int
    unfinished: int
    effects: list[journal.Effect]
    tested: str | None
    holders: list[Any]
    letters: list[OutboxRow]
    shown: str
    comments: list[str | None]
    messages: int
    pulls: list[Pull]
    tips: list[str]
    branch: str | None
    worktree: tuple[str, str] | None
    half_made: list[str]
    processes: list[str]

    @property
    def said(self) -> Counter[str]:
        """What people were told, by topic; that a run had died is told besides."""
        topics = Counter(":".join((letter.dedupe or "").split(":")[:2]) for letter in self.letters if letter.dedupe)
        del topics["message:recovered"]
        return topics

    @property
    def repeated(self) -> int:
        """Sounding Telegram messages beyond those that were to be sent."""
        return self.messages - sum(letter.kind == Kind.MESSAGE for letter in self.letters)


def look(stand: Stand) -> Found:
    """See how things are."""
    item, state = stand.item, stand.sandbox.state()
    repository, card = state.repositories[REPOSITORY], state.card(stand.key)
    folder = stand.settings.state_dir / "worktrees" / PROJECT / stand.key
    git_dir = stand.settings.state_dir / "repos" / f"{PROJECT}.git" / "worktrees" / stand.key
    seen = stand.read(lambda session: _stored(session, item))
    return Found(
        item=item,
        **seen,
        shown=card.state,
        comments=[comment.external_id for comment in card.comments],
        messages=sum(not message.silent for message in state.telegram.messages),
        pulls=repository.pulls,
        tips=repository.main_tips,
        branch=repository.branches.get(item.branch),
        worktree=(_git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain"))
        if folder.exists()
        else None,
        half_made=[path.name for pattern in ("*.lock", "rebase-*") for path in git_dir.glob(pattern)],
        processes=stand.processes(),
    )


def settled(stand: Stand, case: Case) -> Found:
    """How things are once the letters went and the next stage's run has begun."""
    if stand.item.stage is case.to and not case.to.terminal:
        stand.next_run_begins()
    stand.deliver_all()
    return look(stand)


def _stored(session: Session, item: WorkItem) -> dict[str, Any]:
    return {
        "moves": [str(move.to_stage) for move in transitions.history(session, item.id)],
        "agent_runs": len(evidence.agent_runs(session, item.id)),
        "unfinished": len(evidence.unfinished_agent_runs(session, item.id)),
        "effects": journal.of_item(session, item.id),
        "tested": evidence.tested_for_landing(session, item.id),
        "holders": [*leases.owners(session), *queue.tickets(session, item.project), *waits.open_waits(session)],
        "letters": list(session.exec(select(OutboxRow)).all()),
    }


def _git(folder: Any, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def violations(case: Case, before: Found, calm: Found, now: Found, *, in_doubt: int) -> list[str]:
    """What is not as it must be once the stage is left; `calm` is how an undisturbed run left it.

    `in_doubt` messages had been taken out of the box by the killed process and not noted as sent: nobody can know
    whether Telegram has them, and Telegram knows no identity of a message, so each may be there twice.
    """
    item, landed = now.item, case.to is Stage.DONE
    return [
        sentence
        for sentence, kept in (
            (f"it is at {item.stage}, {item.hold}: {item.hold_reason}", (item.stage, item.hold) == (case.to, None)),
            (f"it went {now.moves}", now.moves == calm.moves),
            (f"attempts {item.attempts}, failures {item.failures}", (item.attempts, item.failures) == (calm.item.attempts, 0)),
            (f"{len(now.pulls)} pull requests", [p.number for p in now.pulls] == [item.pull_number] * len(calm.pulls)),
            (f"the pull request is {now.pulls}", [p.merged for p in now.pulls] == [landed] * len(calm.pulls)),
            (f"{now.agent_runs} agent runs", calm.agent_runs <= now.agent_runs <= calm.agent_runs + 1),
            (f"{now.unfinished} agent runs never ended", now.unfinished == 0),
            (f"effects {now.effects}", [(e.name, e.open) for e in now.effects] == [("land", False)] * landed),
            (f"still held or waited for: {now.holders}", now.holders == []),
            (f"the default branch went {now.tips}", now.tips == before.tips + [str(item.validated)] * landed),
            (f"tested {now.tested}, validated {item.validated}", now.tested == item.validated),
            (f"landed {item.landed}", item.landed == (item.validated if landed else None)),
            (f"the task branch is at {now.branch}, not {item.tip}", now.branch == item.tip),
            (f"the worktree is at {now.worktree}", now.worktree == (item.tip, "")),
            (f"half made: {now.half_made}", now.half_made == []),
            (f"still running: {now.processes}", now.processes == []),
            (f"comments {now.comments}", len(set(now.comments)) == len(now.comments) == len(calm.comments)),
            (f"told {now.said}, not {calm.said}", now.said == calm.said),
            (f"{now.repeated} messages repeated", 0 <= now.repeated <= in_doubt),
            (f"the card shows {now.shown}", now.shown == calm.shown),
            ("letters were not sent", not [x for x in now.letters if x.kind != Kind.EVENT and x.sent_at is None]),
            ("letters were refused", not [x.last_error for x in now.letters if x.last_error.startswith("refused")]),
        )
        if not kept
    ]  # fmt: skip


def taken_out(session: Session) -> int:
    """How many messages a killed process had taken out of the box and not noted as sent."""
    taken = select(OutboxRow).where(
        OutboxRow.kind == Kind.MESSAGE, col(OutboxRow.sent_at).is_(None), col(OutboxRow.claimed_until).is_not(None)
    )
    return len(session.exec(taken).all())


def killed_at(stand: Stand, case: Case, number: int) -> tuple[Ended, int, Found]:
    """Kill the stage after its checkpoint `number` and leave the rest to those who come after."""
    try:
        stand.restore(case.stage, gitea=case.gitea)
        killed = stand.finish(case.stage, kill_at=number)[-1]
        in_doubt = stand.read(taken_out)
        stand.finish(case.stage)
        return killed, in_doubt, settled(stand, case)
    except Exception as error:
        error.add_note(f"killed at checkpoint {number}; what was passed is in {stand.folder}")
        raise


def chosen(count: int, kills: int) -> list[int]:
    """Numbers of the checkpoints to kill at: first, last and evenly between; all of them when asked for."""
    if EVERY or count <= kills:
        return list(range(1, count + 1))
    if kills == 1:
        return [(count + 1) // 2]
    return sorted({1 + round(index * (count - 1) / (kills - 1)) for index in range(kills)})


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, prefect_server: PrefectServer) -> Iterator[Stand]:
    """An item with a snapshot just before each of the stages.

    CI is held before development, so that the stage waits for it, and the default branch moves on before the merge
    gate, so that there is something to rebase.
    """
    with standing(tmp_path_factory.mktemp("kills"), prefect_server) as made:
        for stage in (Stage.ANALYSIS, Stage.ARCHITECTURE, Stage.DEVELOPMENT):
            made.bring_to(stage)
            if stage is Stage.DEVELOPMENT:
                made.sandbox.ci("hold")
            made.snapshot(stage)
        for stage in (Stage.REVIEW, Stage.TESTING):
            made.bring_to(stage)
            made.snapshot(stage)
        made.bring_to(Stage.DEPLOY_STAGING)
        made.sandbox.commit("main", {"NOTES.md": "Something else.\n"})
        made.snapshot(Stage.DEPLOY_STAGING)
        made.bring_to(Stage.DEPLOY)
        made.tell(Signal.DEPLOY_CONFIRMED)
        made.snapshot(Stage.DEPLOY)
        yield made


@pytest.fixture(scope="module", autouse=True)
def killed_holder(stand: Stand) -> None:
    """A run of another project that was killed with the merge lock in its hands; its minute passes meanwhile."""
    assert take_turn(stand.settings, stand.folder, and_die=True)
    assert not take_turn(stand.settings, stand.folder, and_die=False), "the lock of a killed holder is still held"


@pytest.mark.timeout(within(900))
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if case.long else []) for name, case in CASES.items()]
)
def test_a_stage_that_is_killed_at_a_checkpoint_goes_on_and_does_nothing_twice(stand: Stand, name: str) -> None:
    case = CASES[name]
    stand.restore(case.stage, gitea=case.gitea)
    before = look(stand)
    checkpoints = [checkpoint for run in stand.finish(case.stage) for checkpoint in run.passed]
    calm = settled(stand, case)
    assert violations(case, before, calm, calm, in_doubt=0) == []

    failures, repeated, numbers = [], 0, chosen(len(checkpoints), case.kills)
    for number in numbers:
        killed, in_doubt, now = killed_at(stand, case, number)
        repeated += now.repeated
        where = killed.passed[-1] if killed.killed else "never reached"
        failures += [f"{number} {where}: {v}" for v in violations(case, before, calm, now, in_doubt=in_doubt)]
    sys.stdout.write(f"{name}: {len(checkpoints)} checkpoints, killed at {numbers}, {repeated} messages repeated\n")
    assert not failures, "\n".join(failures)


@pytest.mark.timeout(180)
def test_the_merge_lock_of_a_killed_holder_is_freed_by_the_server(stand: Stand) -> None:
    deadline = time.monotonic() + 120
    while not take_turn(stand.settings, stand.folder, and_die=False):
        assert time.monotonic() < deadline, "the lock is never freed"
        time.sleep(2)
