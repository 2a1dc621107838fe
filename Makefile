# Two commands on a bare machine: `make demo` and `make test`. Both set up .venv if it is missing.
#
#   make setup                     .venv from requirements/cpu.lock; uv does the work
#   make setup DEVICE=gpu          … from requirements/gpu.lock, with the ordinary vLLM
#   make setup TORCH_INDEX=URL     torch from an index with CPU builds
#   make wheelhouse && make setup WHEELHOUSE=wheelhouse     the second where there is no network
PYTHON ?= python3
TORCH_INDEX ?=
WHEELHOUSE ?=
# What the tests are spread over; 0 is one process, with a debugger and output as they come. Engines
# that start and processes that are waited for leave a third of two cores to others; each takes 2 GB.
TEST_PROCESSES ?= $(shell awk '/^MemAvailable:/ { print ($$2 > 18000000) ? 4 : 3 }' /proc/meminfo)
SPREAD = -n $(TEST_PROCESSES) --dist loadgroup --no-loadscope-reorder
VENV := .venv
BIN := $(VENV)/bin
# What it was set up for last, so that `make test` after `make setup DEVICE=gpu` means the same one.
DEVICE ?= $(or $(shell cat $(VENV)/.device 2>/dev/null),cpu)
STAMP := $(VENV)/.installed-$(DEVICE)
export PYTHON DEVICE TORCH_INDEX WHEELHOUSE
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM := false
# vLLM and torch are compiled to bytecode once, not in each of the processes that import them.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## create .venv from requirements/cpu.lock (half a minute and a download of 1 GB)

$(STAMP): $(wildcard requirements/*.lock requirements/*.sh) pyproject.toml
	@sh requirements/install.sh $(VENV)
	@touch $(STAMP)

wheelhouse:  ## download all that `make setup WHEELHOUSE=wheelhouse` needs without a network
	@sh requirements/wheelhouse.sh "$(or $(WHEELHOUSE),wheelhouse)"

lock:  ## resolve the lock files anew; what is locked stays, but for UPGRADE='package …'
	@sh requirements/lock.sh

demo: $(STAMP)  ## build two adapters, serve both from one vLLM, ask them
	@$(BIN)/python demo.py

test: $(STAMP)  ## the test suite (about 15 minutes on 2 cores)
	@TMPDIR=$$(sh tests/folders.sh) $(BIN)/python -m pytest -m "not slow" $(SPREAD)

test-all: $(STAMP)  ## everything, slow checks too
	@TMPDIR=$$(sh tests/folders.sh) $(BIN)/python -m pytest $(SPREAD)

lint: $(STAMP)  ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(STAMP)  ## the documentation as pages in build/docs, pictures made, links and spelling checked
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-config --no-deps --require-hashes \
		-r requirements/docs.lock
	@$(BIN)/python -m docs.make
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@$(BIN)/python -m pytest -q -p no:cacheprovider tests/docs/test_words.py tests/docs/test_links.py

docs-typed: $(STAMP)  ## type every command of README, tutorials and how-tos, run the notebook
	@$(BIN)/python -m pytest -q tests/cli/test_readme.py tests/docs/test_pages.py tests/api/test_notebook.py tests/api/test_page.py \
		-k "two-layers or translations"

bench: $(STAMP)  ## speed, as ratios side by side in one run
	@$(BIN)/python -m bench

clean:  ## remove .venv and caches
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache build dist

.PHONY: help setup wheelhouse lock demo test test-all lint docs docs-typed bench clean
