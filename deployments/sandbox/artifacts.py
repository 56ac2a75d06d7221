"""What staging built: one folder an artifact below `<root>/artifacts`, each with a file `REVISION`; never built twice."""

import asyncio
import io
import re
import shutil
import tarfile
from pathlib import Path

from deployments.sandbox.build import REVISION
from deployments.sandbox.core import Core
from deployments.sandbox.state import Artifact


class StandError(Exception):
    """Something that a stand, or the store of artifacts, refuses or cannot do: `status` of the answer and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Artifacts:
    """The artifacts of one sandbox, kept below its root and listed in its world."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._all = core.world.stands.artifacts
        self._one_writer = asyncio.Lock()

    def is_built(self, name: str) -> bool:
        """Whether there is an artifact of this name."""
        return any(one.name == name for one in self._all)

    def named(self, name: str) -> Artifact:
        """An artifact by name; `StandError` 404 when it was not built."""
        for one in self._all:
            if one.name == name:
                return one
        raise StandError(404, f"Artifact {name} was not built; deploy it to staging first.")

    def of_revision(self, revision: str) -> Artifact:
        """The artifact that was built from a revision; `StandError` 404 when none was."""
        for one in self._all:
            if one.revision == revision:
                return one
        raise StandError(404, f"No artifact was built from {revision}; deploy it to staging first.")

    def folder(self, name: str) -> Path:
        """Where the files of an artifact are."""
        return self._core.root / "artifacts" / re.sub(r"[^A-Za-z0-9._-]", "-", name)

    async def put(self, name: str, archive: bytes) -> Artifact:
        """Keep an archive under a name. Idempotent: what is there stays, and is the answer.

        Raises `StandError` 400 for an archive or a name that cannot be used, 409 when it is of another revision.
        """
        if not re.match(r"[A-Za-z0-9]", name):
            raise StandError(400, f"An artifact cannot be called '{name}'; start its name with a letter or a digit.")
        async with self._one_writer:
            revision = _revision(archive)
            folder = self.folder(name)
            known = next((one for one in self._all if self.folder(one.name) == folder), None)
            if known is None:
                await asyncio.to_thread(_unpack, archive, folder)
                known = Artifact(name=name, revision=revision)
                self._all.append(known)
                self._core.changed()
        if (known.name, known.revision) != (name, revision):
            raise StandError(409, f"{known.name} was built from {known.revision}; it cannot be {name} of {revision}.")
        return known


def _revision(archive: bytes) -> str:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            file = tar.extractfile(REVISION)
            return file.read().decode().strip() if file else ""
    except (tarfile.TarError, KeyError, UnicodeDecodeError) as error:
        raise StandError(
            400, f"This is no artifact, which is a tar archive with a file {REVISION}: {error}."
        ) from error


def _unpack(archive: bytes, folder: Path) -> None:
    """Unpack so that the folder is there as a whole or not at all, whatever a killed sandbox left behind."""
    part = folder.with_name(f"{folder.name}.part")
    for old in (part, folder):
        shutil.rmtree(old, ignore_errors=True)
    part.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(part, filter="data")
    part.replace(folder)
