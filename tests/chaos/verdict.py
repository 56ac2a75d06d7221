"""What must be true when the faults are over: nothing twice, nothing lost, nothing stuck, every tip of main green."""

import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlmodel import Session, col, select

from deployments.demo import PROJECT
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from pipeline.model import WorkItem
from pipeline.stages import Stage
from pipeline.store import evidence, items, leases, queue, waits
from pipeline.store.engine import Store
from pipeline.store.outbox import Kind
from pipeline.store.tables import OutboxRow, WorkItemRow
from tests.chaos import processes
from tests.chaos.people import People
from tests.chaos.shop import REPOSITORIES

BOT = "orch-bot"
"""Orch's login in the sandbox's Gitea."""


@dataclass
class Verdict:
    """Everything that is not as it must be, by kind; `remarks` are no violations."""

    duplicates: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.duplicates or self.losses or self.stuck or self.broken)


def judge(people: People, sandbox: SandboxClient, store: Store) -> Verdict:
    """Look at everything once all has come to rest."""
    verdict = Verdict(losses=list(people.losses))
    found = {key: people.item(key) for key in people.keys}
    verdict.losses += [f"{key} was never started" for key, item in found.items() if item is None]
    known = [item for item in found.values() if item is not None]
    _items(verdict, known, store)
    _repositories(verdict, known, people, sandbox)
    _production(verdict, known, sandbox)
    _told(verdict, people, sandbox, store)
    for name, rows in store.read(_held).items():
        verdict.stuck += [f"{name} left: {row}" for row in rows]
    return verdict


def _items(verdict: Verdict, known: list[WorkItem], store: Store) -> None:
    for item in known:
        if not item.stage.terminal:
            wait = store.read(waits.open_wait, item.id)
            verdict.stuck.append(f"{item.key} at {item.stage}, {item.hold}: {item.hold_reason or wait}")
        if item.stage is Stage.DONE:
            tested = store.read(evidence.tested_for_landing, item.id)
            if not item.landed == item.validated == tested:
                verdict.broken.append(f"{item.key} landed {item.landed}, tested {tested}, validated {item.validated}")
    for key, count in Counter(store.read(_live_keys)).items():
        if count > 1:
            verdict.duplicates.append(f"{key} is {count} work items")


def _repositories(verdict: Verdict, known: list[WorkItem], people: People, sandbox: SandboxClient) -> None:
    state = sandbox.state()
    landed = {item.landed for item in known}
    for project, name in REPOSITORIES.items():
        repository = state.repositories[name]
        tips = Counter(repository.main_tips)
        verdict.duplicates += [f"{name} stood on {tip} {n} times" for tip, n in tips.items() if n > 1]
        pulls = Counter(pull.head for pull in repository.pulls)
        verdict.duplicates += [f"{n} pull requests of {head}" for head, n in pulls.items() if n > 1]
        ours = [push.after for push in repository.default_pushes if push.user == BOT]
        verdict.broken += [f"{name}: Orch moved main to {tip}, no item's" for tip in ours if tip not in landed]
        mine = [item for item in known if item.project == project and item.stage is Stage.DONE]
        with tempfile.TemporaryDirectory() as folder:
            clone = Path(folder) / "clone"
            _git(None, "clone", "-q", sandbox.clone_url_with_token(name), str(clone))
            files = _git(clone, "ls-tree", "-r", "--name-only", "origin/main").split()
            sold = {item.key: f"shop/{people.name_of(item.key)}.py" for item in mine}
            verdict.losses += [f"{key} is done and not on main" for key, file in sold.items() if file not in files]
            verdict.broken += [f"{name} was red at {tip[:12]}" for tip in dict.fromkeys(tips) if not _green(clone, tip)]


def _green(clone: Path, tip: str) -> bool:
    _git(clone, "checkout", "-q", tip)
    _git(clone, "clean", "-qfdx")  # Python would take another commit's compiled files for this one's
    return subprocess.run(Options().test_command, cwd=clone, check=False, capture_output=True).returncode == 0


def _git(clone: Path | None, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=clone, check=True, capture_output=True, text=True).stdout


def _production(verdict: Verdict, known: list[WorkItem], sandbox: SandboxClient) -> None:
    deploys = [one for one in sandbox.stand("production").deploys if one.hook == "deploy"]
    for (key, revision), count in Counter((one.work_item, one.revision) for one in deploys).items():
        if count > 1:
            verdict.duplicates.append(f"{key} was deployed {count} times at {revision[:12]}")
    for item in known:
        mine = {one.revision for one in deploys if one.work_item == item.key}
        if item.project == PROJECT and item.stage is Stage.DONE and not mine <= {item.landed}:
            verdict.broken.append(f"{item.key} landed {item.landed} and deployed {mine}")


def _told(verdict: Verdict, people: People, sandbox: SandboxClient, store: Store) -> None:
    """Comments carry an identity and are never there twice; Telegram knows none, so what was sent in doubt is a remark."""
    state = sandbox.state()
    for key in people.keys:
        written = Counter(c.external_id for c in state.card(key).comments if c.external_id)
        verdict.duplicates += [f"{key}: comment {one} {n} times" for one, n in written.items() if n > 1]
    letters = [row for row in store.read(_letters) if row.kind == Kind.MESSAGE]
    repeated = len(state.telegram.messages) - len(letters)
    if repeated > 0:
        verdict.remarks.append(
            f"{repeated} Telegram messages were sent again, because their sender died or Telegram's answer was lost"
        )
    verdict.stuck += [f"letter {r.id} ({r.kind}, {r.item_key}) unsent: {r.last_error}" for r in store.read(_unsent)]


def _held(session: Session) -> dict[str, list[Any]]:
    return {
        "lease": list(leases.owners(session)),
        "ticket": [t for project in REPOSITORIES for t in queue.tickets(session, project)],
        "wait": list(waits.open_waits(session)),
        "agent": [r for i in items.all_items(session) for r in evidence.unfinished_agent_runs(session, i.id)],
    }


def _live_keys(session: Session) -> list[str]:
    return list(session.exec(select(WorkItemRow.key).where(col(WorkItemRow.cancelled_at).is_(None))).all())


def _letters(session: Session) -> list[OutboxRow]:
    return list(session.exec(select(OutboxRow)).all())


def _unsent(session: Session) -> list[OutboxRow]:
    query = select(OutboxRow).where(col(OutboxRow.sent_at).is_(None), OutboxRow.kind != Kind.EVENT)
    return list(session.exec(query).all())


def after_the_stop(verdict: Verdict, state_dir: str) -> None:
    """Once the product has been stopped nothing of it may be left running."""
    verdict.stuck += [f"still running: {command}" for command in processes.left_behind(state_dir)]
