# Everything runs from .venv, built from the locked requirements. `make` alone lists the targets.
# What is run or measured as a process is the compiled build of this tree that is installed there (docs/
# decisions/0009-compiled-data-path.md); what is tested, checked or written in process is the tree.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
COMPILED := $(VENV)/.compiled
SOURCES := $(sort $(shell find proxy -type f -not -path '*/__pycache__/*')) config/demo.yaml
# The MCP SDK of the 1.x line cannot be installed beside 2.x; the tests speak to both.
MCP1 := $(VENV)/mcp1
MCP1_STAMP := $(MCP1)/.installed

.PHONY: help demo compiled test unit run check audit fix bench soak docs lock clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

$(STAMP): requirements-dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

# The stamp lists its sources: a file that is gone makes nothing newer. `build` goes first, or what was
# left in it would be installed too. pip would not show what the build says, so pip does not build.
ifneq ($(SOURCES),$(shell cat $(COMPILED) 2>/dev/null))
.PHONY: $(COMPILED)
endif
$(COMPILED): $(STAMP) $(SOURCES) setup.py pyproject.toml
	rm -rf build
	mkdir -p build/wheel
	$(BIN)/python -c 'from setuptools.build_meta import build_wheel; build_wheel("build/wheel")' > build/log
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --force-reinstall build/wheel/*.whl
	@$(BIN)/toolbooth --version
	@echo $(SOURCES) > $@

$(MCP1_STAMP): requirements-mcp1.txt $(STAMP)
	$(PYTHON) -m venv $(MCP1)
	$(MCP1)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-mcp1.txt
	@touch $@

# Interpreted: who only wants to see it need not wait for a compiler.
demo: $(STAMP)  ## watch a scripted agent meet the booth (DEMO_STAY=1 leaves it running)
	@$(BIN)/python -m proxy demo

compiled: $(COMPILED)  ## the build that run, test, bench and soak use: compiled, where there is a C compiler

test: $(COMPILED) $(MCP1_STAMP)  ## the whole test suite
	COMPILED_BUILD=1 $(BIN)/python -m pytest

unit: $(STAMP)  ## only the tests without processes and real clients
	$(BIN)/python -m pytest -q -m "not scenario"

run: $(COMPILED)  ## the sidecar with config/policy.yaml
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

bench: $(COMPILED)  ## speed beside other proxies, for docs/performance.md (BENCH="--workload start" for a part)
	PYTHONPATH=. $(BIN)/python bench/speed.py $(BENCH)

soak: $(COMPILED)  ## mixed traffic for SECONDS=1800, and what drifts or is lost meanwhile
	PYTHONPATH=. $(BIN)/python bench/soak.py --seconds $(or $(SECONDS),1800) --picture bench/results/soak.svg

lock:  ## resolve pyproject.toml anew into the requirements files (needs uv)
	uv pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 --extra otel pyproject.toml -o requirements.txt
	uv pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 --extra dev pyproject.toml -o requirements-dev.txt
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	| uv pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 --constraint requirements-dev.txt - -o requirements-build.txt
	uv pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 tests/scenarios/mcp1.in -o requirements-mcp1.txt

docs: $(STAMP)  ## write the generated pages anew
	$(BIN)/python -m tests.repo.write_docs

clean:  ## remove what make built
	rm -rf $(VENV) build *.egg-info
