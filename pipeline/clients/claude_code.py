"""The command line of Claude Code without a person in front of it, from its public documentation (not measured).

The prompt is on standard input. `stream-json` needs `--verbose`; without a stream an agent that works for long looks
like one that hangs. There is no documented option for effort: who has one adds it to the command.
"""

from collections.abc import Sequence
from dataclasses import dataclass

PROGRAM = "claude"
TOOLS = ("Bash", "Edit", "Glob", "Grep", "Read", "Write")
"""Tools that are allowed without asking. Nobody is there to be asked, and what confines them is the sandbox."""


@dataclass(frozen=True, slots=True)
class Options:
    """What Claude Code is told beyond model, turns and budget; empty values leave their option out."""

    permission_mode: str = "acceptEdits"
    allowed_tools: Sequence[str] = TOOLS
    disallowed_tools: Sequence[str] = ()
    append_system_prompt: str = ""


def command_line(program: Sequence[str], options: Options) -> tuple[str, ...]:
    """The whole argument list, with the placeholders that `CommandAgent` fills or leaves out. Pure.

    `program` is the program with arguments of one's own, which come last and so win.
    """
    first, *own = program
    given = {
        "--permission-mode": options.permission_mode,
        "--allowedTools": ",".join(options.allowed_tools),
        "--disallowedTools": ",".join(options.disallowed_tools),
        "--append-system-prompt": options.append_system_prompt,
    }
    return (
        *(first, "-p", "--output-format=stream-json", "--verbose"),
        *("--model={model}", "--max-turns={max_turns}", "--max-budget-usd={max_budget_usd}"),
        *(f"{option}={value}" for option, value in given.items() if value),
        *own,
    )
