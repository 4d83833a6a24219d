# Two commands set everything up on a machine that has Python 3.11+, pip, venv and make:
# `make demo` runs the exchange, `make test` proves it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PLOT   := benchmarks/.cache/plot
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check
COMPILE := uv pip compile --universal --generate-hashes --python-version 3.11 --no-header

.PHONY: demo test fuzz faults bench bench-full dev check proto docs lock clean

demo: $(VENV)/ready
	$(BIN)/tocsin demo

test: $(VENV)/ready
	$(BIN)/pytest -n 2 --dist worksteal -q

fuzz: $(VENV)/ready
	TOCSIN_FUZZ=1 $(BIN)/pytest -n 2 -q $$(grep -rlE "hypothesis" tests --include="test_*.py")

# Kills at every durable write, full and failing disks, a thousand schedules, two thousand ways to show two histories,
# nodes in networks of their own; every public record in the demo.
faults: $(VENV)/ready
	TOCSIN_FAULTS=1 $(BIN)/pytest -n 2 -q tests/faults tests/exchange/test_simulator.py tests/exchange/test_histories.py tests/exchange/test_preview.py tests/cli/test_demo.py

# Under 20 minutes; with the large sizes hours, and then benchmarks/RESULTS.md and its plot are written.
bench: $(VENV)/ready
	PYTHONPATH=. $(BIN)/python -m benchmarks

bench-full: $(VENV)/ready $(PLOT)/ready
	PYTHONPATH=. $(BIN)/python -m benchmarks --full

dev: $(VENV)/ready
	@echo "ready: . $(BIN)/activate"

$(VENV)/ready: pyproject.toml requirements-dev.lock
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --require-hashes -r requirements-dev.lock
	$(INSTALL) --no-deps --no-build-isolation --editable . && touch $@

$(PLOT)/ready: requirements-bench.lock | $(VENV)/ready
	$(INSTALL) --require-hashes --upgrade --target $(@D) -r requirements-bench.lock && touch $@

check: $(VENV)/ready
	$(BIN)/ruff check && $(BIN)/ruff format --check && PYTHONPATH=node:cli $(BIN)/lint-imports --no-cache
	$(BIN)/mypy && $(BIN)/buf lint
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python proto/generate.py --check

proto: $(VENV)/ready
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python proto/generate.py

lock:
	$(COMPILE) -o requirements.lock pyproject.toml
	$(COMPILE) --group dev -c requirements.lock -o requirements-dev.lock pyproject.toml
	$(COMPILE) --group bench -c requirements-dev.lock -o requirements-bench.lock && $(COMPILE) --group taxii -o benchmarks/taxii.lock

docs: $(VENV)/ready
	$(BIN)/python scripts/document_commands.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache dist
