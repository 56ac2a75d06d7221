"""Start: an item enters the pipeline only with a title and a description that an analyst can work with."""

from pipeline.gates.look import Gate, Look
from pipeline.model import Fail, GateResult, Pass

MIN_TITLE_CHARS = 3


async def ask(look: Look) -> GateResult:
    """Green when title and description are long enough; the sentence names everything that is missing."""
    title, description = _visible(look.item.title), _visible(look.description)
    missing = []
    if len(title) < MIN_TITLE_CHARS:
        missing.append(f"the title has {len(title)} of at least {MIN_TITLE_CHARS} characters")
    if len(description) < look.min_description_chars:
        missing.append(f"the description has {len(description)} of at least {look.min_description_chars} characters")
    if missing:
        return Fail(f"The issue does not say enough: {' and '.join(missing)}.")
    return Pass("The issue has a title and a description.")


def _visible(text: str) -> str:
    """The text with single blanks and without characters that nobody sees, such as zero-width spaces."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


GATE = Gate(
    name="intake_complete",
    stage=None,
    ask=ask,
    asked_again_by="the issue is moved to To Analyse again",
)
