"""The registry names exactly the gates of the table, in its order."""

import ast
import inspect
import sys

import pytest

from pipeline.gates import GATES
from pipeline.stages import ENTRY_GATE, ROWS, TABLE


def test_the_registry_holds_the_entry_gate_and_the_gates_of_the_table_in_order():
    assert list(GATES) == [ENTRY_GATE, *(name for row in TABLE for name in row.gates)]


@pytest.mark.parametrize("name", GATES)
def test_a_gate_has_its_own_name_its_stage_and_a_file_of_its_own(name):
    gate = GATES[name]
    stages = [stage for stage, row in ROWS.items() if name in row.gates]
    assert gate.name == name
    assert gate.stage == (stages[0] if stages else None)
    assert gate.ask.__module__ == f"pipeline.gates.{name}"
    assert gate.asked_again_by


@pytest.mark.parametrize("name", GATES)
def test_no_gate_catches_an_error(name):
    tree = ast.parse(inspect.getsource(sys.modules[GATES[name].ask.__module__]))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Try)]
