# Everything that development needs, from a fresh machine with Python and make.

PYTHON ?= python3

VERSION := $(shell $(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null)
VENV := .venv/$(VERSION)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# What was given; the rest keeps the programs' own defaults. (DATABASE_URL reaches them in the environment.)
HOST_PORT := $(if $(PORT),--port $(PORT))
USER_COUNT := $(if $(USERS),--users $(USERS))

# Checks Bicep where there is no compiler; make infra BICEP_CHECK=… names another one, which takes files and folders.
BICEP_CHECK ?= ../shared/tools/bicep_check.py

# Tests wait for HTTP and databases more than they compute, so hyper-threads count; beyond 8 the one server is the limit.
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadgroup

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help venv run tenant host migrate test lint types infra suite soak bench format clean

help: ## Show this list
	@echo 'Usage: make TARGET [NAME=value ...]'
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  PYTHON=python3.13 chooses the Python (3.11 or newer); each version has its own environment in .venv/'

run: $(STAMP) ## Synchronize a simulated organization and keep serving (PORT, TENANT_PORT, USERS, DATABASE_URL, ONCE=1)
	@$(BIN)/python -m local.demo $(HOST_PORT) $(if $(TENANT_PORT),--tenant-port $(TENANT_PORT)) $(USER_COUNT) $(if $(filter-out 0,$(ONCE)),--once)

tenant: $(STAMP) ## Start the simulated tenant alone (TENANT_PORT, USERS)
	@$(BIN)/python -m local.tenant $(if $(TENANT_PORT),--port $(TENANT_PORT)) $(USER_COUNT)

host: $(STAMP) ## Start the local Functions host alone (PORT, DATABASE_URL; needs SYNC_SCHEDULE)
	@$(BIN)/python -m local.start $(HOST_PORT)

migrate: $(STAMP) ## Bring the organization cache database up to date (DATABASE_URL)
	@$(BIN)/python -m shared.cache upgrade

test: lint types infra suite ## Run every check, and the whole suite on SQLite and PostgreSQL (ARGS="-k name" selects)

lint: $(STAMP) ## Check style, formatting, the direction of imports, and the workflows
	@echo '== lint'
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/lint-imports --no-logo --no-cache
	@$(BIN)/zizmor --quiet --offline .github
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml

types: $(STAMP) ## Check types, strictly in shared/
	@echo '== types'
	@$(BIN)/basedpyright --pythonpath $(BIN)/python

infra: $(STAMP) ## Check infra/ with the Bicep compiler (bicep or az) and with BICEP_CHECK, as far as they are there
	@echo '== infra'
	@if command -v bicep >/dev/null; then bicep build --stdout infra/main.bicep >/dev/null && bicep lint infra/main.bicep; \
	elif command -v az >/dev/null && az bicep version >/dev/null 2>&1; then \
		az bicep build --stdout --file infra/main.bicep >/dev/null && az bicep lint --file infra/main.bicep; \
	elif ! test -f '$(BICEP_CHECK)'; then \
		echo 'WARNING: infra/ WAS NOT CHECKED: there is no bicep, no az with bicep, and no $(BICEP_CHECK)' >&2; fi
	@if test -f '$(BICEP_CHECK)'; then $(BIN)/python '$(BICEP_CHECK)' --strict infra azure.yaml; fi

suite: $(STAMP) ## Run the tests alone (ARGS="-k name" selects, ARGS="-n 0 --pdb" debugs)
	@echo '== suite'
	@$(PYTEST) $(ARGS)

soak: $(STAMP) ## Break things at random on SQLite and PostgreSQL for MINUTES (30), and print what came of it
	@$(BIN)/python -m tests.reliability.soak $(if $(MINUTES),--minutes $(MINUTES))

bench: $(STAMP) ## Measure the product beside what it is compared with, and write benchmarks/README.md (NAMES, USERS)
	@$(BIN)/python -m benchmarks $(NAMES) $(USER_COUNT)

format: $(STAMP) ## Format the code and repair what can be repaired
	@$(BIN)/ruff check --fix --quiet || true
	@$(BIN)/ruff format

venv: $(STAMP) ## Set up .venv/, and again only after the requirements changed
	@echo '$(BIN)/python is ready'

$(STAMP): requirements.txt requirements-dev.txt
	@test -n '$(VERSION)' || { echo 'error: $(PYTHON) is not a working Python; choose one with make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'error: Python 3.11 or newer is needed and $(PYTHON) is $(VERSION); choose one with make PYTHON=python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo 'error: $(PYTHON) cannot make virtual environments; its venv module is missing (on Debian and Ubuntu: apt install python3-venv)' >&2; exit 1; }
	@echo 'Installing what development needs into $(VENV) (once, about a minute)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --requirement requirements-dev.txt
	@touch $(STAMP)

clean: ## Remove everything that was generated, the local databases too
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache .local
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo 'Clean'
