"""`orch init`: the files that a person fills in, commented. Nothing that is there is ever overwritten."""

import os
import secrets
from pathlib import Path

from pipeline.errors import Refused

TEMPLATES = Path(__file__).with_name("templates")

FILES = {".env": ("env", 0o600), "projects.toml": ("projects.toml", 0o644)}
"""Name of a file -> its template, and who may read it: `.env` will hold secrets."""


def init(folder: Path) -> list[str]:
    """Write what is not there yet into `folder`; a sentence about each file. Idempotent. Raises `Refused`."""
    return [_write(folder / name, template, mode) for name, (template, mode) in FILES.items()]


def _write(file: Path, template: str, mode: int) -> str:
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    if template == "env":
        text = text.format(gitea_webhook_secret=secrets.token_hex(24))
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return f"{file} is there and was left as it is."
    except OSError as error:
        raise Refused(f"{file} cannot be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
    return f"{file} was written."
