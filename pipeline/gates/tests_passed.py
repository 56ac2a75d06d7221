"""Testing: the tester's report and Orch's own run of the project's tests both say that the change works."""

from pipeline.gates.look import Gate, Look
from pipeline.gates.reading import Verdict, quote, short, verdict
from pipeline.model import Fail, GateResult, Pass
from pipeline.stages import Stage

FILE = "11-test-report.md"
PASSED = "passed"
FAILED = "failed"


async def ask(look: Look) -> GateResult:
    """Green when the report passes the head and the tests pass on the tip.

    The tests are not run for a report that is red already: they could not turn the answer.
    """
    report = await verdict(look, FILE, (PASSED, FAILED))
    if not isinstance(report, Verdict):
        return report
    if report.word == FAILED:
        reason = quote(report.body) or "without giving a reason."
        return Fail(
            f"The tester reports a failure of {short(look.head)}: {reason}", commit=look.head, report=report.body
        )
    run = await look.test(look.tip)
    if not run.passed:
        return Fail(
            f"The test report says passed, but Orch's own test run is red: {run.sentence}",
            commit=look.head,
            failing=run.failing,
        )
    return Pass(
        f"The test report passes {short(look.head)} and Orch's own test run is green: {run.sentence}", commit=look.head
    )


GATE = Gate(
    name="tests_passed",
    stage=Stage.TESTING,
    ask=ask,
    asked_again_by="the tester's next commit",
)
