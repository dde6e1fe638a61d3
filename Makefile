# make run   watch the demo; make test   run the tests; both set everything up by themselves.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test test-long lint clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# //p' Makefile

run: $(VENV)/run.stamp
	$(BIN)/squall up --demo

test: $(VENV)/test.stamp lint
	$(BIN)/python -m pytest

# make test-long   run the tests that take several minutes each.
test-long: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m long

# One tool run that formats and lints, and one that checks types.
lint: $(VENV)/test.stamp
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Squall needs Python 3.11 or newer, this is %d.%d" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# Run time needs neither PyTorch nor transformers.
$(VENV)/run.stamp: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install -q -e '.[cpu]'
	touch $@

# PIP_FIND_LINKS may name a folder with a CPU build of PyTorch; without one pip takes the default build, which is large.
$(VENV)/test.stamp: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install -q -e '.[cpu,train,test]'
	touch $@

clean:
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache
