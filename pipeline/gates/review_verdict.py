"""Review: the reviewer approved exactly this head."""

from pipeline.gates.look import Gate, Look
from pipeline.gates.reading import Verdict, quote, short, verdict
from pipeline.model import Fail, GateResult, Pass
from pipeline.stages import Stage

FILE = "10-review.md"
APPROVED = "approved"
REQUEST_CHANGES = "request_changes"


async def ask(look: Look) -> GateResult:
    """Green when the review approves the head. A review of another commit is red: this one was asked for."""
    found = await verdict(look, FILE, (APPROVED, REQUEST_CHANGES))
    if not isinstance(found, Verdict):
        return found
    if found.word == APPROVED:
        return Pass(f"The reviewer approved {short(look.head)}.", commit=look.head)
    reason = quote(found.body) or "without giving a reason."
    return Fail(f"The reviewer requests changes to {short(look.head)}: {reason}", commit=look.head, review=found.body)


GATE = Gate(
    name="review_verdict",
    stage=Stage.REVIEW,
    ask=ask,
    asked_again_by="the reviewer's next commit",
)
