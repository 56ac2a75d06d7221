"""`python -m deployments.cli`: the same as `orch`."""

from deployments.cli import main

main()
