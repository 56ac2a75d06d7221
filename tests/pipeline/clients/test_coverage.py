"""Coverage of exactly one commit, and what of a Cobertura report is believed."""

from pathlib import Path

import pytest
from defusedxml.ElementTree import fromstring

from pipeline.clients.checkout import UnreadableFile
from pipeline.clients.coverage import covered
from pipeline.clients.workspace import GitWorkspace
from pipeline.errors import CouldNotRun
from pipeline.model import CoverageRun
from tests.pipeline.clients.origin import Origin

DOCTYPE = "<!DOCTYPE coverage SYSTEM 'http://cobertura.sourceforge.net/xml/coverage-04.dtd'>"
REPORT = '<coverage line-rate="0.67" lines-covered="2" lines-valid="3"><line number="1" hits="1"/></coverage>'
LAUGHS = '<!DOCTYPE c [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><coverage lines-covered="1" lines-valid="1">&b;</coverage>'
OUTSIDE = (
    '<!DOCTYPE c [<!ENTITY a SYSTEM "file:///etc/passwd">]><coverage lines-covered="1" lines-valid="1">&a;</coverage>'
)


def measure(workspace: GitWorkspace, tmp_path: Path) -> CoverageRun:
    return workspace.run_coverage(workspace.fetch(), log=tmp_path / "logs/coverage.log")


def workspace(origin: Origin, script: str, **changes: object) -> GitWorkspace:
    return origin.workspace(coverage_command=("/bin/sh", "-c", script), **changes)


# --- runs


def test_the_lines_of_exactly_the_commit_are_counted(origin: Origin, tmp_path: Path) -> None:
    origin.commit({"report.xml": f'<?xml version="1.0"?>{DOCTYPE}{REPORT}'})
    here = workspace(
        origin, "git rev-parse HEAD; mkdir out; cp report.xml out/coverage.xml", coverage_xml="out/coverage.xml"
    )
    run = measure(here, tmp_path)
    assert (run.commit, run.percent) == (origin.tip(), 200 / 3)
    assert run.sentence == "66.67% of the lines are covered (2 of 3)"
    assert run.log.read_text().strip() == run.commit
    assert list((origin.base / "state/tests/WID").glob("run-*")) == []


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo 1 failed; exit 2", "The coverage command failed with exit code 2: 1 failed"),
        ("exit 127", "The coverage command failed with exit code 127"),
        ("true", "coverage.xml: No such file or directory"),
        ("mkdir coverage.xml", "coverage.xml: Is a directory"),
        ("mkfifo coverage.xml", "coverage.xml is no regular file"),
        ("ln -s coverage.xml coverage.xml", "coverage.xml: Too many levels of symbolic links"),
        ("head -c 20000001 /dev/zero > coverage.xml", "coverage.xml is larger than 20 MB"),
        ("echo '<coverage' > coverage.xml", "coverage.xml is not XML that can be read: ParseError"),
        (f"echo '{LAUGHS}' > coverage.xml", "coverage.xml is not XML that can be read: EntitiesForbidden"),
        (f"echo '{OUTSIDE}' > coverage.xml", "coverage.xml is not XML that can be read: EntitiesForbidden"),
    ],
)
def test_a_run_that_tells_nothing_says_why(origin: Origin, tmp_path: Path, script: str, sentence: str) -> None:
    run = measure(workspace(origin, script), tmp_path)
    assert run.percent is None
    assert run.sentence.endswith(sentence)


def test_a_report_outside_the_checkout_is_not_read(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "coverage.xml").write_text(REPORT)
    for script, xml in (
        (f"ln -s {tmp_path}/coverage.xml coverage.xml", "coverage.xml"),
        (f"ln -s {tmp_path} out", "out/coverage.xml"),
        (f"cd ..; mv checkout away; ln -s {tmp_path} checkout", "coverage.xml"),
        ("true", str(tmp_path / "coverage.xml")),
    ):
        run = measure(workspace(origin, script, coverage_xml=xml), tmp_path)
        assert (run.percent, run.sentence.endswith(f"{xml} lies outside the checkout")) == (None, True)
    assert (tmp_path / "coverage.xml").exists()


def test_a_report_that_was_committed_does_not_count(origin: Origin, tmp_path: Path) -> None:
    origin.commit({"coverage.xml": REPORT})
    assert measure(workspace(origin, "true"), tmp_path).percent is None


def test_a_link_to_the_report_within_the_checkout_is_followed(origin: Origin, tmp_path: Path) -> None:
    run = measure(workspace(origin, f"echo '{REPORT}' > real.xml; ln -s real.xml coverage.xml"), tmp_path)
    assert run.percent is not None


def test_a_command_that_takes_too_long_tells_nothing(origin: Origin, tmp_path: Path) -> None:
    run = measure(workspace(origin, "sleep 60", timeout_s=1), tmp_path)
    assert (run.percent, run.sentence) == (None, "The coverage command did not finish within 1 s")


@pytest.mark.parametrize("command", [(), ("no-such-tool",)])
def test_a_command_that_cannot_be_started_is_no_measurement(
    origin: Origin, tmp_path: Path, command: tuple[str, ...]
) -> None:
    with pytest.raises(CouldNotRun):
        measure(origin.workspace(coverage_command=command), tmp_path)


# --- reports


@pytest.mark.parametrize(
    ("report", "percent"),
    [
        ('<coverage lines-covered="0" lines-valid="7"/>', 0.0),
        ('<coverage lines-covered="7" lines-valid="7" line-rate="0.1"/>', 100.0),
        ('<coverage lines-covered="999999" lines-valid="1000000" line-rate="1"/>', 99.9999),
        ('<coverage line-rate="0.8571"><line/></coverage>', 85.71),
        ('<coverage line-rate="1" lines-valid="many"><line/></coverage>', 100.0),
    ],
)
def test_counts_are_preferred_to_the_rate_and_are_exact(report: str, percent: float) -> None:
    assert covered(fromstring(report))[0] == percent


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ('<testsuite lines-covered="1" lines-valid="1"/>', "no Cobertura report"),
        ('<coverage lines-covered="0" lines-valid="0" line-rate="1"/>', "names no lines"),
        ('<coverage line-rate="1"/>', "names no lines"),
        ('<coverage lines-covered="8" lines-valid="7"/>', "8 of 7"),
        ('<coverage lines-covered="-1" lines-valid="7"/>', "-1 of 7"),
        ('<coverage line-rate="1.01"><line/></coverage>', "not between 0 and 1"),
        ('<coverage line-rate="-0.1"><line/></coverage>', "not between 0 and 1"),
        ('<coverage line-rate="NaN"><line/></coverage>', "not between 0 and 1"),
        ('<coverage line-rate="good"><line/></coverage>', "neither"),
        ("<coverage><line/></coverage>", "neither"),
    ],
)
def test_a_report_that_cannot_be_right_is_not_believed(report: str, said: str) -> None:
    with pytest.raises(UnreadableFile, match=said):
        covered(fromstring(report))
