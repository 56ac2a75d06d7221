"""What several gates share: reading the branch without blocking the event loop, and verdicts bound to a commit."""

import asyncio
import re
from dataclasses import dataclass

from pipeline.artifacts import FrontMatter, Unreadable, read_front_matter
from pipeline.errors import CouldNotRun
from pipeline.gates.look import Look
from pipeline.model import Fail, GateResult, Pending, WaitKind

MAX_QUOTE_CHARS = 400
"""How much of an artifact's own words a sentence quotes."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict that is about the look's head, with the text of its artifact."""

    word: str
    body: str


async def read(look: Look, name: str) -> str | None:
    """The artifact `name` of the item at the branch's tip, None when it is not there."""
    return await asyncio.to_thread(look.workspace.read, look.tip, f"{look.item.artifacts}/{name}")


async def files(look: Look, folder: str) -> tuple[str, ...]:
    """Paths of all files at the branch's tip below `folder` of the item's artifacts."""
    return await asyncio.to_thread(look.workspace.files, look.tip, f"{look.item.artifacts}/{folder}")


async def verdict(look: Look, name: str, words: tuple[str, str]) -> Verdict | GateResult:
    """The verdict in artifact `name`, which must be one of `words` and about the head, or the answer that it is not.

    One about another commit says nothing of this one: pending, until its role has looked again.
    """
    text = await read(look, name)
    if text is None:
        return Fail(f"{name} is missing on the branch.", commit=look.head)
    artifact = read_front_matter(text)
    if isinstance(artifact, Unreadable):
        return Fail(f"{name} cannot be read: {artifact}.", commit=look.head)
    return _judged(look, name, words, artifact)


def _judged(look: Look, name: str, words: tuple[str, str], artifact: FrontMatter) -> Verdict | GateResult:
    if artifact.verdict not in words:
        found = "has no verdict" if artifact.verdict is None else f"has the unknown verdict {quote(artifact.verdict)!r}"
        return Fail(f"{name} {found}; it must be {' or '.join(words)}.", commit=look.head)
    if artifact.commit is None:
        return Fail(f"{name} does not say which commit it is about.", commit=look.head)
    if not artifact.about(look.head):
        return Pending(
            f"{name} is about another commit: it names {quote(artifact.commit, 40)}, the branch's head is {look.head}.",
            WaitKind.VERDICT,
            commit=look.head,
        )
    return Verdict(artifact.verdict, artifact.body)


def validated(look: Look) -> str:
    """The commit that the merge gate validated. Raises `CouldNotRun` when there is none."""
    if look.item.validated is None:
        raise CouldNotRun(f"No commit of {look.item.key} has been validated; run the stage again.")
    return look.item.validated


def quote(text: str, limit: int = MAX_QUOTE_CHARS) -> str:
    """The beginning of a text as one line of at most `limit` characters, without its Markdown headings."""
    lines = (line.strip() for line in text.splitlines())
    prose = " ".join(line for line in lines if line and not re.match(r"#{1,6}\s", line))
    flat = " ".join(prose.split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1].rstrip()}…"


def short(commit: str) -> str:
    """A commit as people read it."""
    return commit[:12]
