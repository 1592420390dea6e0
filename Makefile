# make setup | quickstart | test | test-long. The environment is made once; a second call installs nothing.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed

.PHONY: setup quickstart lint test test-long

setup: $(STAMP)

# Compiled on all cores, where pip takes one: some environments forbid Python to keep what it compiles, and then every
# process compiles all that it imports. A few packages ship files for other Pythons: those fail, and are not imported.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'
	$(VENV)/bin/python -m compileall -qq -j 0 -x '/tests/|/transformers/models/[^_]' $(VENV)/lib || true
	touch $@

quickstart: setup
	$(VENV)/bin/l3study run quickstart

lint: setup
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(VENV)/bin/codespell $(wildcard *.md *.py *.yaml *.cff docs) l3masking search_spaces study tests

# Two files at a time: much of a Ray or MLflow test is waiting.
PYTEST := $(VENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Every kind of behaviour once, in under 15 minutes on two cores with setup and lint.
test: lint
	$(PYTEST) -m 'not long'

# Those and the tests marked `long`: more values and larger scales of what the others show.
test-long: lint
	$(PYTEST)
