"""Staging: the project's own check of the stand is content."""

from pipeline.errors import CouldNotRun
from pipeline.gates.look import Gate, Look
from pipeline.gates.reading import short, validated
from pipeline.model import Fail, GateResult, HookEnd, NotApplicable, Pass
from pipeline.stages import Stage


async def ask(look: Look) -> GateResult:
    """Green when the staging check exits 0. A check that could not run says nothing: `CouldNotRun`."""
    if not look.project.staging_check:
        return NotApplicable("The project has no staging check.")
    commit = validated(look)
    run = await look.stands.check(commit)
    if run.end is HookEnd.COULD_NOT_RUN:
        raise CouldNotRun(f"The staging check could not run: {run.sentence} Its log is {run.log}.")
    if run.end is HookEnd.REFUSED:
        return Fail(f"The staging check of {short(commit)} failed: {run.sentence}", commit=commit, output=run.output)
    return Pass(f"The staging check of {short(commit)} is content.", commit=commit)


GATE = Gate(name="staging_healthy", stage=Stage.DEPLOY_STAGING, ask=ask, asked_again_by="the next run of the stage")
