"""What the demo found at its end: where everything landed, what it took, and whether main was ever broken."""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlmodel import Session

from deployments.demo_scenarios import Scenario
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.options import Options
from pipeline.model import Answer, WorkItem
from pipeline.settings import Settings
from pipeline.store import evidence, items, journal, transitions
from pipeline.store.engine import Store


@dataclass(frozen=True, slots=True)
class ItemReport:
    """One item's story."""

    item: WorkItem
    tested_sha: str | None
    moves: list[transitions.Transition]
    runs: list[evidence.AgentRun]
    gates: list[evidence.RecordedGate]
    effects: list[journal.Effect]

    def as_json(self) -> dict[str, Any]:
        """The item as the demo's JSON has it."""
        return {
            "item": self.item.key,
            "stage": self.item.stage,
            "landed_sha": self.item.landed,
            "tested_sha": self.tested_sha,
            "deployed_revision": self.item.deployed,
            "hold": self.item.hold_reason or None,
            "effects": [{"effect": e.name, "outcome": e.outcome} for e in self.effects],
            "transitions": [
                {"from": m.from_stage, "to": m.to_stage, "actor": m.actor, "reason": m.reason, "seconds": m.seconds}
                for m in self.moves
            ],
            "agent_runs": [
                {
                    "role": r.role,
                    "visit": r.visit,
                    "end": r.end,
                    "seconds": r.duration_s,
                    "input_tokens": r.usage.full_input,
                    "cached_tokens": r.usage.cache_read_tokens,
                    "output_tokens": r.usage.output_tokens,
                    "cost_usd": r.usage.cost_usd,
                    "turns": r.usage.turns,
                }
                for r in self.runs
            ],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The whole demo; `tips` is every commit that main ever was, with whether its tests pass.

    `production` is the revision that serves at the end.
    """

    scenario: Scenario
    production: str | None
    main_sha: str
    tips: list[tuple[str, bool]]
    items: list[ItemReport]
    diffstat: str

    @property
    def good(self) -> bool:
        """Everything ended as the scenario says, main was never broken, and what landed is what was tested."""
        landed = all(self.scenario.ended(i.item) and i.item.landed == i.tested_sha for i in self.items)
        return landed and all(passed for _, passed in self.tips) and self._main_and_production_agree()

    def _main_and_production_agree(self) -> bool:
        """What serves is what main is; or, taken back, what both were at first (main by a commit that reverts)."""
        if self.scenario.degrades:
            reverted = all(any(e.name == "revert" and not e.open for e in i.effects) for i in self.items)
            return reverted and self.production == self.tips[0][0]
        deployed = all(i.item.deployed == i.item.landed for i in self.items)
        return deployed and self.main_sha == self.production and self.main_sha in {i.item.landed for i in self.items}

    def as_json(self) -> dict[str, Any]:
        """The demo's one JSON object."""
        return {
            "main_sha": self.main_sha,
            "production_revision": self.production,
            "main_tips": [{"sha": sha, "tests_passed": passed} for sha, passed in self.tips],
            "items": [item.as_json() for item in self.items],
        }


def report(sandbox: SandboxClient, settings: Settings, scenario: Scenario, keys: list[str], state: Path) -> Report:
    """Look at the repository itself, not at what Orch believes: every tip of main is checked out and tested."""
    tips = sandbox.repository().main_tips
    told = Store(settings.store_url).read(_items, keys)
    with tempfile.TemporaryDirectory(dir=state) as folder:
        clone = Path(folder) / "clone"
        _git(Path(folder), "clone", "--quiet", sandbox.clone_url_with_token(), str(clone))
        checked = [(sha, _passes(clone, sha)) for sha in tips]
        stat = _git(clone, "diff", "--stat", tips[0], tips[-1])
        main = _git(clone, "rev-parse", "origin/main").strip()
    return Report(scenario, sandbox.stand("production").revision, main, checked, told, stat)


def _items(session: Session, keys: list[str]) -> list[ItemReport]:
    return [_item(session, item) for key in keys if (item := items.find(session, key)) is not None]


def _item(session: Session, item: WorkItem) -> ItemReport:
    return ItemReport(
        item=item,
        tested_sha=evidence.tested_for_landing(session, item.id),
        moves=transitions.history(session, item.id),
        runs=evidence.agent_runs(session, item.id),
        gates=evidence.gates_of(session, item.key),
        effects=journal.of_item(session, item.id),
    )


def _passes(clone: Path, sha: str) -> bool:
    """Whether the tests of a commit pass, on its files alone: Python would take another commit's compiled files for its own."""
    _git(clone, "checkout", "--quiet", "--detach", sha)
    _git(clone, "clean", "--quiet", "--force", "-dx")
    return subprocess.run(Options().test_command, cwd=clone, capture_output=True, check=False).returncode == 0


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True, text=True).stdout


def print_report(console: Console, told: Report, ui_url: str) -> None:
    """The closing table, the landed commit and its diffstat."""
    table = Table("item", "stage", "seconds", "gates", "tokens in (cached)", "out", "cost", title="What it took")
    for each in told.items:
        for row in _rows(each):
            table.add_row(*row)
    console.print(table)
    console.print(told.diffstat.rstrip())
    for sha, passed in told.tips:
        console.print(f"main was {sha[:12]}: tests {'[green]pass[/]' if passed else '[red]FAIL[/]'}")
    for each in told.items:
        same = "[green]=[/]" if each.item.landed == each.tested_sha else "[red]≠[/]"
        console.print(f"{each.item.key} {each.item.stage}: landed {each.item.landed} {same} tested {each.tested_sha}")
        if each.item.hold_reason:
            console.print(f"{each.item.key} is {each.item.hold}: {each.item.hold_reason}")
    console.print(f"Production runs {told.production}")
    console.print(f"Runs: {ui_url}/runs")


def _rows(each: ItemReport) -> list[tuple[str, ...]]:
    """A row for each stage that was left, in order."""
    rows: list[tuple[str, ...]] = []
    for move in each.moves:
        if move.from_stage is None:
            continue
        runs = [r for r in each.runs if r.started_at <= move.at and r.started_at >= _entered(each, move)]
        gates = [
            g for g in each.gates if g.at <= move.at and g.at >= _entered(each, move) and g.stage is move.from_stage
        ]
        usage = [run.usage for run in runs]
        rows.append(
            (
                each.item.key,
                f"{move.from_stage} → {move.to_stage}",
                f"{move.seconds:.1f}",
                " ".join(f"{g.gate}:{_short(g.result.answer)}" for g in gates),
                f"{sum(u.full_input for u in usage):,} ({sum(u.cache_read_tokens for u in usage):,})",
                f"{sum(u.output_tokens for u in usage):,}",
                f"${sum(u.cost_usd for u in usage):.2f}",
            )
        )
    return rows


def _entered(each: ItemReport, move: transitions.Transition) -> Any:
    index = each.moves.index(move)
    return each.moves[index - 1].at


def _short(answer: Answer) -> str:
    return {Answer.PASS: "✓", Answer.FAIL: "✗", Answer.PENDING: "…", Answer.NOT_APPLICABLE: "n/a"}[answer]
