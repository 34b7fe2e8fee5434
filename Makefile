# `make demo` and `make test` do everything on a fresh machine: set up, then the job.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# A plain `torch` can bring gigabytes of CUDA; this pin has a CPU build in many indexes. To use
# another: make demo TORCH="torch"
TORCH ?= torch==2.13.0
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage test-slow check format bench bench-llm bench-planners bench-sgrl-http bench-ellm bench-lmgt bench-teaching bench-ultra bench-encoders ablations docs build clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -e 's/:.*##/\t/' | expand -t 18

setup: $(STAMP) ## make the virtual environment with everything in it

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[sb3,llm,redis,sandbox,embed-offline,crafter,craftax,minigrid,atari,mujoco,vision,minari,docs,dev]"
	# Without the old gym that it asks for: RecSim runs on Gymnasium here.
	$(BIN)/python -m pip install --quiet absl-py gin-config scipy six
	$(BIN)/python -m pip install --quiet --no-deps recsim-no-tf==0.2.3
	touch $(STAMP)

demo: setup ## train the same agent with and without guidance on Craftax-Classic
	$(BIN)/llm-wrappers demo

test: setup ## run the tests and doctests
	$(BIN)/python -m pytest --numprocesses 2

coverage: setup ## run the same with coverage, which takes a third longer, and hold it to 90 %
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest --numprocesses 2 --cov --cov-report=term

test-slow: setup ## run the tests that `make test` leaves out, and try more examples
	$(BIN)/python -m pytest --numprocesses 2 -m slow
	HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest --numprocesses 2 tests/wrappers tests/guidance tests/sandbox tests/trajectories tests/llm

check: setup ## lint, format, types, import layers, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: setup ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## measure what the wrappers cost, as ratios within one run
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/each_wrapper.py

bench-llm: setup ## measure the language model client against a server on this machine
	$(BIN)/python benchmarks/llm_client.py

bench-planners: setup ## measure contained planners, and show what attacks come to
	$(BIN)/python benchmarks/planner_containment.py

bench-sgrl-http: setup ## have a scripted model write planners over HTTP: good, wrong and hostile
	$(BIN)/python benchmarks/sgrl_over_http.py

bench-lmgt: setup ## train with reward shifts by judges of known quality (LMGT)
	$(BIN)/python benchmarks/lmgt.py

bench-ellm: setup ## pretrain without rewards of the environment (ELLM)
	$(BIN)/python benchmarks/ellm.py

bench-teaching: setup ## measure what a policy learns from each way of giving advice (ULTRA)
	$(BIN)/python benchmarks/ultra_teaching.py
	$(BIN)/python benchmarks/ultra_lookup.py
	$(BIN)/python benchmarks/ultra_fidelity.py

bench-ultra: setup ## train a sub-optimal policy on with advice at critical states (ULTRA)
	$(BIN)/python benchmarks/ultra.py

bench-encoders: setup ## measure what encoding captions costs, and what remembering saves
	$(BIN)/python benchmarks/encoders.py

ablations: setup ## train the arms of the SGRL ablation (hours)
	$(BIN)/python benchmarks/sgrl.py

docs: setup ## build the documentation
	$(BIN)/sphinx-build --fail-on-warning --keep-going -b html docs docs/_build/html

build: setup ## build the wheel and the source distribution
	$(BIN)/python -m build

clean: ## remove everything that can be made again
	rm -rf $(VENV) build dist docs/_build runs .pytest_cache .mypy_cache .ruff_cache .coverage*
