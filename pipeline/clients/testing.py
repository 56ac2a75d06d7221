"""Runs a project's test command on exactly one commit, in a clean checkout that is thrown away afterwards."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.clients.checkout import Checkout, Checkouts, UnreadableFile
from pipeline.clients.logs import end_of
from pipeline.clients.process import Ended, ProcessEnd
from pipeline.clients.testing_output import Counted, count_junit, count_tests, sentence
from pipeline.clients.xml_files import read_xml
from pipeline.model import TestRun

READ_BYTES = 2_000_000
"""How much of a log's end is searched for the test runner's summary."""


@dataclass(frozen=True, slots=True)
class TestRunner:
    """Runs one project's tests. `junit_xml` is the report that they write, as a path in the checkout; empty: none."""

    __test__ = False

    checkouts: Checkouts
    command: tuple[str, ...]
    timeout_s: float
    junit_xml: str = ""

    def run(self, commit: str, *, log: Path) -> TestRun:
        """Run the test command; the exit code is the verdict and taking longer than `timeout_s` is red.

        Raises `CouldNotRun` when the command cannot be started. The log is kept, the checkout is not. A repetition is
        a run of its own and replaces the log.
        """
        with self.checkouts.of(commit) as checkout:
            if self.junit_xml:
                checkout.forget(self.junit_xml)
            ended = checkout.run(self.command, log=log, timeout_s=self.timeout_s)
            return self._verdict(commit, ended, log, checkout)

    def _verdict(self, commit: str, ended: Ended, log: Path, checkout: Checkout) -> TestRun:
        if ended.reason is not ProcessEnd.FINISHED or ended.exit_code is None:
            said = f"The tests did not finish within {self.timeout_s:g} s"
            return TestRun(commit, False, said, ended.duration_s, log)
        counted, unread = self._counted(log, checkout)
        failing = counted.failing if counted and ended.exit_code != 0 else ()
        said = sentence(ended.exit_code, counted) + unread
        return TestRun(commit, ended.exit_code == 0, said, ended.duration_s, log, failing)

    def _counted(self, log: Path, checkout: Checkout) -> tuple[Counted | None, str]:
        """What the report says, or else the log, with a word about a report that cannot be used."""
        unread = ""
        if self.junit_xml:
            try:
                return count_junit(read_xml(checkout, self.junit_xml)), ""
            except UnreadableFile as error:
                unread = f" (the JUnit report was not used: {error})"
        return count_tests(end_of(log, READ_BYTES)), unread
