"""Staging: coverage is not compared by this version."""

from pipeline.gates.look import Gate, Look
from pipeline.model import GateResult, NotApplicable
from pipeline.stages import Stage


async def ask(_look: Look) -> GateResult:
    """Not applicable, always: nothing is looked at and nothing is held up."""
    return NotApplicable("Coverage is not compared yet: this version of Orch has no coverage gate.")


GATE = Gate(
    name="coverage_held",
    stage=Stage.DEPLOY_STAGING,
    ask=ask,
    asked_again_by="nothing: it never waits",
)
