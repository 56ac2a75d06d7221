"""`python -m tests.chaos`: the product under faults for CHAOS_MINUTES, then the verdict; exit code 1 on any violation.

CHAOS_SEED repeats a run's choices (not its timing), CHAOS_ITEMS is how many items are kept going at once, CHAOS_FOLDER
where everything is kept.
"""

import asyncio
import os
import random
import secrets
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from prefect.settings import PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings
from rich.console import Console
from rich.table import Table

from deployments.free_ports import free_ports
from deployments.processes import Supervisor
from deployments.sandbox.client import SandboxClient
from deployments.sandbox.running import running_sandbox
from deployments.stack import start
from pipeline.store.engine import Store
from tests.chaos.faults import Faults
from tests.chaos.people import People
from tests.chaos.shop import settings_for
from tests.chaos.stops import Stops
from tests.chaos.verdict import Verdict, after_the_stop, judge

THINGS = 400
LOOK_S = 0.5
HELD_S = 60.0
"""How long an item stays held while things break, until a person retries it."""
REST_WITHIN_S = 900
"""How long everything may take to come to its end once the faults are over."""


@dataclass
class Chaos:
    """One run: what it was told, and what became of it."""

    seed: int
    minutes: float
    at_once: int
    folder: Path
    console: Console
    began: float = field(default_factory=time.monotonic)
    interrupted: threading.Event = field(default_factory=threading.Event)

    def say(self, sentence: str) -> None:
        """One line with the time."""
        seconds = int(time.monotonic() - self.began)
        self.console.print(f"[dim]{seconds // 60:02d}:{seconds % 60:02d}[/] {sentence}", highlight=False)

    async def run(self) -> int:
        """Everything; the exit code."""
        prefect_port, port = free_ports(2)
        chance = random.Random(self.seed)  # noqa: S311  repeatable, no secret
        agents = chance.choice((1, 2))
        verdict = None
        self.say(f"CHAOS_SEED={self.seed} · {self.minutes:g} min · {agents} agents at once · {self.folder}")
        with temporary_settings({PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False}):
            async with running_sandbox(self.folder / "sandbox") as sandbox:
                settings = settings_for(sandbox, self.folder, port, agents=agents, things=THINGS)
                async with Supervisor(self.folder / "logs") as supervisor:
                    await start(supervisor, settings, prefect_port=prefect_port)
                    self.say("Orch is up")
                    store = Store(settings.store_url)
                    people = People(sandbox, settings, store, chance, self.at_once, THINGS)
                    faults = Faults(sandbox, settings, store, people, chance)
                    stops = Stops(store, settings.state_dir / "worktrees")
                    try:
                        with stops.watching():
                            await asyncio.to_thread(self._disturb, people, faults)
                            await asyncio.to_thread(self._settle, people, faults, sandbox)
                        verdict = await asyncio.to_thread(judge, people, sandbox, store)
                    except asyncio.CancelledError:  # by Ctrl-C, which the supervisor takes for a quiet end
                        self.interrupted.set()
                        raise
                if verdict is None:
                    self.say("Interrupted; nothing was judged")
                    return 130
                after_the_stop(verdict, str(settings.state_dir.resolve()))
        self._report(people, faults, stops, verdict)
        return 0 if verdict.good else 1

    def _disturb(self, people: People, faults: Faults) -> None:
        """People work and things break, until the time is over."""
        end, next_fault = time.monotonic() + self.minutes * 60, time.monotonic() + 10
        while time.monotonic() < end and not self.interrupted.is_set():
            if time.monotonic() >= next_fault:
                if name := faults.inject():
                    self.say(f"[red]{name}[/]")
                next_fault = time.monotonic() + faults.chance.uniform(3, 15)
            said = len(people.said)
            people.look(begin=True, drop=faults.drops_next)
            people.thaw_what_is_frozen()
            people.retry_what_is_held(after_s=HELD_S)
            faults.drops_next = faults.drops_next and len(people.said) <= said
            self._watch(faults)

    def _settle(self, people: People, faults: Faults, sandbox: SandboxClient) -> None:
        """No more faults: everything comes to its end, and people mend what only they can."""
        faults.end()
        self.say(f"The faults are over; {len(people.unfinished())} items are under way")
        deadline = time.monotonic() + REST_WITHIN_S
        while (left := people.unfinished()) and time.monotonic() < deadline and not self.interrupted.is_set():
            people.look(begin=False)
            people.retry_what_is_held()
            people.thaw_what_is_frozen()
            self._watch(faults)
        if left:
            self.say(f"[red]Not at their end: {', '.join(left)}[/]")
        time.sleep(20)  # what was sent last goes, and ticks find nothing more to do
        sandbox.flush()

    def _watch(self, faults: Faults) -> None:
        for sentence in faults.watch():
            self.say(f"[red]{sentence}[/]")
        time.sleep(LOOK_S)

    def _report(self, people: People, faults: Faults, stops: Stops, verdict: Verdict) -> None:
        table = Table(title=f"Chaos · seed {self.seed} · {self.minutes:g} min", show_header=False)
        for name, count in sorted(faults.counts.items()):
            table.add_row(f"fault: {name}", str(count))
        table.add_section()
        ended = [item for key in people.keys if (item := people.item(key)) is not None]
        table.add_row("faults", str(sum(faults.counts.values())))
        table.add_row("items", f"{len(people.keys)}: " + _stages([str(item.stage) for item in ended]))
        table.add_row("held items that a person retried", str(len(people.retried)))
        table.add_row("frozen projects that a person thawed", str(people.thawed))
        for name, seconds in (
            ("lost webhook", people.healed_s),
            ("killed run", faults.healed_s),
            ("killed run, while all else of Orch lived", faults.healed_alone_s),
            ("STOP until no process is left", stops.took_s),
            ("STOP that waited for a landing or a deploy", stops.waited_s),
        ):
            table.add_row(f"time to heal: {name}", _times(seconds))
        table.add_row("STOP when nobody was at work", str(stops.idle))
        table.add_row("STOP after the landing, lifted", str(stops.lifted))
        for name in ("duplicates", "losses", "stuck", "broken"):
            table.add_row(name, str(len(getattr(verdict, name))))
        self.console.print(table)
        for sentence in people.retried:
            self.console.print(f"retried: {sentence}", highlight=False, markup=False)
        for name in ("duplicates", "losses", "stuck", "broken", "remarks"):
            for sentence in getattr(verdict, name):
                self.console.print(f"{name}: {sentence}", highlight=False, markup=False)
        self.console.print(f"CHAOS_SEED={self.seed} " + ("kept every promise" if verdict.good else "broke a promise"))


def _stages(found: list[str]) -> str:
    return ", ".join(f"{found.count(stage)} {stage}" for stage in sorted(set(found)))


def _times(seconds: list[float]) -> str:
    return f"median {median(seconds):.1f} s, max {max(seconds):.1f} s, n {len(seconds)}" if seconds else "none"


def main() -> int:
    """Read the environment and run."""
    folder = Path(os.environ.get("CHAOS_FOLDER") or tempfile.mkdtemp(prefix="orch-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    chaos = Chaos(
        seed=int(os.environ.get("CHAOS_SEED") or secrets.randbelow(10**6)),
        minutes=float(os.environ.get("CHAOS_MINUTES") or 30),
        at_once=int(os.environ.get("CHAOS_ITEMS") or 3),
        folder=folder,
        console=Console(stderr=True, soft_wrap=True),
    )
    return asyncio.run(chaos.run())


if __name__ == "__main__":
    sys.exit(main())
