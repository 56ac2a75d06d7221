"""Removing what agents and tests leave on disk."""

import os
import shutil
from pathlib import Path


def remove_folder(path: Path) -> None:
    """Remove a folder, a file or a link, read-only parts included; nothing when there is none. Links are not followed.

    Some tools write folders that nobody may write to (Go's module cache), which `shutil.rmtree` cannot remove.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    if not path.exists():
        return
    path.chmod(0o700)
    for parent, folders, _ in os.walk(path):
        for name in folders:
            folder = Path(parent, name)
            if not folder.is_symlink():
                folder.chmod(0o700)
    shutil.rmtree(path)
