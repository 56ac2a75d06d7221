"""The results as lines, as JSON, and as an exit code."""

import io

from rich.console import Console

from deployments.staging_check.mode import Mode
from deployments.staging_check.report import as_json, failed, line
from deployments.staging_check.runner import Result

GOOD = Result("health", True, "It answers.", 0.1)
BAD = Result("database", False, "tests[/] and [red]more[/]", 2.25)


def test_a_line_has_sign_name_and_sentence_as_it_is() -> None:
    written = io.StringIO()
    console = Console(file=written, soft_wrap=True)
    for result in (GOOD, BAD):
        console.print(line(result))
    assert written.getvalue() == "✓ health: It answers.\n✗ database: tests[/] and [red]more[/]\n"


def test_the_json_has_the_mode_every_check_and_the_number_of_failures() -> None:
    assert as_json(Mode.LIVE, [GOOD, BAD]) == {
        "mode": "live",
        "checks": [
            {"name": "health", "ok": True, "sentence": "It answers.", "seconds": 0.1},
            {"name": "database", "ok": False, "sentence": "tests[/] and [red]more[/]", "seconds": 2.25},
        ],
        "failed": 1,
    }


def test_the_exit_code_is_the_number_of_failures() -> None:
    assert [failed([]), failed([GOOD]), failed([BAD, GOOD, BAD])] == [0, 0, 2]
