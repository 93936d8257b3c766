# Everything a developer or a continuous-integration machine runs. `make` alone lists it.

# The first of these that there is; 3.11 is what constraints.txt was made with.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(if $(shell command -v $(name)),$(name))))
DATA ?= ../shared/data
DEMO ?= demo-output
PYTEST_ARGS ?=
# What `make accuracy` compares.
RIVALS := supervised_half_batch,supervised_longer,supervised_pair
METHODS ?= supervised,boundary,dtml,duo,$(RIVALS),asd_net,tcse,ua_mt,sassnet,duwm,dtc,mean_teacher,pseudo_label,cps,urpc,mc_net,bcp,ad_mt
METHODS_LEFT_ATRIUM ?= supervised,boundary,dtml,duo,$(RIVALS),ua_mt,dtc,mean_teacher,bcp,ad_mt
METHODS_LABELS ?= supervised,dtml,duo,supervised_longer,supervised_pair,ad_mt
SEEDS ?= 0,1,2
BENCHMARKS := error_rates fuzz_formats odd_scans

VENV := .venv
BIN := $(VENV)/bin
# Quoted from constraints.txt, so that a version is written in one place.
TORCH := $(shell grep '^torch==' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help demo package viewer test test-browser lint format check-real bench bench-quick accuracy docs clean

help:  ## list the targets
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "variables: PYTHON=$(PYTHON)  DATA=$(DATA)  DEMO=$(DEMO)  PYTEST_ARGS=$(PYTEST_ARGS)"
	@echo "of accuracy: SEEDS=$(SEEDS)  METHODS=$(METHODS)  METHODS_LEFT_ATRIUM=$(METHODS_LEFT_ATRIUM)"

# Each level of the environment is a stamp file, older than what it was made from only when it must be renewed.
# torch goes first and alone: a build of it that pip already prefers on this machine then satisfies the rest.
$(VENV)/.runtime: pyproject.toml constraints.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt "$(TORCH)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[bench]'
	touch $@

$(VENV)/.browser: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[browser]'
	touch $@

$(VENV)/.docs: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

package: $(VENV)/.dev viewer  ## the wheel in dist/, and a demo by it away from this checkout
	rm -rf dist && $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python -m pip install --quiet --no-deps --target dist/installed dist/duoseg-*.whl
	cd dist && PYTHONPATH=installed ../$(BIN)/python -m duoseg demo --steps 20 --out demo --quiet

viewer:  ## the 3-D viewer of report pages, by npm where there is one
	@$(PYTHON) hatch_build.py

demo: $(VENV)/.runtime viewer  ## phantoms, two methods, scores and a page, in a few minutes
	$(BIN)/duoseg demo --out $(DEMO)

test: lint  ## lint, then every test that needs no data folder
	$(BIN)/python -m pytest -m "not real and not browser" $(PYTEST_ARGS)

test-browser: $(VENV)/.browser viewer  ## the pages in Chromium, which must be installed
	$(BIN)/python -m pytest -m browser $(PYTEST_ARGS)

lint: $(VENV)/.dev  ## ruff, the type checker and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check --python-interpreter-path $(BIN)/python
	$(BIN)/lint-imports --no-cache --no-logo

format: $(VENV)/.dev  ## sort imports, mend what ruff can, lay the code out
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check-real: $(VENV)/.dev  ## the tests on real scans in DATA
	$(BIN)/python -m pytest -m real --data=$(DATA) $(PYTEST_ARGS)

bench: $(VENV)/.bench viewer  ## all benchmarks, those of speed and memory into docs/results/performance.md: many hours
	failed=; for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python benchmarks/$$script.py || failed=1; done; \
	$(BIN)/python benchmarks/performance.py $(if $(wildcard $(DATA)),--data $(DATA)) || failed=1; test -z "$$failed"

bench-quick: $(VENV)/.dev  ## the ratios that five minutes suffice for, against the same limits
	$(BIN)/python benchmarks/scores.py --runs 3
	$(BIN)/python benchmarks/distances.py --runs 3
	$(BIN)/python benchmarks/restoring.py --side 256 --repeats 3
	$(BIN)/python benchmarks/training_step.py --repeats 3 --steps 5
	$(BIN)/python benchmarks/published_step.py --repeats 1

accuracy: $(VENV)/.dev  ## the test scans' tables of docs/results from DATA, into results/: many hours; goes on where it stopped
	$(BIN)/duoseg compare $(DATA)/hippocampus --config protocols/hippocampus.toml --out results/hippocampus \
		--methods $(METHODS) --labelled 4 --seeds $(SEEDS) --device cpu
	$(BIN)/duoseg compare $(DATA)/hippocampus --config protocols/hippocampus.toml --out results/hippocampus \
		--methods supervised --labelled all --seeds 0 --device cpu
	$(BIN)/duoseg compare $(DATA)/hippocampus --config protocols/hippocampus.toml --out results/hippocampus-labels \
		--methods $(METHODS_LABELS) --labelled 1,2 --seeds $(SEEDS) --device cpu
	$(BIN)/duoseg compare $(DATA)/hippocampus --config protocols/hippocampus.toml --out results/hippocampus-labels \
		--methods supervised --labelled 8 --seeds $(SEEDS) --device cpu
	$(BIN)/duoseg compare $(DATA)/left_atrium --config protocols/left-atrium-cpu.toml --out results/left-atrium \
		--methods $(METHODS_LEFT_ATRIUM) --labelled 8 --seeds $(SEEDS) --device cpu
	$(BIN)/duoseg compare $(DATA)/left_atrium --config protocols/left-atrium-cpu.toml --out results/left-atrium \
		--methods supervised --labelled all --seeds 0 --device cpu
	$(BIN)/duoseg compare $(DATA)/left_atrium --config protocols/left-atrium-cpu.toml --out results/left-atrium \
		--methods supervised,dtml,duo --labelled 4 --seeds $(SEEDS) --device cpu

docs: $(VENV)/.docs  ## the documentation as a web site in site/
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b html -d $(VENV)/.doctrees docs site
	@echo "open site/index.html"

clean:  ## remove what make made
	rm -rf $(VENV) site build dist $(DEMO) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
