"""What a role is told: one Jinja template a role, filled with facts that are never read as a template themselves.

A project may have its own template of a role on its default branch, `.orch/prompts/<role>.j2`. It can build on ours:
`{% extends "orch/developer.j2" %}`, or on what all of ours share, `{% extends "_base.j2" %}`. Templates run in Jinja's
sandbox: they reach the facts and nothing of Python.

Title, description, feedback and answers were written by other people or by agents. They are shown as data between two
marker lines. The marker is a digest of all of these texts, so that no text can contain it: whoever writes a marker into
an issue changes the issue, and with it the marker.
"""

import hashlib
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    FunctionLoader,
    PrefixLoader,
    StrictUndefined,
    TemplateError,
    TemplateSyntaxError,
)
from jinja2.sandbox import SandboxedEnvironment

from pipeline.errors import CouldNotRun
from pipeline.stages import Role

ANSWER_HEADING = "## The answer to your question"
"""Opens the part of a prompt that is there only when a person has answered a question of the agent."""

PROJECTS_OWN = "the project's own"
_TEMPLATES = Path(__file__).parent
_MARKER_CHARS = 24

_OURS = FileSystemLoader(_TEMPLATES)
_BROKEN = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
"""What a template that is wrong can raise when it is read or filled."""


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


def override_of(role: Role) -> str:
    """Where a project has its own template of a role, as a path in its repository."""
    return f".orch/prompts/{role}.j2"


def render(role: Role, facts: PromptFacts, own: str | None = None, *, of: str = "") -> str:
    """The prompt of one agent run, from the project's `own` template if there is one. Pure: same facts, same text.

    Raises `CouldNotRun` for a role that has no prompt, and for an own template that is wrong, with file and line; `of`
    says there which repository it is from.
    """
    if own is None and not (_TEMPLATES / f"{role}.j2").is_file():
        raise CouldNotRun(f"The role {role} has no prompt, so no agent can work {facts.work_item} in it.")
    try:
        return _filled(role, facts, own)
    except _BROKEN as error:
        if own is None:
            raise
        line = _line(error, override_of(role))
        raise CouldNotRun(
            f"The prompt {override_of(role)} of {of}{f', line {line}' if line else ''}, cannot be used: {error}. "
            f"Correct it there, then `orch retry {facts.work_item}`."
        ) from error


def _environment(role: Role, own: str | None) -> Environment:
    project = FunctionLoader(lambda name: (own or "", override_of(role), None) if name == PROJECTS_OWN else None)
    return SandboxedEnvironment(
        loader=ChoiceLoader([PrefixLoader({"orch": _OURS}), project, _OURS]),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _line(error: Exception, file: str) -> int | None:
    """Where in the project's template it went wrong: Jinja gives its templates' lines to syntax errors and tracebacks."""
    if isinstance(error, TemplateSyntaxError):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == file), None)


def _filled(role: Role, facts: PromptFacts, own: str | None) -> str:
    data = {name: _plain(getattr(facts, name)) for name in ("title", "description", "feedback", "answer")}
    name = f"{role}.j2" if own is None else PROJECTS_OWN
    return (
        _environment(role, own)
        .get_template(name)
        .render(
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
    )


def _marker(texts: Iterable[str]) -> str:
    """A word that none of the texts contains, and that nobody can predict without changing them."""
    digest = hashlib.sha256("\0".join(texts).encode())
    return digest.hexdigest()[:_MARKER_CHARS]


def _plain(text: str) -> str:
    """The text as valid UTF-8 with plain line ends and without control characters, which could hide the fence."""
    clean = text.replace("\r\n", "\n").replace("\r", "\n").encode(errors="replace").decode()
    return "".join(c for c in clean if c in "\n\t" or c.isprintable() or c.isspace()).strip()
