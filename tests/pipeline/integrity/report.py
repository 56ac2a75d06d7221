"""Writes the corpus's tables into docs/change-integrity.md: `python -m tests.pipeline.integrity.report`."""

from collections import Counter
from pathlib import Path

from tests.pipeline.integrity.cases import Case, load

PAGE = Path(__file__).parents[3] / "docs" / "change-integrity.md"
BEGIN, END = "<!-- corpus -->", "<!-- /corpus -->"
HEADINGS = {
    "hit": "Seen",
    "miss": "Known misses",
    "false alarm": "Known false alarms",
    "quiet": "Rightly quiet",
}


def tables(cases: tuple[Case, ...]) -> str:
    """A count of outcomes and one table for each."""
    counts = Counter(case.outcome for case in cases)
    summary = ["| diffs | " + " | ".join(HEADINGS.values()).lower() + " |", "|" + "---|" * (len(HEADINGS) + 1)]
    summary.append(f"| {len(cases)} | " + " | ".join(str(counts[outcome]) for outcome in HEADINGS) + " |")
    parts = ["\n".join(summary)]
    for outcome, heading in HEADINGS.items():
        rows = [_row(case) for case in cases if case.outcome == outcome]
        parts.append("\n".join([f"### {heading}", "", "| change | what is said |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _row(case: Case) -> str:
    said = "<br>".join(f"`{text}`" for text in case.found) or "nothing"
    return f"| {case.about} | {said} |"


def with_tables(page: str, cases: tuple[Case, ...]) -> str:
    """The page with what stands between the markers replaced."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables(cases)}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(), load()))
