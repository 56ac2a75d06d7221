"""Runs a coding agent: any command that is given its prompt and works in the current directory.

What it consumed, and whether it asks a person something, is read from its output, see `agent_stream.py`; from a program
that says nothing of the kind, the exit code and what it left in the folder are all there is.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.clients import process
from pipeline.clients.agent_stream import Said, read_stream
from pipeline.clients.process import Ended, ProcessEnd
from pipeline.errors import CouldNotRun
from pipeline.model import AgentEnd, AgentJob, AgentOutcome, ProcessIdentity

MAX_QUOTE_CHARS = 600
TAIL_BYTES = 8_192
PROMPT_FILE = "{prompt_file}"
KINDS = {
    "error_max_turns": "stopped at its limit of turns",
    "error_max_budget_usd": "stopped at its budget",
    "error_during_execution": "failed while it worked",
}
"""What the subtypes of a result line mean."""


class CommandAgent:
    """Fills the port `Agent` with a command.

    In its arguments `{model}`, `{effort}`, `{max_turns}` and `{max_budget_usd}` stand for the job's, and
    `{prompt_file}` for the path of the prompt, which otherwise is on standard input. An argument whose value is not set
    is left out, so write such an option as one argument: `--model={model}`. With `tells_result` an agent that ends
    without a result line has failed, whatever its exit code.
    """

    def __init__(self, command: tuple[str, ...], *, tells_result: bool = False) -> None:
        self._command = command
        self._tells_result = tells_result

    async def run(self, job: AgentJob, *, started: Callable[[ProcessIdentity], None]) -> AgentOutcome:
        """Carry out one job. Its prompt is kept next to the log, as `<log's stem>.prompt.md`. Not idempotent.

        Raises `CouldNotRun` when the command cannot be started. Cancelling ends the whole process group.
        """
        prompt = job.log.with_suffix(".prompt.md")
        command = self._filled(job, prompt)
        await asyncio.to_thread(_write, prompt, job.prompt)
        ended = await process.run(
            command,
            cwd=job.worktree,
            environment=job.environment,
            log=job.log,
            stdin=None if any(PROMPT_FILE in argument for argument in self._command) else prompt,
            timeout_s=job.timeout_s,
            idle_timeout_s=job.idle_timeout_s,
            walls=await asyncio.to_thread(job.confine, command, prompt),
            started=started,
        )
        said = await asyncio.to_thread(_read, job.log)
        if self._tells_result and not said.complete:
            said = replace(said, is_error=True, kind="no result line")
        return await asyncio.to_thread(_outcome, job, ended, said)

    def _filled(self, job: AgentJob, prompt: Path) -> list[str]:
        values = {
            "{model}": job.model,
            "{effort}": job.effort,
            "{max_turns}": str(job.max_turns or ""),
            "{max_budget_usd}": f"{job.max_budget_usd:.2f}" if job.max_budget_usd else "",
            PROMPT_FILE: str(prompt),
        }
        if not self._command:
            raise CouldNotRun("There is no command of a coding agent; set ORCH_AGENT_COMMAND or the agent's block.")
        return [_replaced(word, values) for word in self._command if all(values[n] for n in values if n in word)]


def tail(log: Path, limit: int = MAX_QUOTE_CHARS) -> str:
    """The last lines of a log as one line of at most `limit` characters, blank when it says nothing."""
    with log.open("rb") as source:
        source.seek(max(0, log.stat().st_size - TAIL_BYTES))
        text = source.read().decode(errors="replace")
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return flat if len(flat) <= limit else f"…{flat[1 - limit :].lstrip()}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _replaced(word: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word


def _read(log: Path) -> Said:
    return read_stream(log) if log.exists() else Said()


def _outcome(job: AgentJob, ended: Ended, said: Said) -> AgentOutcome:
    end = _end(ended, said)
    return AgentOutcome(
        end=end,
        sentence=_sentence(job, ended, end, said) + "".join(_remarks(job, said)),
        exit_code=ended.exit_code,
        usage=said.usage,
        duration_s=ended.duration_s,
        question=said.question if end is AgentEnd.FINISHED else "",
    )


def _end(ended: Ended, said: Said) -> AgentEnd:
    match ended.reason:
        case ProcessEnd.TIMED_OUT:
            return AgentEnd.TIMED_OUT
        case ProcessEnd.IDLE:
            return AgentEnd.IDLE
        case ProcessEnd.FINISHED:
            # Claude Code can end with code 0 and say only in its result that it failed.
            return AgentEnd.FAILED if ended.exit_code != 0 or said.is_error else AgentEnd.FINISHED


def _sentence(job: AgentJob, ended: Ended, end: AgentEnd, said: Said) -> str:
    who = f"The {job.role}'s agent"
    match end:
        case AgentEnd.TIMED_OUT:
            return f"{who} was ended after its time limit of {job.timeout_s:g} s."
        case AgentEnd.IDLE:
            return f"{who} was ended after it had written nothing for {job.idle_timeout_s:g} s."
        case AgentEnd.FAILED:
            how = f"ended with exit code {ended.exit_code}" if ended.exit_code != 0 else "reported an error"
            kind = f" ({KINDS.get(said.kind, said.kind)})" if said.kind else ""
            last = tail(job.log) if job.log.exists() else ""
            return f"{who} {how}{kind}. " + (f"Last words: {last}" if last else "It left no word in its log.")
        case AgentEnd.FINISHED if said.question:
            return f"{who} asks: {_cut(said.question)}"
        case AgentEnd.FINISHED:
            return f"{who} finished."


def _remarks(job: AgentJob, said: Said) -> list[str]:
    """What a person who pays for it, or wonders why it did not get on, wants to know as well."""
    remarks = []
    if said.refused:
        tools = ", ".join(f"{tool} ({times})" if times > 1 else tool for tool, times in said.refused.items())
        remarks.append(f" It was refused {tools}: look at the agent's permissions.")
    if not said.complete and said.usage.turns:
        remarks.append(" It ended before it told its cost; its tokens are those of the messages that were seen.")
    if job.max_budget_usd and said.usage.cost_usd > job.max_budget_usd:
        remarks.append(f" It cost ${said.usage.cost_usd:.2f}, more than the ${job.max_budget_usd:.2f} it had.")
    if said.oddities:
        remarks.append(f" Counted as nothing, because they are no amounts: {', '.join(said.oddities)}.")
    return remarks


def _cut(text: str) -> str:
    return text if len(text) <= MAX_QUOTE_CHARS else f"{text[: MAX_QUOTE_CHARS - 1].rstrip()}…"
