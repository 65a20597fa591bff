# Each target sets up what it needs. Needed on the machine: python3 (3.11 or newer) with venv, and make.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo up test check chaos format bench contest clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: $(STAMP) ## open 300 rooms against a sandbox at the real limits
	@$(BIN)/warrooms demo

up: $(STAMP) ## run what the Procfile lists, with an embedded Valkey unless REDIS_URL is set
	@$(BIN)/warrooms up

test: $(STAMP) ## all tests
	@$(BIN)/python -m pytest

check: $(STAMP) ## the whole gate: format, lint, types, import contracts, tests
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest

MINUTES ?= 10
SEED ?=

chaos: $(STAMP) ## hurt everything for MINUTES (10) and count; SEED repeats a run
	@$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

format: $(STAMP) ## write the code as `check` wants it
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(STAMP) ## measure every number the project promises (an hour and a half); results in docs/benchmarks.md
	$(BIN)/python -m bench.run --page docs/benchmarks.md

contest: $(STAMP) ## drain beside what you would use instead (four hours); results and plots in docs/benchmarks
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python -m bench.contest --side-by-side 5 --out docs/benchmarks/contest.json
	$(BIN)/python -m bench.plots

clean: ## remove the environment and caches; .warrooms stays: it has the jobs of `up`
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("warrooms needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || { echo "setting up .venv (once) ..."; $(PYTHON) -m venv .venv; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
