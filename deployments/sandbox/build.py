"""What an artifact of the sample is, and how it is built. Imports nothing, since every hook does."""

NAME = "shop:{revision}"
"""How the sample's artifacts are called."""

REVISION = "REVISION"
"""The file in an artifact that says which commit it was built from."""


def archive_arguments(revision: str) -> tuple[str, ...]:
    """The git command that builds an artifact: it writes a commit and its `REVISION` as tar to the standard output."""
    return ("archive", "--format=tar", f"--add-virtual-file={REVISION}:{revision}", revision)
