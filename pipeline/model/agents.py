"""What an agent is told, and what became of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.stages import Role


@dataclass(frozen=True, slots=True)
class Usage:
    """What one agent run consumed. `full_input` is what the model read; the cached part is told apart."""

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    turns: int = 0

    @property
    def full_input(self) -> int:
        """All input tokens, cached ones included."""
        return self.input_tokens + self.cache_read_tokens + self.cache_creation_tokens


class AgentEnd(StrEnum):
    """How an agent run ended."""

    FINISHED = "finished"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class Room:
    """What a command may touch when it is confined: everything else is read-only, and what is Orch's is not there.

    `home` and the folders `writable` are its own, but for the files `fixed` in them. `readable` shows folders or files
    of the hidden ones, `empty` hides folders inside of these, and `instead` shows the first of each pair, writable, at
    the place of the second.
    """

    home: Path
    writable: tuple[Path, ...] = ()
    fixed: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    empty: tuple[Path, ...] = ()
    instead: tuple[tuple[Path, Path], ...] = ()
    network: bool = False


Confine = Callable[[Sequence[str], Path], Sequence[str]]
"""Of a command, and the file with its prompt, the arguments of a sandbox that come before it; none: not confined."""


def _unconfined(_command: Sequence[str], _prompt: Path) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class AgentJob:
    """One agent run to be carried out. `environment` is everything the agent will see, nothing is inherited.

    0 turns or dollars mean no limit.
    """

    role: Role
    work_item: str
    worktree: Path
    prompt: str
    log: Path
    timeout_s: float
    idle_timeout_s: float
    environment: Mapping[str, str]
    confine: Confine = _unconfined
    model: str = ""
    effort: str = ""
    max_turns: int = 0
    max_budget_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class AgentOutcome:
    """What became of an agent run. `question` is set when the agent asks a person instead of finishing."""

    end: AgentEnd
    sentence: str
    exit_code: int | None
    usage: Usage
    duration_s: float
    question: str = ""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """Tells a process apart for good: a process group id means nothing on another host or after a reboot."""

    host: str
    boot: str
    pgid: int
    started: float
