from pathlib import Path

import pytest

from pipeline.stages import ENTRY_GATE, ROWS, TABLE, WORKED, Stage, allowed, mermaid

ROOT = Path(__file__).parents[2]


def test_every_stage_that_is_not_terminal_has_a_row() -> None:
    assert set(ROWS) == {stage for stage in Stage if not stage.terminal}


def test_the_table_leads_from_the_first_stage_to_done_without_a_loop() -> None:
    path, here = [], TABLE[0].at
    while here in ROWS:
        path.append(here)
        here = ROWS[here].to
    assert (tuple(path), here) == (WORKED, Stage.DONE)


def test_no_red_gate_leads_forward() -> None:
    for row in TABLE:
        assert WORKED.index(row.back_to) <= WORKED.index(row.at)


def test_nothing_leaves_a_terminal_stage() -> None:
    assert not [there for there in Stage for here in (Stage.DONE, Stage.CANCELLED) if allowed(here, there)]


def test_no_stage_can_be_skipped() -> None:
    for here in WORKED:
        for there in WORKED[WORKED.index(here) + 2 :]:
            assert not allowed(here, there)


def test_every_worked_stage_can_be_cancelled() -> None:
    assert all(allowed(stage, Stage.CANCELLED) for stage in WORKED)


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_diagram_is_the_tables(page: str) -> None:
    assert f"```mermaid\n{mermaid()}\n```" in (ROOT / page).read_text(), f"run `make docs` to bring {page} up to date"


def test_the_diagram_names_every_gate() -> None:
    assert all(gate in mermaid() for gate in (ENTRY_GATE, *(gate for row in TABLE for gate in row.gates)))
