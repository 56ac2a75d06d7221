"""What a check is, and what it answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from deployments.staging_check.staging import Staging


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's answer: one sentence, which for a failed check says what is wrong and what to do next."""

    ok: bool
    sentence: str


Look = Callable[[Staging], Awaitable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `look` may raise instead of answering: that is a failure with the exception's text.

    `within_s` says how many seconds it may take.
    """

    name: str
    look: Look
    within_s: Callable[[Staging], float]


def fine(sentence: str) -> Finding:
    """A check that passed."""
    return Finding(True, sentence)


def wrong(sentence: str) -> Finding:
    """A check that failed."""
    return Finding(False, sentence)
