# make demo       set up a virtual environment, then find and test the acronym circuit
# make test       all tests; those in a browser where a Chromium is found
# make screenshots  the pictures of the dashboard in the README, made by its tests
# make lint       format, lint, types, import layers
# make dashboard  browse the runs in a web page on this machine
# make figures    the figures of the README, from runs of the demo, discovery, mcq_anchored and backpatch
# make wheel      build the wheel into dist/

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; \
	done)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev
ARGS ?=

.PHONY: demo test lint dashboard figures screenshots wheel clean
.DELETE_ON_ERROR:

demo: $(READY)
	$(BIN)/mechbench demo $(ARGS)

dashboard: $(READY)
	$(BIN)/mechbench dashboard $(ARGS)

# Names of tests must be the same in every process, so sets have one order.
test: $(DEV_READY)
	PYTHONHASHSEED=0 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 $(ARGS)

lint: $(DEV_READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# Drawn at full resolution by the same code as for papers.
DEMO_FIGURES := heads-current-word circuit-formation
DISCOVERY_FIGURES := circuit curve
CHOICE_FIGURES := update-of-pulling-neurons choice-lens
figures: demo
	$(BIN)/mechbench export acronyms --store mechbench-demo --format png --preset text --out build/figures
	mkdir -p circuits/acronyms/figures circuits/discovery/figures
	cp $(DEMO_FIGURES:%=build/figures/%.png) circuits/acronyms/figures/
	$(BIN)/mechbench run discovery --out mechbench-demo
	$(BIN)/mechbench export discovery --store mechbench-demo --format png --preset text --out build/discovery
	cp $(DISCOVERY_FIGURES:%=build/discovery/%.png) circuits/discovery/figures/
	$(BIN)/mechbench run mcq_anchored --out mechbench-demo
	$(BIN)/mechbench export mcq-anchored --store mechbench-demo --format png --preset text --out build/choices
	mkdir -p circuits/mcq_anchored/figures
	cp $(CHOICE_FIGURES:%=build/choices/%.png) circuits/mcq_anchored/figures/
	$(BIN)/mechbench run backpatch --out mechbench-demo
	$(BIN)/mechbench export backpatch --store mechbench-demo --format png --preset text --out build/backpatch
	mkdir -p circuits/backpatch/figures
	cp build/backpatch/back-patching.png circuits/backpatch/figures/

screenshots: $(DEV_READY)
	MECHBENCH_SCREENSHOTS=$(CURDIR)/build/screenshots PYTHONHASHSEED=0 OMP_NUM_THREADS=1 \
		$(BIN)/python -m pytest tests/apps/browser $(ARGS)
	$(BIN)/python -m tests.apps.browser.readme_pictures build/screenshots

wheel: $(DEV_READY)
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean:
	rm -rf $(VENV) dist build

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "mechbench needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# One command with the constraints, so that no second version of anything is ever fetched.
$(READY): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(DEV_READY): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY) $@
