# Every target makes what it needs in .venv; a second run finds it there. Another Python: make test PYTHON=python3.12
# Options of the benchmark: make bench BENCH='--shapes full --threads 2'

PYTHON ?= python3
BIN := .venv/bin
STAMPS := .venv/stamps
SOURCES := pyproject.toml setup.py $(wildcard csrc/*.c csrc/*.h csrc/*.py csrc/*/*.c csrc/*/*.h)
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-all lint docs bench claims clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(STAMPS)/demo ## learn digits class by class and write a report to out/
	$(BIN)/python -m bitlearn demo --out out

test: $(STAMPS)/test ## run the tests; comparisons with large packages are skipped where they are not installed
	$(BIN)/python -m pytest

test-all: $(STAMPS)/test-all ## install the large packages too (PyTorch) and run every test
	$(BIN)/python -m pytest

lint: $(STAMPS)/lint ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(STAMPS)/docs ## build the documentation in docs/_build/html
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

bench: $(STAMPS)/bench ## time the kernels beside other packages; tables and a plot go to out/
	@mkdir -p out
	$(BIN)/python -m bitlearn bench --json out/bench.json $(BENCH)
	$(BIN)/python -m bitlearn.bench.tables out/bench.json --out out

claims: $(STAMPS)/claims ## measure what the documentation claims
	@mkdir -p out
	$(BIN)/python -m bitlearn claims --json out/claims.json

clean: ## remove all that these targets made, .venv included
	rm -rf .venv build dist out docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f bitlearn/backends/_cext*.so
	find bitlearn bench tests csrc docs -name __pycache__ -prune -exec rm -rf {} +

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("bitlearn needs Python 3.11 or newer, got %d.%d from $(PYTHON): name another one, as in make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Creating .venv"
	@$(PYTHON) -m venv .venv
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/package: $(STAMPS)/venv $(SOURCES)
	@echo "Installing bitlearn in .venv and compiling its C extension"
	@$(PIP) --editable .
	@touch $@

# The package is there by now, so this adds the extra's requirements alone and compiles nothing again.
$(STAMPS)/%: $(STAMPS)/package
	@echo "Installing what 'make $*' needs"
	@$(PIP) 'bitlearn[$*]'
	@touch $@
