"""Runs a coding agent: any command that takes its prompt on standard input and works in the current directory.

What the agent consumed, and whether it asks a person something, is read from the last line of its log that is a JSON
object with `"type": "result"`: what Claude Code writes with `--output-format json` or `stream-json` (from its public
documentation, not measured). Any other program may write such a line too; without one its usage counts as nothing.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.clients import process
from pipeline.clients.process import Ended, ProcessEnd
from pipeline.model import AgentEnd, AgentJob, AgentOutcome, ProcessIdentity, Usage

MAX_QUOTE_CHARS = 600
TAIL_BYTES = 8_192
MAX_COUNT = 2**53
"""No real count is larger, and a larger one would not fit into a database's integer."""

_NUMBERS = {
    "input_tokens": ("usage", "input_tokens"),
    "cache_read_tokens": ("usage", "cache_read_input_tokens"),
    "cache_creation_tokens": ("usage", "cache_creation_input_tokens"),
    "output_tokens": ("usage", "output_tokens"),
    "cost_usd": ("total_cost_usd",),
    "turns": ("num_turns",),
}
"""Field of `Usage` -> where it stands in a result line."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an agent says about its own run. `oddities` names the fields that did not hold what they should."""

    usage: Usage = field(default_factory=Usage)
    is_error: bool = False
    kind: str = ""
    question: str = ""
    oddities: tuple[str, ...] = ()


class CommandAgent:
    """Fills the port `Agent` with a command.

    In its arguments `{model}` and `{effort}` stand for the job's; an argument whose value is not set is left out, so
    write such an option as one argument: `--model={model}`.
    """

    def __init__(self, command: tuple[str, ...]) -> None:
        self._command = command

    async def run(self, job: AgentJob, *, started: Callable[[ProcessIdentity], None]) -> AgentOutcome:
        """Carry out one job. Its prompt is kept next to the log, as `<log's stem>.prompt.md`. Not idempotent.

        Raises `CouldNotRun` when the command cannot be started. Cancelling ends the whole process group.
        """
        prompt = job.log.with_suffix(".prompt.md")
        await asyncio.to_thread(_write, prompt, job.prompt)
        ended = await process.run(
            _filled(self._command, {"{model}": job.model, "{effort}": job.effort}),
            cwd=job.worktree,
            environment=job.environment,
            log=job.log,
            stdin=prompt,
            timeout_s=job.timeout_s,
            idle_timeout_s=job.idle_timeout_s,
            started=started,
        )
        return await asyncio.to_thread(_outcome, job, ended)


def read_result(log: Path) -> Result | None:
    """The last result line of a log, None when it has none. Blocks while it reads."""
    found = None
    with log.open("rb") as lines:
        for line in lines:
            if line.lstrip().startswith(b"{") and b'"result"' in line:
                found = _json_object(line) or found
    return None if found is None else _result(found)


def tail(log: Path, limit: int = MAX_QUOTE_CHARS) -> str:
    """The last lines of a log as one line of at most `limit` characters, blank when it says nothing."""
    with log.open("rb") as source:
        source.seek(max(0, log.stat().st_size - TAIL_BYTES))
        text = source.read().decode(errors="replace")
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= limit else f"…{flat[1 - limit :].lstrip()}"


def _filled(command: tuple[str, ...], values: Mapping[str, str]) -> list[str]:
    filled = []
    for argument in command:
        named = [name for name in values if name in argument]
        if all(values[name] for name in named):
            for name in named:
                argument = argument.replace(name, values[name])  # noqa: PLW2901  filled step by step
            filled.append(argument)
    return filled


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _outcome(job: AgentJob, ended: Ended) -> AgentOutcome:
    found = read_result(job.log)
    result = found or Result()
    end = _end(ended, result)
    question = result.question if end is AgentEnd.FINISHED else ""
    odd = f" Counted as nothing, because they are no amounts: {', '.join(result.oddities)}." if result.oddities else ""
    return AgentOutcome(
        end=end,
        sentence=_sentence(job, ended, end, result) + odd,
        exit_code=ended.exit_code,
        usage=result.usage,
        duration_s=ended.duration_s,
        question=question,
    )


def _end(ended: Ended, result: Result) -> AgentEnd:
    match ended.reason:
        case ProcessEnd.TIMED_OUT:
            return AgentEnd.TIMED_OUT
        case ProcessEnd.IDLE:
            return AgentEnd.IDLE
        case ProcessEnd.FINISHED:
            # Claude Code can end with code 0 and say only in its result that it failed.
            return AgentEnd.FAILED if ended.exit_code != 0 or result.is_error else AgentEnd.FINISHED


def _sentence(job: AgentJob, ended: Ended, end: AgentEnd, result: Result) -> str:
    who = f"The {job.role}'s agent"
    match end:
        case AgentEnd.TIMED_OUT:
            return f"{who} was ended after its time limit of {job.timeout_s:g} s."
        case AgentEnd.IDLE:
            return f"{who} was ended after it had written nothing for {job.idle_timeout_s:g} s."
        case AgentEnd.FAILED:
            how = f"ended with exit code {ended.exit_code}" if ended.exit_code != 0 else "reported an error"
            kind = f" ({result.kind})" if result.kind else ""
            said = tail(job.log)
            return f"{who} {how}{kind}. " + (f"Last words: {said}" if said else "It left no word in its log.")
        case AgentEnd.FINISHED if result.question:
            return f"{who} asks: {_cut(result.question)}"
        case AgentEnd.FINISHED:
            return f"{who} finished."


# --- the result line --------------------------------------------------------------------------------------------------


def _json_object(line: bytes | str) -> Mapping[str, object] | None:
    """A result line as a mapping, None for any other line: a log holds whatever its program printed."""
    fields = _parsed(line)
    return fields if isinstance(fields, dict) and fields.get("type") == "result" else None


def _parsed(text: bytes | str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _result(fields: Mapping[str, object]) -> Result:
    numbers = {name: _number(_at(fields, path)) for name, path in _NUMBERS.items()}
    kind = fields.get("subtype")
    return Result(
        usage=_usage({name: number or 0.0 for name, number in numbers.items()}),
        is_error=bool(fields.get("is_error")),
        kind=kind if isinstance(kind, str) else "",
        question=_question(fields),
        oddities=tuple(".".join(_NUMBERS[name]) for name, number in numbers.items() if number is None),
    )


def _usage(numbers: Mapping[str, float]) -> Usage:
    return Usage(
        input_tokens=int(numbers["input_tokens"]),
        cache_read_tokens=int(numbers["cache_read_tokens"]),
        cache_creation_tokens=int(numbers["cache_creation_tokens"]),
        output_tokens=int(numbers["output_tokens"]),
        cost_usd=numbers["cost_usd"],
        turns=int(numbers["turns"]),
    )


def _at(fields: Mapping[str, object], path: tuple[str, ...]) -> object:
    """The value at `path`; 0 when it is absent, as numbers are that a program does not keep."""
    value: object = fields
    for name in path:
        if not isinstance(value, dict):
            return None
        if name not in value:
            return 0
        value = value[name]
    return value


def _number(value: object) -> float | None:
    """An amount that can be counted; None for anything else, NaN included, which Python's JSON lets in."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_COUNT:
        return None
    return float(value)


def _question(fields: Mapping[str, object]) -> str:
    """What the agent asks: the field `question`, or a final message that is nothing but `{"question": ...}`.

    Claude Code's own fields cannot be written by the model, its final message can.
    """
    asked = fields.get("question")
    message = fields.get("result")
    if asked is None and isinstance(message, str):
        said = _parsed(message)
        asked = said.get("question") if isinstance(said, dict) else None
    return asked.strip() if isinstance(asked, str) else ""


def _cut(text: str) -> str:
    return text if len(text) <= MAX_QUOTE_CHARS else f"{text[: MAX_QUOTE_CHARS - 1].rstrip()}…"
