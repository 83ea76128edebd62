# One target per chore. `make demo` and `make test` are all that a fresh machine needs.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
ONLY   ?=
# Many containers set it; each of the processes of a run would then compile hundreds of modules for itself.
export PYTHONDONTWRITEBYTECODE :=
IMPORTED := forgeline.cli.app, lightning, matplotlib.pyplot, mlflow, pandas, ray.train.torch, timm, torchmetrics

.PHONY: help setup demo test acceptance lint format types bench lock clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /  \1\t/' | expand -t 14

setup: $(READY) ## Create .venv with the locked packages and forgeline itself

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed, found " + sys.version.split()[0] + "; set PYTHON=/path/to/python3.11")'
	@echo "setting up $(VENV): about 5 minutes and 7.5 GB"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@# Compiling all that is installed takes minutes; what most commands and workers import takes one.
	@$(BIN)/python -c 'import $(IMPORTED)'
	@touch $@

demo: setup ## Train ResNet-18 on 5,000 MNIST digits, register it, measure it on the test split
	$(BIN)/forgeline run jobs/specs/digits.yaml
	$(BIN)/forgeline run jobs/specs/evaluate-digits.yaml

test: setup ## Run the test suite (under 20 minutes on 2 cores, no network, no GPU)
	$(BIN)/python -m pytest -m "ray and not acceptance and not gpu"
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "not ray and not acceptance and not gpu"

acceptance: setup ## Hold every bar: make acceptance [ONLY=group]
	$(BIN)/python -m benchmarks.acceptance $(ONLY)

lint: setup ## Check style
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: setup ## Rewrite to style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: setup ## Check types
	$(BIN)/mypy

bench: setup ## Measure speed against named peers
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.logging_overhead
	$(BIN)/python -m benchmarks.checkpoint_stall
	$(BIN)/python -m benchmarks.recovery
	$(BIN)/python -m benchmarks.sweep
	$(BIN)/python -m benchmarks.decoder_throughput
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.tracking_throughput sqlite
	$(BIN)/python -m benchmarks.observation
	$(BIN)/python -m benchmarks.drift_report

lock: setup ## Write requirements.lock from what is installed
	$(BIN)/pip freeze --exclude-editable --exclude forgeline | grep -E '^[A-Za-z0-9_.-]+==' | sort -f > requirements.lock

clean: ## Remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
