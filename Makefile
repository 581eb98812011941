# What a person does with this project. `make` alone lists it.
#
# Everything happens in $(VENV). An installation is repeated only when pyproject.toml changes;
# pip uses whatever index it is configured for, nothing else here needs a network.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 4
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install
# An editable installation leaves the package uncompiled, and an environment may keep Python from doing it.
COMPILE = @$(BIN)/python -m compileall -q src
RUN_STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev

# For the search for dead code: what a framework, the interpreter or an SDK calls or reads,
FRAMEWORKS := __getattr__,create_system,external_attr,handler,intercepted_binops,memo,model_config,organization,project,readable,seekable,text_factory,trace
DECORATORS := @field_validator,@model_validator,@app.command,@app.callback,@pytest.fixture
# options that go into a request as a group,
REQUEST_FIELDS := max_completion_tokens,max_tokens,reasoning_effort,temperature,top_p
# members of a provider's line that are named so that each of its bytes is decoded,
ANSWER_MEMBERS := logprobs,content_filter_results,system_fingerprint,service_tier,prompt_filter_results
# what authors of plugins use, and the words that later versions write (docs/adr/0001, docs/adr/0003).
OFFERED := success_multi,COALESCED,CONSUMED,EXPANDED,FORKED,LLM,OTHER,SQL,WAITING

.DEFAULT_GOAL := help
.PHONY: help demo test crash bench check tidy

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUN_STAMP)  ## the whole story on this machine: simulator, run, explain
	$(BIN)/elspeth demo

test: check  ## every check, then every test
	$(BIN)/pytest -n $(JOBS) --dist worksteal

crash: $(DEV_STAMP)  ## death at every effect of a run, and what a resume makes of it (docs/reliability.md)
	ELSPETH_CRASH_POINTS=all $(BIN)/pytest -q -n $(JOBS) tests/crash

bench: $(DEV_STAMP)  ## what elspeth costs, beside scripts without an audit (docs/performance.md)
	$(BIN)/python -m tests.bench --out bench.json

check: $(DEV_STAMP)  ## style, types, layers, dependencies, dead code, tidiness
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry src --optional-dependencies-dev-groups dev \
	  --package-module-name-map azure-identity=azure --per-rule-ignores DEP003=pydantic_core
	@echo 'vulture src tests: what nobody uses'
	@! $(BIN)/vulture src tests --min-confidence 60 --ignore-decorators '$(DECORATORS)' \
	  --ignore-names '$(FRAMEWORKS),$(REQUEST_FIELDS),$(ANSWER_MEMBERS),$(OFFERED)' | grep '^src/'
	$(MAKE) --no-print-directory tidy

tidy: $(DEV_STAMP)  ## sizes, names, and documents that agree with the code
	$(BIN)/pytest -q tests/tidy tests/docs/test_audit_format.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'elspeth needs Python 3.11 or newer, and $(PYTHON) is' "$$($(PYTHON) --version 2>&1)." \
	       'Name another one: make PYTHON=/path/to/python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): pyproject.toml | $(BIN)/python
	$(PIP) -e .
	$(COMPILE)
	@touch $@

$(DEV_STAMP): pyproject.toml | $(BIN)/python
	$(PIP) -e '.[dev]'
	$(COMPILE)
	@touch $@ $(RUN_STAMP)
