"""Architecture: at least one decision record says what was decided and where that decision stands."""

import re
from pathlib import PurePosixPath

from pipeline.artifacts import FrontMatter, Unreadable, has_front_matter, read_front_matter
from pipeline.gates.look import Gate, Look
from pipeline.gates.reading import files, read
from pipeline.model import Fail, GateResult, Pass
from pipeline.stages import Stage

FOLDER = "06-adr"
NEEDED = ("status", "decision")
_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)


async def ask(look: Look) -> GateResult:
    """Green when one record has status and decision, in its front matter or under headings of these names."""
    folder = PurePosixPath(look.item.artifacts, FOLDER)
    names = [
        path.name
        for path in map(PurePosixPath, await files(look, FOLDER))
        if path.parent == folder and path.suffix == ".md"
    ]
    if not names:
        return Fail(f"There is no decision record: {FOLDER}/ has no .md file on the branch.", commit=look.tip)
    problems = {name: _problem(await read(look, f"{FOLDER}/{name}") or "") for name in names}
    recorded = [name for name, problem in problems.items() if problem is None]
    if recorded:
        return Pass(f"The decision is recorded in {', '.join(recorded)}.", commit=look.tip)
    told = "; ".join(f"{FOLDER}/{name} {problem}" for name, problem in problems.items())
    return Fail(f"No decision record is complete: {told}.", commit=look.tip)


def _problem(text: str) -> str | None:
    """What a record lacks, None when it is complete."""
    artifact = read_front_matter(text) if has_front_matter(text) else FrontMatter({}, text)
    if isinstance(artifact, Unreadable):
        return f"cannot be read: {artifact}"
    missing = [name for name in NEEDED if not artifact.text(name) and not _section(artifact.body, name)]
    return f"has no {' and no '.join(missing)}" if missing else None


def _section(body: str, title: str) -> str:
    """The text under the heading `title`, up to the next heading of its level or above; comments are not text."""
    level, found = 0, []
    for line in _COMMENT.sub("", body).splitlines():
        heading = _HEADING.match(line)
        if heading is None:
            if level:
                found.append(line)
        elif level and len(heading[1]) <= level:
            break
        elif heading[2].rstrip(":").casefold() == title:
            level = len(heading[1])
    return "\n".join(found).strip()


GATE = Gate(
    name="architecture_recorded",
    stage=Stage.ARCHITECTURE,
    ask=ask,
    asked_again_by="the architect's next commit",
)
