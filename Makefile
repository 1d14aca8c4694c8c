# Run `make` for the list of targets. Set-up runs by itself and costs nothing when nothing changed.
PYTHON ?= python3
VEHICLES ?= 20
DATA_DIR ?= .demo
JSON ?=
CITY ?=
UPGRADE ?=

VENV := .venv
PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest
SAY := @printf '== %s\n'
COMPILE = $(PY) -m uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header $(if $(UPGRADE),--upgrade)

# The caller's own pip settings (mirror, certificates) are respected; its advice about pip is not needed.
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup check static test browser demo bench faults fuzz soak lock schema clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.assets ## make .venv with the locked packages and the page assets

check: static ## format, lint, boundaries, types and the fast tests: before every commit
	$(SAY) 'fast tests'
	@$(PYTEST) -q -m 'not slow and not story'

test: static browser ## every check and every test, with its own set-up: what CI runs
	$(SAY) 'all tests'
	@$(PYTEST) -n 4 --dist loadfile --no-loadscope-reorder

demo: $(VENV)/.assets ## the whole system with simulated vehicles; JSON=1 VEHICLES=20 DATA_DIR=.demo CITY=porto
	@exec $(PY) -m simulator.demo --vehicles $(or $(VEHICLES),20) --data-dir "$(or $(DATA_DIR),.demo)" $(if $(CITY),--city $(CITY)) $(if $(filter 1,$(JSON)),--json)

bench: $(VENV)/.assets ## measure codec, journal, agent, ingest, commands and bookings; writes docs/results
	@$(PY) -m tests.bench

faults: $(VENV)/.assets ## the long loss stories, and rentals: kill -9 of everything; takes a quarter of an hour
	@$(PYTEST) -m faults

fuzz: $(VENV)/.assets ## every decoder against bytes nobody planned; SECONDS=60 for each
	@$(PY) -m tests.fuzz --seconds $(or $(SECONDS),60)

soak: $(VENV)/.assets ## the system for a long time under load; takes longer
	@$(PYTEST) -m soak

lock: $(VENV)/.venv ## compile requirements/*.lock again; UPGRADE=1 takes newer releases
	@$(PY) -m pip install --quiet 'uv>=0.5'
	@$(COMPILE) --extra edge --output-file requirements/edge.lock
	@$(COMPILE) --extra cloud --output-file requirements/cloud.lock
	@$(COMPILE) --extra edge --extra cloud --extra sim --extra dev --output-file requirements/dev.lock

schema: $(VENV)/.project ## write every generated file again
	@$(PY) -m protocol.generate
	@$(PY) -m tests.use_cases
	@$(PY) -m tests.import_table
	@$(PY) -m tests.supported
	@$(PY) -m tests.cloud.routes
	@$(PY) -m tests.cloud.events

clean: ## remove .venv, caches and page assets; the data folder stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@rm -rf cloud/pages/assets/node_modules cloud/pages/static/vendor
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

static: $(VENV)/.assets
	$(SAY) 'format'
	@$(PY) -m ruff format --check --quiet .
	$(SAY) 'lint'
	@$(PY) -m ruff check --quiet .
	$(SAY) 'boundaries'
	@$(VENV)/bin/lint-imports --no-logo
	$(SAY) 'types'
	@$(PY) -m mypy -n 2
	$(SAY) 'generated files'
	@$(PY) -m protocol.generate --check
	@$(PY) -m tests.use_cases --check
	@$(PY) -m tests.import_table --check
	@$(PY) -m tests.supported --check
	@$(PY) -m tests.cloud.routes --check
	@$(PY) -m tests.cloud.events --check

browser: $(VENV)/.assets
	@$(PY) -m tests.browser --install

$(VENV)/.venv:
	@command -v $(PYTHON) >/dev/null || { echo 'There is no $(PYTHON) here: install Python 3.11 or newer, or name one with make PYTHON=/path/to/python3.' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo '$(PYTHON) is older than 3.11: install a newer one, or name it with make PYTHON=/path/to/python3.' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo '$(PYTHON) has no venv or pip: install them (on Debian: apt-get install python3-venv), then run make again.' >&2; exit 1; }
	@echo 'making $(VENV)' >&2
	@$(PYTHON) -m venv $(VENV) >&2
	@touch $@

$(VENV)/.lock: requirements/dev.lock $(VENV)/.venv
	@echo 'installing the locked packages (a minute or two the first time)' >&2
	@$(PY) -m pip install --quiet --no-compile --require-hashes -r requirements/dev.lock >&2 || { echo 'The locked packages could not be installed: check the network and your pip settings, then run make again.' >&2; exit 1; }
	@touch $@

$(VENV)/.project: pyproject.toml $(VENV)/.lock
	@$(PY) -m pip install --quiet --no-deps --no-build-isolation -e . >&2
	@touch $@

$(VENV)/.assets: $(wildcard cloud/pages/assets.py cloud/pages/assets/package-lock.json) $(VENV)/.project
	@echo 'fetching the page assets' >&2
	@$(PY) -m cloud.pages.assets >&2
	@touch $@
