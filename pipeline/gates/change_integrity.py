"""Review: whether the change weakens its own checks is not looked at by this version."""

from pipeline.gates.look import Gate, Look
from pipeline.model import GateResult, NotApplicable
from pipeline.stages import Stage


async def ask(_look: Look) -> GateResult:
    """Not applicable, always: nothing is looked at and nothing is held up."""
    return NotApplicable("Nobody looks for weakened checks yet: this version of Orch has no integrity gate.")


GATE = Gate(
    name="change_integrity",
    stage=Stage.REVIEW,
    ask=ask,
    asked_again_by="nothing: it never waits",
)
