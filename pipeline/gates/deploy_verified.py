"""Deploy: what serves production is not looked at by this version; an item ends when its change has landed."""

from pipeline.gates.look import Gate, Look
from pipeline.model import GateResult, NotApplicable
from pipeline.stages import Stage


async def ask(_look: Look) -> GateResult:
    """Not applicable, always: nothing is looked at and nothing is held up."""
    return NotApplicable(
        "Production is not verified yet: this version of Orch lands the change and runs no deploy hook."
    )


GATE = Gate(
    name="deploy_verified",
    stage=Stage.DEPLOY,
    ask=ask,
    asked_again_by="nothing: it never waits",
)
