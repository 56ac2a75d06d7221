"""The corpus: real output of git, with what a careful reviewer wants to see in it and what the analysis says.

`corpus/cases.toml` lists `path:line kind` for each. `found` stands there only where it differs from `wanted`: a known
miss or a known false alarm. A diff is made by `git diff` with the options of docs/change-integrity.md.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from pipeline.integrity import analyse

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True)
class Case:
    """One diff of the corpus."""

    name: str
    about: str
    wanted: tuple[str, ...]
    found: tuple[str, ...]

    @property
    def diff(self) -> str:
        return (CORPUS / f"{self.name}.diff").read_bytes().decode()

    @property
    def outcome(self) -> str:
        if self.wanted == self.found:
            return "hit" if self.wanted else "quiet"
        return "miss" if set(self.wanted) - set(self.found) else "false alarm"

    def said(self) -> tuple[str, ...]:
        return tuple(f"{finding.path}:{finding.line} {finding.kind}" for finding in analyse(self.diff))


def load() -> tuple[Case, ...]:
    """All cases, in the order of the table."""
    rows = tomllib.loads((CORPUS / "cases.toml").read_text())["case"]
    return tuple(
        Case(row["diff"], row["about"], tuple(row["wanted"]), tuple(row.get("found", row["wanted"]))) for row in rows
    )
