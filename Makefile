# What a person does with this repository. `make` alone shows it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo up down recommend train train-demo prepare test check test-numerics check-pythons lint \
	bench chaos lock sbom pin-images clean

export RECLM_HOME ?= $(CURDIR)/.reclm
# Modules are compiled when they are first read. Not kept, they would be compiled by every process.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && \
	command -v "$$p" && break; done)
BIN := .venv/bin
# Every file that pip fetches is held against a hash in these.
INSTALL := $(BIN)/python deploy/install.py
LOCKED := pyproject.toml services/client/pyproject.toml requirements.lock deploy/torch-cpu.txt \
	deploy/install.py deploy/requirements.py
# Tests run in two processes: all that ask the one vLLM in the first, most others in the second.
PROCESSES := -n 2 --dist loadscope
# vLLM runs on Linux x86-64; elsewhere the model runs inside the service.
SERVING := serving assets$(if $(filter Linux-x86_64,$(shell uname -sm | tr ' ' -)),, local)

help: ## Show this.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.serving ## Make .venv with what the service needs.

demo: setup ## From nothing to the profiles of real users; stops everything again.
	@$(BIN)/reclm-serve demo

up: setup ## Start Redis, vLLM and the service, and leave them running.
	@$(BIN)/reclm-serve up

down: setup ## Stop what `make up` started; profiles are kept.
	@$(BIN)/reclm-serve down

recommend: .venv/.recommenders ## Install what reclm-recommend trains and measures with.

train: .venv/.training ## Install what reclm-train trains with.

train-demo: .venv/.dev ## Run every training job on a tiny random Llama.
	@$(BIN)/reclm-serve models get SmolLM2-135M-Instruct
	@$(BIN)/python -m pytest -q -s tests/training/jobs/test_all_jobs.py

prepare: .venv/.dev
	@$(BIN)/reclm-serve prepare

test: prepare ## Run all tests, with a real Redis and a real vLLM; a part with TESTS=tests/...
	@$(BIN)/python -m pytest $(PROCESSES) $(TESTS)

check: lint ## Run the checks, and the tests that need no server and are not slow.
	@$(BIN)/python -m pytest -q $(PROCESSES) -m "not stack and not model and not slow" $(TESTS)

test-numerics: .venv/.dev ## Run the numerical tests on other BLAS kernels, with one and two threads.
	@.ci/numerics $(BIN)/python

check-pythons: prepare ## Run the tests without servers on the other Pythons that are installed.
	@.ci/pythons

lint: .venv/.dev ## Check format, style, types and import contracts.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

chaos: prepare ## Cause faults under load for 5 minutes, and check every answer: make chaos HOURS=4 MODEL=scripted
	@$(BIN)/python -u -m tests.chaos $(if $(HOURS),--hours $(HOURS),--minutes $(or $(MINUTES),5)) \
		$(if $(MODEL),--model $(MODEL)) $(if $(REDIS),--redis $(REDIS)) $(if $(FSYNC),--fsync $(FSYNC)) \
		$(if $(SEED),--seed $(SEED)) $(if $(RECOVERY),--recovery-s $(RECOVERY)) \
		$(if $(FAULTS),--faults $(FAULTS))

bench: prepare ## Run the benchmarks, or one group: make bench ONLY=serving
	@$(BIN)/python -m tests.benchmarks $(if $(ONLY),--only $(ONLY))

lock: .venv/pyvenv.cfg ## Write the files of hashes, after a change of a version.
	@$(INSTALL) packaging uv
	@$(BIN)/python deploy/lock.py

sbom: .venv/.dev ## List what is installed as CycloneDX, in build/sbom*.json.
	@deploy/sbom.sh build

pin-images: ## Write the digests of the images that compose uses into .env.
	@deploy/pin-images.sh .env

clean: ## Delete everything that was made or fetched here.
	@if [ -x $(BIN)/reclm-serve ]; then $(BIN)/reclm-serve down; fi
	rm -rf .venv .reclm build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.venv/pyvenv.cfg:
	@if [ -z "$(PYTHON)" ]; then echo "error: no Python 3.11, 3.12 or 3.13 on the PATH" >&2; exit 1; fi
	@echo "Making .venv with $(PYTHON) ..."
	@$(PYTHON) -m venv .venv

.venv/.serving: .venv/pyvenv.cfg $(LOCKED)
	@echo "Installing the service ..."
	@$(INSTALL) $(SERVING)
	@touch $@

.venv/.recommenders: .venv/.serving
	@echo "Installing the recommenders ..."
	@$(INSTALL) $(SERVING) recommenders
	@touch $@

.venv/.training: .venv/.serving
	@echo "Installing the trainers ..."
	@$(INSTALL) $(SERVING) training
	@touch $@

.venv/.dev: .venv/pyvenv.cfg $(LOCKED)
	@echo "Installing everything for development ..."
	@$(INSTALL) dev
	@touch $@ .venv/.recommenders .venv/.serving .venv/.training
