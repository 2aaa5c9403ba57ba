# Each target makes the environment it needs, in .venv. Nothing has to be activated.
#
#   make demo    run the quickstart from end to end; leaves build/quickstart.html
#   make test    every check and every test
#   make soak    random faults on simulated and live clusters, as long as SECONDS=60 says
#   make lab     open the quickstart in JupyterLab; the notebooks about pictures are beside it
#   make bench   this cluster beside ProcessPoolExecutor, joblib, Dask and Ray
#   make clean   remove .venv, build and caches

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# Each test starts processes that import the package: compiled once, not hundreds of times.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# $(call install,extras): into .venv, pip's own words into build/pip.log.
define install
	@echo "Installing twistcluster[$(1)] into .venv (the log is build/pip.log) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check --editable '.[$(1)]' >build/pip.log 2>&1 || { \
		tail -n 15 build/pip.log; echo; echo "pip could not install what twistcluster needs: its log is build/pip.log."; exit 1; }
	@touch $@
endef

# $(call stage,name,command): one check of `make test`.
define stage
	@printf '\n==== %s\n' '$(1)'; $(2) || { printf '\nmake test stopped: "%s" failed (see above).\n' '$(1)'; exit 1; }
endef

.PHONY: help demo test soak lab bench clean

help:
	@sed -n 's/^#   //p' Makefile

.venv/bin/python:
	@mkdir -p build
	@for python in $${PYTHON:-} python3.11 python3.12 python3.13 python3; do \
		if "$$python" -c '$(FITS)' 2>/dev/null; then \
			echo "Making .venv with $$("$$python" --version) ..."; exec "$$python" -m venv --clear .venv; fi; done; \
	echo "No Python 3.11, 3.12 or 3.13 with its venv module was found (tried python3.11, python3.12, python3.13, python3)."; \
	echo "Install one (on Debian and Ubuntu: apt-get install python3.11-venv) or name yours: make demo PYTHON=/path/to/python3.12"; \
	exit 1

.venv/demo-ready: pyproject.toml | .venv/bin/python
	@mkdir -p build
	$(call install,quickstart$(comma)fast)

.venv/lab-ready: pyproject.toml | .venv/bin/python
	@mkdir -p build
	$(call install,quickstart$(comma)fast$(comma)images$(comma)recognition)

.venv/bench-ready: pyproject.toml | .venv/bin/python
	@mkdir -p build
	$(call install,bench$(comma)quickstart$(comma)fast)

.venv/test-ready: pyproject.toml | .venv/bin/python
	@mkdir -p build
	$(call install,test$(comma)quickstart$(comma)bench$(comma)fast$(comma)tls)

comma := ,
# As root, which one is in most containers, JupyterLab starts only if told to.
as_root = $(if $(filter 0,$(shell id -u)),--allow-root)

demo: .venv/demo-ready
	@$(BIN)/python tools/demo.py

lab: .venv/lab-ready
	@$(BIN)/python -m jupyterlab $(as_root) notebooks/01-quickstart.ipynb

bench: .venv/bench-ready
	@$(BIN)/twistcluster bench

test: .venv/test-ready
	$(call stage,ruff check,$(BIN)/ruff check .)
	$(call stage,ruff format --check,$(BIN)/ruff format --check .)
	$(call stage,mypy --strict,$(BIN)/mypy)
	$(call stage,import-linter,$(BIN)/lint-imports)
	$(call stage,doc tests,$(BIN)/python -m pytest -q --doctest-modules --doctest-glob='*.md' twistcluster docs README.md)
	$(call stage,tests three at a time,$(BIN)/python -m pytest tests -m "not alone" -n 3 --dist worksteal)
	$(call stage,tests that count what happens in a second,$(BIN)/python -m pytest tests -m alone)

SECONDS ?= 60
soak: .venv/test-ready
	@$(BIN)/python tools/soak.py --seconds $(SECONDS)

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find twistcluster tests tools -name __pycache__ -prune -exec rm -rf {} +
