"""Development: the project's CI, or Orch's own test run where the project chose that, is green for the head."""

from pipeline.gates.look import Gate, Look
from pipeline.gates.reading import short
from pipeline.model import CiState, CiStatus, Fail, GateResult, Pass, Pending, WaitKind
from pipeline.stages import Stage


async def ask(look: Look) -> GateResult:
    """The forge's combined status, or Orch's own test run with `ci = "own"`. Silence is pending, never "no CI"."""
    if look.project.ci == "own":
        return await _own(look)
    commit = look.head
    status = await look.forge.combined_status(look.project, commit)
    if status.state is CiState.NONE and look.tip != look.head:
        # Forges run CI for the commit that was pushed, and what was pushed is the tip. Tip and head differ only in the
        # item's artifacts, so a word about the tip is a word about the same code.
        commit = look.tip
        status = await look.forge.combined_status(look.project, commit)
    return _forge(status, commit)


async def _own(look: Look) -> GateResult:
    run = await look.test(look.head)
    if run.passed:
        return Pass(f"Orch's own test run is green: {run.sentence}", commit=run.commit)
    return Fail(f"Orch's own test run is red: {run.sentence}", commit=run.commit, failing=run.failing)


def _forge(status: CiStatus, commit: str) -> GateResult:
    match status.state:
        case CiState.SUCCESS:
            return Pass(f"CI is green for {short(commit)}.", commit=commit)
        case CiState.FAILURE:
            contexts = ", ".join(status.failing) or "a context that the forge does not name"
            return Fail(f"CI is red for {short(commit)}: {contexts}.", commit=commit, failing=status.failing)
        case CiState.PENDING:
            running = f": {', '.join(status.pending)}" if status.pending else ""
            return Pending(f"CI is still running for {short(commit)}{running}.", WaitKind.CI, commit=commit)
        case CiState.NONE:
            return Pending(f"CI has not said anything about {short(commit)} yet.", WaitKind.CI, commit=commit)


GATE = Gate(
    name="ci_green",
    stage=Stage.DEVELOPMENT,
    ask=ask,
    asked_again_by="a commit status from the forge",
)
