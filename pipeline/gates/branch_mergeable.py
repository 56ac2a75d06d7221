"""Staging: the branch, put on top of the current default branch, passed the tests as that combined tree."""

from pipeline.errors import CouldNotRun
from pipeline.gates.look import Gate, Look
from pipeline.gates.reading import short
from pipeline.model import Fail, GateResult, MergeAttempt, MergeEnd, Pass, Pending, WaitKind
from pipeline.stages import Stage


async def ask(look: Look) -> GateResult:
    """What the merge gate found in this run. Raises `CouldNotRun` when it claims success without naming a commit."""
    if look.merge is None:
        return Pending("The merge gate has not run yet.", WaitKind.MERGE_TURN)
    attempt = look.merge
    match attempt.end:
        case MergeEnd.VALIDATED:
            return _validated(look, attempt)
        case MergeEnd.CONFLICT:
            names = ", ".join(attempt.files) or "files that git does not name"
            return Fail(f"The branch conflicts with {look.project.default_branch} in {names}.", files=attempt.files)
        case MergeEnd.RED:
            sentence = attempt.tests.sentence if attempt.tests else attempt.sentence
            failing = attempt.tests.failing if attempt.tests else ()
            return Fail(
                f"On top of {look.project.default_branch} the tests are red: {sentence}",
                commit=attempt.commit,
                failing=failing,
            )
        case MergeEnd.BUSY:
            return Pending(attempt.sentence, WaitKind.MERGE_TURN)


def _validated(look: Look, attempt: MergeAttempt) -> GateResult:
    if attempt.commit is None or attempt.base is None:
        raise CouldNotRun(
            f"The merge gate says that {look.item.key} may land but names no commit; run the stage again."
        )
    return Pass(
        f"{short(attempt.commit)} on top of {look.project.default_branch} ({short(attempt.base)}) is green.",
        commit=attempt.commit,
    )


GATE = Gate(
    name="branch_mergeable",
    stage=Stage.DEPLOY_STAGING,
    ask=ask,
    asked_again_by="the item's turn in the merge queue",
)
