"""Every diff of the corpus is judged as the table says, misses and false alarms included."""

import re

import pytest

from pipeline.integrity import FindingKind
from tests.pipeline.integrity import report
from tests.pipeline.integrity.cases import CORPUS, load

CASES = load()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_analysis_says_of_a_diff_what_the_table_says(case):
    assert sorted(case.said()) == sorted(case.found)


def test_every_diff_has_one_row_and_every_row_a_diff():
    files = {path.relative_to(CORPUS).with_suffix("").as_posix() for path in CORPUS.rglob("*.diff")}
    assert sorted(case.name for case in CASES) == sorted(files)


@pytest.mark.parametrize(
    ("folder", "outcome"), [("good", "quiet"), ("bad", "hit"), ("missed", "miss"), ("alarms", "false alarm")]
)
def test_a_folder_holds_diffs_of_one_outcome(folder, outcome):
    assert {case.outcome for case in CASES if case.name.startswith(f"{folder}/")} == {outcome}


def test_every_kind_of_finding_occurs_in_the_corpus_but_the_projects_own_files():
    kinds = {re.sub(r"^.*:\d+ ", "", text) for case in CASES for text in case.found}
    assert kinds == set(FindingKind) - {FindingKind.GUARDED_CHANGED}


def test_the_page_shows_the_corpus_as_it_is():
    page = report.PAGE.read_text()
    assert report.with_tables(page, CASES) == page, "run `python -m tests.pipeline.integrity.report`"
