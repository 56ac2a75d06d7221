"""Staging: the validated commit is covered by tests no less than what has landed before."""

from pipeline.errors import CouldNotRun
from pipeline.gates.look import Gate, Look
from pipeline.gates.reading import short, validated
from pipeline.model import Fail, GateResult, NotApplicable, Pass
from pipeline.stages import Stage


async def ask(look: Look) -> GateResult:
    """Green unless coverage fell below the project's baseline by more than its tolerance.

    Raises `CouldNotRun` when the commit was not measured.
    """
    if not look.project.coverage_command:
        return NotApplicable("The project measures no coverage.")
    commit = validated(look)
    run = await look.stands.coverage(commit)
    if run is None:
        raise CouldNotRun(f"The coverage of {short(commit)} was not measured; run the stage again.")
    if run.percent is None:
        return Fail(f"The coverage of {short(commit)} cannot be told: {run.sentence}", commit=commit)
    baseline = await look.stands.baseline()
    if baseline is None:
        return Pass(f"Coverage is {run.percent:.2f} %, the first that is measured.", commit=commit, percent=run.percent)
    least = baseline.percent - look.project.coverage_tolerance
    evidence = {"percent": run.percent, "baseline": baseline.percent}
    if run.percent < least:
        return Fail(
            f"Coverage falls from {baseline.percent:.2f} % ({short(baseline.commit)}) to {run.percent:.2f} %; "
            f"at least {least:.2f} % is needed.",
            commit=commit,
            **evidence,
        )
    return Pass(f"Coverage is {run.percent:.2f} %, at least {least:.2f} % is needed.", commit=commit, **evidence)


GATE = Gate(name="coverage_held", stage=Stage.DEPLOY_STAGING, ask=ask, asked_again_by="a change of the branch")
