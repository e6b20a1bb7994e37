# image-rlhf: `make` prints the targets. All of them take CONFIG=configs/....yaml and SET="ppo.lr=1e-5 seed=3".
CONFIG ?= configs/digits.yaml
SET ?=
TEACHER ?= people
UI ?=
LIVE ?=
REPLAY ?=
ANNOTATORS ?=
DATA ?= ants_bees
SEEDS ?= 3
ROUNDS ?=
RUNS ?=
IMAGES ?=
TEXTS ?=
ENGINE ?=
FORMAT ?=
STORE ?=
SECONDS ?= 60
ARGS ?=
# A module's tests share what it made once, so they stay on one worker; slow modules come first (tests/conftest.py).
# They start many interpreters, which compile the project anew unless they may keep what they compiled.
PARALLEL = --numprocesses auto --dist loadfile --no-loadscope-reorder
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RLHF = $(BIN)/image-rlhf $(if $(DEBUG),--debug)
OPTIONS = --config "$(CONFIG)" $(if $(strip $(SET)),--set "$(SET)") $(if $(FORCE),--force)

.DEFAULT_GOAL := help
.PHONY: help setup demo rounds reference collect train-reward ppo infer rank serve export compare report feedback data test test-long test-fast fuzz lint docs bench load-test serve-test clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nOptions: CONFIG=configs/digits.yaml  SET="ppo.lr=1e-5 seed=3"  FORCE=1 (repeat a finished stage)  DEBUG=1 (show the traceback of an error)\n'

setup: $(READY)  ## make .venv with the project and its dependencies at tested versions

$(READY): pyproject.toml .ci/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the project into $(VENV); this is done once and takes a few minutes ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --constraint .ci/constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)  ## the complete pipeline on the embedded digits (or CONFIG), with reference and aligned policy compared
	@$(RLHF) run $(OPTIONS)

reference train-reward ppo: $(READY)
	@$(RLHF) $@ $(OPTIONS)

reference:  ## stage 0: train the reference policy on a few labelled images and freeze it
collect: $(READY)  ## stage 1a: the page for judging (LIVE=1: train meanwhile; UI=tk: a window; TEACHER=simulated or replay: nobody)
	@$(RLHF) collect $(OPTIONS) --teacher "$(TEACHER)" $(if $(LIVE),--live) $(if $(UI),--ui "$(UI)") $(if $(ANNOTATORS),--annotators "$(ANNOTATORS)")
train-reward:  ## stage 1b: train the reward model on the judgments
ppo:  ## stage 2: PPO against the frozen reward model, with a KL penalty to the reference

rounds: $(READY)  ## ask a simulated or replay teacher in ROUNDS=3, each trained and aligned; REPLAY=1: train stored rounds again
	@$(RLHF) rounds --config "$(CONFIG)" $(if $(strip $(SET)),--set "$(SET)") $(if $(ROUNDS),--rounds "$(ROUNDS)") $(if $(REPLAY),--replay) \
		$(if $(filter-out file default,$(origin SEEDS)),--seeds "$(SEEDS)")

infer: $(READY)  ## classify images: make infer IMAGES=folder (FORMAT=, TOP_K=, ABSTAIN=, REFERENCE=1, SHEET=, OUTPUT=, UI=tk, ENGINE=ray)
	@$(RLHF) infer --config "$(CONFIG)" $(if $(strip $(SET)),--set "$(SET)") \
		$(if $(OUTPUT),--output "$(OUTPUT)") $(if $(FORMAT),--format "$(FORMAT)") $(if $(TOP_K),--top-k "$(TOP_K)") \
		$(if $(ABSTAIN),--abstain-below "$(ABSTAIN)") $(if $(REFERENCE),--reference) $(if $(SHEET),--sheet "$(SHEET)") \
		$(if $(UI),--ui "$(UI)") $(if $(ENGINE),--engine "$(ENGINE)") $(if $(IMAGES),-- "$(IMAGES)")

rank: $(READY)  ## score and rank texts: make rank TEXTS=file.csv CONFIG=configs/texts.yaml (OUTPUT=)
	@$(RLHF) rank --config "$(CONFIG)" $(if $(strip $(SET)),--set "$(SET)") $(if $(OUTPUT),--output "$(OUTPUT)") $(if $(TEXTS),-- "$(TEXTS)")

export: $(READY)  ## export the policy for other programs: FORMAT="onnx torch huggingface" or some of them
	@$(RLHF) export --config "$(CONFIG)" $(if $(strip $(SET)),--set "$(SET)") $(foreach one,$(FORMAT),--format "$(one)")

serve: $(READY)  ## a page and an HTTP API that classify images, before and after alignment
	@$(RLHF) serve --config "$(CONFIG)" $(if $(strip $(SET)),--set "$(SET)")

feedback: $(READY)  ## quality of the judgments: agreement, consistency, side bias, speed
	@$(RLHF) feedback stats --config "$(CONFIG)" $(if $(strip $(SET)),--set "$(SET)")

compare: $(READY)  ## PPO and its baselines over SEEDS=3 seeds
	@$(RLHF) compare --config "$(CONFIG)" $(if $(strip $(SET)),--set "$(SET)") --seeds $(SEEDS)

report: $(READY)  ## one page about the run; RUNS="a b" compares runs
	@$(RLHF) report --config "$(CONFIG)" $(if $(strip $(SET)),--set "$(SET)") $(if $(strip $(RUNS)),--runs "$(RUNS)")

data: $(READY)  ## download a data set: make data DATA=ants_bees
	@$(RLHF) data "$(DATA)"

test: $(READY)  ## lint, types and the tests but the longest, one worker per core; ARGS="-k name" for pytest
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@said=$$(mktemp); $(BIN)/mypy > $$said 2>&1 & types=$$!; \
		PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(PARALLEL) -m "not long" $(ARGS); code=$$?; \
		wait $$types || { cat $$said; code=1; }; rm $$said; exit $$code

test-long: $(READY)  ## the longest tests, of about eleven minutes together
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(PARALLEL) -m long $(ARGS)

test-fast: $(READY)  ## the tests that need no browser, server process or training run
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest $(PARALLEL) -m "not slow and not long" $(ARGS)

fuzz: $(READY)  ## 2,000 new random inputs per test, where `make test` tries 60: files, settings, requests
	@FUZZ_EXAMPLES=2000 $(BIN)/python -m pytest tests/fuzz tests/feedback_store/test_seal_random_edits.py --timeout 3600

docs: $(READY)  ## the documentation as a site: build/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file .ci/mkdocs.yml
	@echo "build/site/index.html; with search: $(BIN)/python -m http.server --directory build/site"

lint: $(READY)  ## reformat and lint
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix . && $(BIN)/mypy

bench: $(READY)  ## benchmarks of speed, as ratios within one run
	@$(BIN)/python -m benchmarks.speed

load-test: $(READY)  ## people judge at once while servers are killed; STORE=postgresql: 300 people, three servers, one database
	@$(BIN)/python -m benchmarks.load_test $(if $(STORE),--store "$(STORE)")

serve-test: $(READY)  ## 64 clients for SECONDS=60, then hostile requests
	@$(BIN)/python -m benchmarks.serve_test --seconds $(SECONDS)

clean:  ## remove the environment and caches; runs and judgments stay
	rm -rf $(VENV) runs/.cache .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
