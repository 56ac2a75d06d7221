"""Deploy: the hook has ended well, and production says that it runs the landed commit."""

from pipeline.errors import CouldNotRun
from pipeline.gates.look import Gate, Look
from pipeline.gates.reading import short
from pipeline.model import Fail, GateResult, Health, Hook, HookEnd, NotApplicable, Pass, Stand
from pipeline.stages import Stage


async def ask(look: Look) -> GateResult:
    """Green when production is healthy with the landed commit soon enough after a hook that ended well.

    Raises `CouldNotRun` when nothing has landed or no deploy is on record.
    """
    if not look.project.deploy_hook:
        return NotApplicable("The project has no deploy hook: it is done when its change has landed.")
    commit = look.item.landed
    if commit is None:
        raise CouldNotRun(f"{look.item.key} has not landed: there is nothing to verify.")
    ran = await look.stands.hook(Hook.DEPLOY, commit)
    if ran is None:
        raise CouldNotRun(f"No deploy of {short(commit)} is on record; run the stage again.")
    if ran.end is not HookEnd.DONE:
        return Fail(f"The deploy of {short(commit)} failed: {ran.sentence}", commit=commit, output=ran.output)
    seen = await look.stands.probe(Stand.PRODUCTION, commit, within_s=look.project.verify_within_s)
    if seen.health is Health.HEALTHY and seen.revision == commit:
        return Pass(f"Production is healthy with {short(commit)}.", commit=commit)
    if seen.health is Health.HEALTHY:
        runs = short(seen.revision) if seen.revision else "a revision that it does not tell"
        return Fail(f"Production runs {runs} after the deploy of {short(commit)}.", commit=commit)
    return Fail(f"Production is {seen.health} after the deploy of {short(commit)}: {seen.sentence}", commit=commit)


GATE = Gate(name="deploy_verified", stage=Stage.DEPLOY, ask=ask, asked_again_by="the end of the deploy")
