# Two commands on a bare machine: `make demo` and `make test`. Both set up .venv if it is missing.
PYTHON ?= python3
# On a machine whose index serves only CUDA builds of torch, name an index with CPU builds:
#   make setup TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM := false

.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## create .venv from requirements/cpu.lock

$(STAMP): requirements/cpu.lock pyproject.toml
	@echo "setup: creating $(VENV) with $(PYTHON) and installing requirements/cpu.lock (about 3 minutes)"
	@PYTHON="$(PYTHON)" TORCH_INDEX="$(TORCH_INDEX)" sh requirements/install.sh $(VENV)
	@touch $(STAMP)

demo: $(STAMP)  ## build two adapters, serve both from one vLLM, ask them
	@$(BIN)/python demo.py

test: $(STAMP)  ## the whole test suite (under 25 minutes on 2 cores)
	@$(BIN)/python -m pytest -m "not slow"

test-all: $(STAMP)  ## everything, slow checks too
	@$(BIN)/python -m pytest

lint: $(STAMP)  ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(STAMP)  ## speed, as ratios side by side in one run
	@$(BIN)/python -m bench

clean:  ## remove .venv and caches
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache build dist

.PHONY: help setup demo test test-all lint bench clean
