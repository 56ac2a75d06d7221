"""Whose work the end-to-end start waits for; apart, so that the command line knows it without loading Prefect."""

from enum import StrEnum


class Mode(StrEnum):
    """`STUB`: the scripted agent, which need only start. `LIVE`: the configured one, which must finish."""

    STUB = "stub"
    LIVE = "live"
