# Everything runs from .venv, built from the locked requirements. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The MCP SDK of the 1.x line cannot be installed beside 2.x; the tests speak to both.
MCP1 := $(VENV)/mcp1
MCP1_STAMP := $(MCP1)/.installed

.PHONY: help demo test unit run check audit fix bench soak docs lock clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

$(STAMP): requirements-dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(MCP1_STAMP): requirements-mcp1.txt $(STAMP)
	$(PYTHON) -m venv $(MCP1)
	$(MCP1)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-mcp1.txt
	@touch $@

demo: $(STAMP)  ## watch a scripted agent meet the booth (DEMO_STAY=1 leaves it running)
	@$(BIN)/toolbooth demo

test: $(STAMP) $(MCP1_STAMP)  ## the whole test suite
	$(BIN)/python -m pytest

unit: $(STAMP)  ## only the tests without processes and real clients
	$(BIN)/python -m pytest -q -m "not scenario"

run: $(STAMP)  ## the sidecar with config/policy.yaml
	$(BIN)/toolbooth run --policy config/policy.yaml

check: $(STAMP)  ## format, lint (with the security rules), types, import contracts, unit tests, audit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -m "not scenario"
	$(BIN)/python -m tests.repo.audit --where-reachable

audit: $(STAMP)  ## known vulnerabilities of the locked packages (asks an advisory service)
	$(BIN)/python -m tests.repo.audit

fix: $(STAMP)  ## format, and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)  ## speed beside other proxies, for docs/performance.md (BENCH="--workload start" for a part)
	PYTHONPATH=. $(BIN)/python bench/speed.py $(BENCH)

soak: $(STAMP)  ## mixed traffic for SECONDS=1800, and what drifts or is lost meanwhile
	$(BIN)/python bench/soak.py --seconds $(or $(SECONDS),1800) --picture bench/results/soak.svg

lock:  ## resolve pyproject.toml anew into the two requirements files (needs uv)
	uv pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 --extra otel pyproject.toml -o requirements.txt
	uv pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 --extra dev pyproject.toml -o requirements-dev.txt
	uv pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 tests/scenarios/mcp1.in -o requirements-mcp1.txt

docs: $(STAMP)  ## write the generated pages anew
	$(BIN)/python -m tests.repo.write_docs

clean:  ## remove what make built
	rm -rf $(VENV) build *.egg-info
