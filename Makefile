# Every target installs what it needs into .venv; nothing outside this folder is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
export OMP_NUM_THREADS ?= 2

.PHONY: setup demo test test-all lint bench docs clean

$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit("aimed needs Python 3.11 or later; set PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) -e '.[demo,deep,imaging]'
	@touch $@

$(VENV)/.dev: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.demo

setup: $(VENV)/.dev  ## everything a developer needs

demo: $(VENV)/.demo  ## run the shipped studies and say where their reports are
	$(BIN)/aimed demo

lint: $(VENV)/.dev  ## style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(VENV)/.dev lint  ## what CI runs
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m 'not slow'

test-all: $(VENV)/.dev lint  ## with the slow tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

bench: $(VENV)/.dev  ## start-up, the demo by stage, one million rows, the survival engine, the metrics, radiographs, outlines and effects beside their peers
	$(PIP) statsmodels
	$(PIP) --no-deps confidenceinterval==1.0.5
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/demo.py
	$(BIN)/python benchmarks/million_rows.py
	$(BIN)/python benchmarks/survival.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/imaging.py
	$(BIN)/python benchmarks/segmentation.py
	$(BIN)/python benchmarks/causal_forest.py
	$(BIN)/python benchmarks/effects.py
	$(BIN)/python benchmarks/effects_truth.py
	$(BIN)/python benchmarks/heterogeneity.py

docs: $(VENV)/.dev  ## write the reference pages from the code
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) runs build dist
