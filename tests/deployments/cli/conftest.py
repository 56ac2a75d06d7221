"""The `orch` command in an empty folder, and the sandbox as the servers that it is told of."""

from pathlib import Path

import pytest

from pipeline.settings import Settings


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting but the state folder, whatever the developer's shell or `.env` says."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ORCH_{name.upper()}", raising=False)
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ORCH_STATE_DIR", str(tmp_path / "orch"))  # where a desk keeps its database
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.chdir(tmp_path)
