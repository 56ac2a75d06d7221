"""What a role is told: one Jinja template a role, filled with facts that are never read as a template themselves.

Title, description, feedback and answers were written by other people or by agents. They are shown as data between two
marker lines. The marker is a digest of all of these texts, so that no text can contain it: whoever writes a marker into
an issue changes the issue, and with it the marker.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.errors import CouldNotRun
from pipeline.stages import Role

ANSWER_HEADING = "## The answer to your question"
"""Opens the part of a prompt that is there only when a person has answered a question of the agent."""

_TEMPLATES = Path(__file__).parent
_MARKER_CHARS = 24

_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_TEMPLATES),
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701  prompts are plain text, not HTML; what is hostile is fenced instead
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True, slots=True)
class PromptFacts:
    """What a prompt is made of. `head` is the commit that verdicts are about, `base` the default branch's commit.

    `feedback` says why the item came back (empty on a first visit), `answer` what a person answered to a question.
    """

    work_item: str
    title: str
    description: str
    artifacts: str
    head: str
    base: str
    default_branch: str
    feedback: str = ""
    answer: str = ""


def render(role: Role, facts: PromptFacts) -> str:
    """The prompt of one agent run. Pure: the same facts make the same text.

    Raises `CouldNotRun` for a role that has no prompt.
    """
    if not (_TEMPLATES / f"{role}.j2").is_file():
        raise CouldNotRun(f"The role {role} has no prompt, so no agent can work {facts.work_item} in it.")
    data = {name: _plain(getattr(facts, name)) for name in ("title", "description", "feedback", "answer")}
    return _ENVIRONMENT.get_template(f"{role}.j2").render(
        role=role.value,
        work_item=facts.work_item,
        artifacts=facts.artifacts,
        head=facts.head,
        base=facts.base,
        default_branch=facts.default_branch,
        answer_heading=ANSWER_HEADING,
        marker=_marker(data.values()),
        **data,
    )


def _marker(texts: Iterable[str]) -> str:
    """A word that none of the texts contains, and that nobody can predict without changing them."""
    digest = hashlib.sha256("\0".join(texts).encode())
    return digest.hexdigest()[:_MARKER_CHARS]


def _plain(text: str) -> str:
    """The text as valid UTF-8 with plain line ends and without control characters, which could hide the fence."""
    clean = text.replace("\r\n", "\n").replace("\r", "\n").encode(errors="replace").decode()
    return "".join(c for c in clean if c in "\n\t" or c.isprintable() or c.isspace()).strip()
