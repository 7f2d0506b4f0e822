# Every target works on a machine that has only python3 and make: .venv is made when it is missing.

PYTHON ?= python3
ARGS ?=
BENCH_PYTHON ?=
EXAMPLES ?= 5000
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

# Tests run on all cores, so each has one thread of the BLAS.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help venv demo test slow check cover fuzz mutate bench docs wheel clean

help:  ## this list
	@awk -F ':.*## *' '/^[a-z]+:.*## /{printf "  make %-8s%s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

venv: .venv/installed  ## make .venv, the environment of all other targets

.venv/installed: pyproject.toml
	@echo "installing into .venv: a minute or two"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,demo,plot,viz,threads]"
	@touch $@

demo: venv  ## the main job on real data: build, derive, draw, compile, train (ARGS="--out DIR")
	$(BIN)/graphgrad demo $(ARGS)

test: venv  ## the quick tests (ARGS="-k NAME")
	$(PYTEST) -n auto -m "not slow" $(ARGS)

slow: venv  ## the tests that `make test` leaves out
	$(PYTEST) -n auto -m slow $(ARGS)

check: venv  ## lint, types, layering
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) tests/test_layering.py

cover: venv  ## all tests, and the lines that none of them runs
	$(PYTEST) -n auto --cov --cov-fail-under=95 $(ARGS)

fuzz: venv  ## a long run of random graphs (EXAMPLES=5000)
	GRAPHGRAD_FUZZ_EXAMPLES=$(EXAMPLES) $(PYTEST) tests/test_fuzz.py $(ARGS)

mutate: venv  ## does a test notice when derive.py or the memory planner is changed?
	$(BIN)/mutmut run $(ARGS)
	$(BIN)/mutmut results

bench: venv  ## timings with verdicts, about 20 minutes (ARGS="--only table", BENCH_PYTHON=... for the peers)
	BENCH_PYTHON=$(BENCH_PYTHON) $(BIN)/python -m tests.benchmarks $(ARGS)

docs: venv  ## the documentation as HTML, in docs/_build
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	$(BIN)/sphinx-build -W --keep-going docs docs/_build

wheel: venv  ## build the wheel, in dist
	rm -rf build dist
	$(BIN)/python -m build --wheel --quiet
	rm -rf build

clean:  ## remove what was made, except .venv
	rm -rf build dist mutants htmlcov docs/_build *.egg-info .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
