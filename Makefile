# Everything from a fresh clone: `make lab` to look, `make test` to check. `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help

PYTHON ?= python3
PORT ?= 8888
HEADLESS ?=

VENV := .venv
BIN := $(VENV)/bin
MODEL := smollm2-135m
NOTEBOOK := notebooks/quickstart.ipynb
FRONT_END := $(shell find js -not -path 'js/lib*' 2>/dev/null) $(wildcard package.json package-lock.json tsconfig.json)

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "mechwidgets needs Python 3.10 or newer; choose one with: make PYTHON=python3.12 …" >&2; exit 1; }
	@# Without a package.json of its own, ours would make ES modules of JupyterLab's scripts, which they are not.
	mkdir -p $(VENV) && echo '{"type": "commonjs"}' > $(VENV)/package.json
	$(PYTHON) -m venv $(VENV)

# The build hook decides whether the front end has to be built; this only asks it whenever it might.
$(VENV)/installed: $(BIN)/pip pyproject.toml constraints.txt hatch_build.py mechwidgets/__init__.py $(NOTEBOOK) $(FRONT_END)
	@echo 'Installing mechwidgets into $(VENV); the first time this takes some minutes …'
	$(BIN)/pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	touch $@

# Our JupyterLab asks nobody for news or updates; a user's own JupyterLab is left as it is.
$(VENV)/share/jupyter/lab/settings/overrides.json: | $(VENV)/installed
	mkdir -p $(@D)
	echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}' > $@

.PHONY: setup
setup: $(VENV)/installed $(VENV)/share/jupyter/lab/settings/overrides.json ## Make .venv, the front end and the default model
	$(BIN)/mechwidgets fetch $(MODEL)

.PHONY: lab
lab: setup ## Open JupyterLab on the quickstart (HEADLESS=1: print the URL, open no browser; PORT=8888)
	$(BIN)/jupyter lab \
	  --ServerApp.ip=127.0.0.1 --ServerApp.port=$(PORT) --ServerApp.root_dir='$(CURDIR)' \
	  --LabApp.default_url=/lab/tree/$(NOTEBOOK) \
	  --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
	  $(if $(HEADLESS),--no-browser --ServerApp.port_retries=0) $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: test
test: lint test-python test-js test-e2e ## Run every check there is

# No test may ask a hub for anything, nor see the Jupyter settings of whoever runs it.
test-%: export HF_HUB_OFFLINE := 1
test-%: export TOKENIZERS_PARALLELISM := false
test-%: export JUPYTER_CONFIG_DIR := $(CURDIR)/test-results/jupyter/config
test-%: export JUPYTER_DATA_DIR := $(CURDIR)/test-results/jupyter/data
test-%: export JUPYTER_RUNTIME_DIR := $(CURDIR)/test-results/jupyter/runtime
test-%: export IPYTHONDIR := $(CURDIR)/test-results/ipython

.PHONY: lint
lint: $(VENV)/installed node_modules/.package-lock.json ## ruff, mypy, biome, tsc
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	npm run --silent lint
	npm run --silent check

.PHONY: test-python
test-python: setup ## pytest, without the browser
	$(BIN)/python -m pytest -m 'not e2e'

.PHONY: test-js
test-js: node_modules/.package-lock.json $(VENV)/installed ## vitest in a real Chromium
	CHROMIUM_PATH="$$($(BIN)/python -m tests.e2e.chromium)" npm test --silent

.PHONY: test-e2e
test-e2e: setup ## A real JupyterLab in a real Chromium
	CHROMIUM_PATH="$$($(BIN)/python -m tests.e2e.chromium)" $(BIN)/python -m pytest -m e2e

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --include=dev --no-audit --no-fund
	touch $@

.PHONY: format
format: $(VENV)/installed node_modules/.package-lock.json ## Let ruff and biome rewrite the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	npm run --silent format

.PHONY: build
build: $(VENV)/installed ## The sdist and the wheel, into dist/
	rm -rf dist
	$(BIN)/python -m build

.PHONY: clean
clean: ## Remove all that this Makefile made; the model in your cache folder stays
	rm -rf $(VENV) node_modules dist test-results js/lib mechwidgets/static mechwidgets/labextension
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.git/*' -type d -prune -exec rm -rf {} +
