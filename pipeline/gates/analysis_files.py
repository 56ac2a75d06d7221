"""Analysis: requirements, acceptance criteria and test plan are on the branch."""

from pipeline.gates.look import Gate, Look
from pipeline.gates.reading import read
from pipeline.model import Fail, GateResult, Pass
from pipeline.stages import Stage

FILES = ("01-brd.md", "02-acceptance.md", "03-test-plan.md")


async def ask(look: Look) -> GateResult:
    """Green when the three files are at the branch's tip and none is blank."""
    problems = []
    for name in FILES:
        text = await read(look, name)
        if text is None:
            problems.append(f"{name} is missing")
        elif not text.strip():
            problems.append(f"{name} is empty")
    if problems:
        return Fail(f"The analysis is not complete: {', '.join(problems)}.", commit=look.tip)
    return Pass(f"{', '.join(FILES)} are on the branch.", commit=look.tip)


GATE = Gate(
    name="analysis_files",
    stage=Stage.ANALYSIS,
    ask=ask,
    asked_again_by="the analyst's next commit",
)
