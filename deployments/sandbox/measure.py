"""`python -P -m deployments.sandbox.measure`: the sample's tests with coverage, which it writes as `coverage.xml`.

Run in a checkout of the sample. Exit code 0: the tests pass; 1: they do not, or nothing was measured.
"""

import sys
import unittest
from pathlib import Path

from coverage import Coverage
from coverage.exceptions import NoDataError


def main() -> int:
    """Run the tests below the current folder and measure everything there but the tests."""
    here = str(Path.cwd())
    measured = Coverage(source=[here], omit=[f"{here}/tests/*"], data_file=None, config_file=False)
    with measured.collect():
        ended = unittest.main(module=None, argv=["unittest", "discover", "-s", "tests", "-t", "."], exit=False)
    try:
        measured.xml_report(outfile="coverage.xml")
    except NoDataError as error:
        sys.stderr.write(f"Nothing was measured below {here}: {error}\n")
        return 1
    return 0 if ended.result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
