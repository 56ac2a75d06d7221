"""`python -P -m deployments.sandbox.agent --scenario FILE`, run in a work item's worktree.

`-P` keeps the worktree, which is the current directory, off Python's module path. Exit codes: 0 the script was played,
2 scenario or environment are wrong or do not fit the repository, 3 the script says that the agent crashes.
"""

import argparse
import os
import sys
from pathlib import Path

from deployments.sandbox.agent.play import Situation, play
from deployments.sandbox.agent.scenario import ScenarioError, choose, load


def main() -> int:
    """Play the role that the environment names and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deployments.sandbox.agent", description=__doc__)
    parser.add_argument("--scenario", type=Path, required=True, help="the TOML file that says who does what")
    scenario = parser.parse_args().scenario
    prompt = "" if sys.stdin.isatty() else sys.stdin.buffer.read().decode(errors="replace")
    try:
        here = Situation.of(os.environ)
        return play(choose(load(scenario), here.title), here, prompt)
    except ScenarioError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
