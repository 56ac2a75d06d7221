"""Staging: no check is run there by this version."""

from pipeline.gates.look import Gate, Look
from pipeline.model import GateResult, NotApplicable
from pipeline.stages import Stage


async def ask(_look: Look) -> GateResult:
    """Not applicable, always: nothing is looked at and nothing is held up."""
    return NotApplicable("Staging is not checked yet: this version of Orch has no staging check.")


GATE = Gate(
    name="staging_healthy",
    stage=Stage.DEPLOY_STAGING,
    ask=ask,
    asked_again_by="nothing: it never waits",
)
