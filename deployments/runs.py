"""What agents did and what it cost, as the database has it: for `orch log` and `orch cost`."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlmodel import Session

from deployments.operator import open_store
from pipeline.clients.logs import end_of, readable
from pipeline.errors import Refused
from pipeline.model import Usage, WorkItem
from pipeline.settings import Settings
from pipeline.store import evidence, items

BYTES_A_LINE = 400
"""How much of a log is read for each line that is asked for; lines of agents' streams can be longer and are cut."""

ALL = 1_000_000
"""More items than any database of ours holds."""

Entry = dict[str, Any]


def runs(settings: Settings, key: str) -> list[Entry]:
    """An item's agent runs, oldest first, as JSON-ready data. Raises `Refused` for an unknown item."""
    return open_store(settings).read(_runs, key)


def _runs(session: Session, key: str) -> list[Entry]:
    item = items.latest(session, key)
    if item is None:
        raise Refused(f"There is no work item {key}; `orch status` lists them.")
    return [
        {
            "number": number,
            "role": run.role,
            "visit": run.visit,
            "started_at": run.started_at.isoformat(),
            "duration_s": run.duration_s,
            "end": run.end,
            "sentence": run.sentence,
            "log": run.log,
            **_amounts(run.usage),
        }
        for number, run in enumerate(evidence.agent_runs(session, item.id), 1)
    ]


def tail(log: str, lines: int) -> str:
    """The last lines of a run's log without control characters; empty when it is gone. Blocks while it reads."""
    if lines <= 0 or not log:
        return ""
    text = readable(end_of(Path(log), lines * BYTES_A_LINE))
    return "\n".join(text.splitlines()[-lines:])


def costs(settings: Settings, key: str | None) -> dict[str, Any]:
    """What each item (or one) consumed, and all of them together, as JSON-ready data. Raises `Refused`."""
    return open_store(settings).read(_costs, key)


def _costs(session: Session, key: str | None) -> dict[str, Any]:
    found = items.all_items(session, limit=ALL) if key is None else _known(items.latest(session, key), key)
    used = [(item, [run.usage for run in evidence.agent_runs(session, item.id)]) for item in found]
    entries = [{"key": item.key, "stage": item.stage, "runs": len(all_), **_sum(all_)} for item, all_ in used]
    total = [usage for _, all_ in used for usage in all_]
    return {"items": entries, "total": {"runs": len(total), **_sum(total)}}


def _known(item: WorkItem | None, key: str) -> list[WorkItem]:
    if item is None:
        raise Refused(f"There is no work item {key}; `orch status` lists them.")
    return [item]


def _sum(usages: Iterable[Usage]) -> Entry:
    fields = [asdict(usage) for usage in usages]
    return _amounts(Usage(**{name: sum(one[name] for one in fields) for name in asdict(Usage())}))


def _amounts(usage: Usage) -> Entry:
    """Tokens and money; `cached_tokens` is the part of the input that the model had read before."""
    return {
        "input_tokens": usage.full_input,
        "cached_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": round(usage.cost_usd, 6),
        "turns": usage.turns,
    }
