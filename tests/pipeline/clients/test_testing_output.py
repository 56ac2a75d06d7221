"""The sentence about a test run, from what test runners print."""

import pytest

from pipeline.clients.testing_output import count_tests, sentence

PYTEST_RED = """
=================================== FAILURES ===================================
FAILED because of a line that a test printed, without a dash
=========================== short test summary info ============================
FAILED tests/test_login.py::TestLogin::test_login - AssertionError: 1 - 2
ERROR tests/test_menu.py::test_open[a-b] - fixture 'x' not found
========= \x1b[31m1 failed\x1b[0m, 4 passed, 1 skipped, 1 error in 0.12s (0:00:00) =========
"""
UNITTEST_RED = """
.FE
======================================================================
ERROR: test_out (tests.test_shop.Shop.test_out)
----------------------------------------------------------------------
Traceback (most recent call last):
======================================================================
FAIL: test_in (tests.test_shop.Shop.test_in)
----------------------------------------------------------------------
Ran 7 tests in 0.001s

FAILED (failures=1, errors=1, skipped=2)
"""


@pytest.mark.parametrize(
    ("output", "exit_code", "said"),
    [
        ("..... [100%]\n5 passed in 0.12s\n", 0, "5 tests passed"),
        ("===== 1 passed in 0.12s =====\n", 0, "1 test passed"),
        ("==== 5 passed, 2 skipped, 1 warning in 3.10s ====\n", 0, "5 tests passed, 2 skipped"),
        ("1 failed, 6 passed in 0.1s\n", 1, "1 of 7 tests failed"),
        ("FAILED t.py::test_x - assert 0\n1 failed, 6 passed in 0.1s\n", 1, "1 of 7 tests failed: test_x"),
        ("==== no tests ran in 0.01s ====\n", 5, "The test command failed with exit code 5"),
        ("Ran 5 tests in 0.000s\n\nOK\n", 0, "5 tests passed"),
        ("Ran 5 tests in 0.000s\n\nOK (skipped=1)\n", 0, "4 tests passed, 1 skipped"),
        (UNITTEST_RED, 1, "2 of 7 tests failed: test_out, test_in"),
        (
            "5 passed in 0.12s\nFAIL Required test coverage of 90% not reached.\n",
            1,
            "The test command failed with exit code 1 although no test did (5 tests)",
        ),
        ("", 0, "The test command passed"),
        ("make: *** [test] Error 3\n", 3, "The test command failed with exit code 3"),
    ],
)
def test_a_run_is_told_in_one_sentence(output: str, exit_code: int, said: str) -> None:
    assert sentence(exit_code, count_tests(output)) == said


def test_pytest_is_read_through_its_colours() -> None:
    counted = count_tests(PYTEST_RED)
    assert counted is not None
    assert (counted.total, counted.failed, counted.skipped) == (7, 2, 1)
    assert counted.failing[-2:] == ("test_login", "test_open[a-b]")


def test_many_failures_are_cut() -> None:
    output = "".join(f"FAILED t.py::test_{n}\n" for n in range(12)) + "12 failed in 1.0s\n"
    assert sentence(1, count_tests(output)).endswith("test_8, test_9 and 2 more")
