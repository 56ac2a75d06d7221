"""Staging: which revision runs there is not looked at by this version."""

from pipeline.gates.look import Gate, Look
from pipeline.model import GateResult, NotApplicable
from pipeline.stages import Stage


async def ask(_look: Look) -> GateResult:
    """Not applicable, always: nothing is looked at and nothing is held up."""
    return NotApplicable("The revision on staging is not looked at yet: this version of Orch has no freshness gate.")


GATE = Gate(
    name="staging_image_fresh",
    stage=Stage.DEPLOY_STAGING,
    ask=ask,
    asked_again_by="nothing: it never waits",
)
