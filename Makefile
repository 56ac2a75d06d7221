# make demo   an issue goes from To Analyse to Done on this machine
# make test   the suite, without the tests that take minutes each
# make test-long  those: deploys, self-hosting, kills and the staging check through the whole product
# make kill-matrix  kill -9 at each checkpoint of each flow, not at a choice of them (an hour)
# make chaos  the whole product under faults drawn from CHAOS_SEED for CHAOS_MINUTES (30)
# make bench-tick  what one tick of the reconciler costs with 1,000 and with 10,000 live items
# make check  everything that CI checks: format, lint, types, imports, tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Without its compiled files every process that is started, a flow run for instance, compiles all of Orch anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-long kill-matrix chaos bench-tick check lint docs clean

demo: $(VENV)/.installed
	$(BIN)/orch demo $(ARGS)

# Three workers for two cores: tests with processes and servers of their own wait half of their time.
test: $(VENV)/.installed
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not long" $(ARGS)

test-long: $(VENV)/.installed
	$(BIN)/pytest -m long --timeout 600 $(ARGS)

kill-matrix: $(VENV)/.installed
	ORCH_KILL_EVERY=1 $(BIN)/pytest -n 3 --dist loadfile -m "long or not long" -s tests/flows/test_kills.py \
		tests/flows/test_kills_of_control_flows.py tests/flows/test_kills_of_deploys.py $(ARGS)

chaos: $(VENV)/.installed
	$(BIN)/python -m tests.chaos

bench-tick: $(VENV)/.installed
	$(BIN)/python -m benchmarks.tick $(ARGS)

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

docs: $(VENV)/.installed
	$(BIN)/python -m deployments.docs

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
