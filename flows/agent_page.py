"""What people find about an agent on the page of its run in Prefect: how it went, what it used up, the end of its log."""

import asyncio
import re
from pathlib import Path

import httpx
from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from pipeline.model import WorkItem
from pipeline.store.evidence import AgentRun

LINES, TAIL_BYTES = 40, 20_000
"""So much of the end of a log is shown, whichever is less."""


async def show(item: WorkItem, run: AgentRun) -> None:
    """Put it there. It is in the store and the log already, so a page without it is no harm."""
    about = f"The {run.role} of {item.key} at {item.stage}, visit {run.visit}"
    text = markdown(run, await asyncio.to_thread(last_lines, Path(run.log)))
    try:
        await acreate_markdown_artifact(key=f"agent-{item.key.lower()}", markdown=text, description=about)
    except httpx.HTTPError as error:
        get_run_logger().warning("the agent's page could not be written: %r", error)


def markdown(run: AgentRun, log: str) -> str:
    """The page of a recorded run, with the end of its log between fences that the log cannot close."""
    usage = run.usage
    cached = f"{usage.cache_read_tokens:,} read from the cache, {usage.cache_creation_tokens:,} written to it"
    rows = {
        "role": run.role,
        "end": run.end or "interrupted",
        "duration": f"{run.duration_s or 0:.0f} s",
        "turns": usage.turns,
        "tokens in": f"{usage.full_input:,} ({cached})",
        "tokens out": f"{usage.output_tokens:,}",
        "cost": f"${usage.cost_usd:.2f}",
        "log": f"`{run.log}`",
    }
    table = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    fence = _fence(f"{run.sentence}\n{log}")
    said = f"{fence}text\n{run.sentence}\n{fence}"
    return f"{said}\n\n| | |\n|---|---|\n{table}\nThe end of its log:\n\n{fence}text\n{log}\n{fence}\n"


def last_lines(log: Path) -> str:
    """The last lines of a log; empty when there is none on this host."""
    try:
        with log.open("rb") as source:
            source.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = source.read().decode(errors="replace")
    except OSError:
        return ""
    clean = "".join(c for c in text if c in "\n\t" or c.isprintable())
    return "\n".join(clean.split("\n")[-LINES:]).rstrip()


def _fence(text: str) -> str:
    """More backticks than stand together anywhere in the text."""
    return "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
