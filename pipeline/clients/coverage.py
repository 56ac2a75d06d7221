"""Measures a project's coverage on exactly one commit, in a clean checkout, and reads it as Cobertura XML."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from xml.etree.ElementTree import Element

from pipeline.clients.checkout import Checkout, Checkouts, UnreadableFile
from pipeline.clients.logs import end_of, last_line, readable
from pipeline.clients.process import Ended, ProcessEnd
from pipeline.clients.xml_files import read_xml
from pipeline.model import CoverageRun

READ_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class CoverageRunner:
    """Runs one project's coverage command, which writes the Cobertura XML `xml` (a path in the checkout)."""

    checkouts: Checkouts
    command: tuple[str, ...]
    xml: str
    timeout_s: float

    def run(self, commit: str, *, log: Path) -> CoverageRun:
        """Measure `commit`; `percent` is None, and the sentence says why, when the command is red or its XML unfit.

        A report that the commit itself contains does not count. Raises `CouldNotRun` when the command cannot be
        started. The log is kept, the checkout is not. A repetition is a run of its own and replaces the log.
        """
        with self.checkouts.of(commit) as checkout:
            checkout.forget(self.xml)
            ended = checkout.run(self.command, log=log, timeout_s=self.timeout_s)
            percent, said = self._judged(checkout, ended, log)
        return CoverageRun(commit, percent, said, ended.duration_s, log)

    def _judged(self, checkout: Checkout, ended: Ended, log: Path) -> tuple[float | None, str]:
        if ended.reason is not ProcessEnd.FINISHED:
            return None, f"The coverage command did not finish within {self.timeout_s:g} s"
        if ended.exit_code != 0:
            last = last_line(readable(end_of(log, READ_BYTES)))
            return None, f"The coverage command failed with exit code {ended.exit_code}{f': {last}' if last else ''}"
        try:
            return covered(read_xml(checkout, self.xml))
        except UnreadableFile as error:
            return None, f"The coverage command passed, but its report tells nothing: {error}"


def covered(root: Element) -> tuple[float, str]:
    """Percent of lines that a Cobertura report says are covered, with a sentence. Pure.

    The counts of lines are preferred to `line-rate`, which writers round. Raises `UnreadableFile` for a report that
    cannot be right: no lines at all, or a rate outside 0 to 1.
    """
    if root.tag != "coverage":
        raise UnreadableFile(f"it is no Cobertura report (it begins with <{root.tag[:40]}>)")
    counts = _count(root, "lines-covered"), _count(root, "lines-valid")
    if None not in counts:
        return _of_counts(counts[0] or 0, counts[1] or 0)
    if next(root.iter("line"), None) is None:
        raise UnreadableFile("it names no lines")
    percent = _percent(root.get("line-rate", ""))
    return percent, f"{percent:.2f}% of the lines are covered"


def _of_counts(hit: int, valid: int) -> tuple[float, str]:
    if valid <= 0:
        raise UnreadableFile("it names no lines")
    if not 0 <= hit <= valid:
        raise UnreadableFile(f"it says that {hit} of {valid} lines are covered")
    percent = float(Fraction(100 * hit, valid))
    return percent, f"{percent:.2f}% of the lines are covered ({hit} of {valid})"


def _count(root: Element, name: str) -> int | None:
    try:
        return int(root.get(name, ""))
    except ValueError:
        return None


def _percent(rate: str) -> float:
    try:
        told = Decimal(rate)
    except InvalidOperation:
        raise UnreadableFile("it has neither counts of lines nor a line rate") from None
    if not (told.is_finite() and 0 <= told <= 1):
        raise UnreadableFile(f"it gives a line rate of {rate[:40]}, which is not between 0 and 1")
    return float(told * 100)
