"""Staging: what runs there was built from exactly the validated commit."""

from pipeline.errors import CouldNotRun
from pipeline.gates.look import Gate, Look
from pipeline.gates.reading import short, validated
from pipeline.model import Fail, GateResult, Health, Hook, HookEnd, NotApplicable, Pass, Stand
from pipeline.stages import Stage


async def ask(look: Look) -> GateResult:
    """Green when staging says that it runs the validated commit.

    Red when it could not be built from it or does not come up with it. Another revision after a deploy that claims
    success is the stand's fault, not the change's: `CouldNotRun`, and no attempt is spent.
    """
    if not look.project.staging_deploy:
        return NotApplicable("The project has no staging.")
    commit = validated(look)
    ran = await look.stands.hook(Hook.STAGE, commit)
    if ran is not None and ran.end is HookEnd.REFUSED:
        return Fail(f"Staging cannot be built from {short(commit)}: {ran.sentence}", commit=commit, output=ran.output)
    if not look.freshness:
        return NotApplicable("Nobody looks which revision staging runs: ORCH_IMAGE_FRESHNESS_* excludes it.")
    seen = await look.stands.probe(Stand.STAGING, commit, within_s=look.project.verify_within_s)
    if seen.health is Health.DEGRADED:
        return Fail(f"Staging does not come up with {short(commit)}: {seen.sentence}", commit=commit)
    if seen.revision is None:
        raise CouldNotRun(f"Nobody can tell which revision staging runs: {seen.sentence} Correct `staging_probe`.")
    if seen.revision != commit:
        raise CouldNotRun(
            f"Staging runs {short(seen.revision)} although {short(commit)} was deployed to it. Look at the stand."
        )
    return Pass(f"Staging runs {short(commit)}.", commit=commit)


GATE = Gate(name="staging_image_fresh", stage=Stage.DEPLOY_STAGING, ask=ask, asked_again_by="the next staging deploy")
