# `make demo` shows a result, `make test` checks everything; both build .venv first.
# Another interpreter: make demo PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

NOTEBOOKS := $(wildcard notebooks/*.ipynb)
EXECUTED := docs/notebooks

.PHONY: help demo test lint notebooks docs clean

help:
	@echo "make demo       sample the built-in system and compare it with reference MD (outputs/demo)"
	@echo "make test       run the tests"
	@echo "make lint       check style and types"
	@echo "make notebooks  run the notebooks, and keep them with their pictures in $(EXECUTED)"
	@echo "make docs       build the documentation from them (docs/_build/html/index.html)"
	@echo "make clean      remove .venv, the demo's output and what the documentation was built of"

demo: $(INSTALLED)
	$(BIN)/molflow demo --out outputs/demo

# A process a core and a thread a process: on busy cores two threads wait for each other.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/mypy

# Copies are run and keep what came of it: the notebooks themselves stay without output.
notebooks: $(INSTALLED)
	rm -rf .notebooks $(EXECUTED)
	cp -r notebooks .notebooks
	$(BIN)/python -m pytest --nbmake --overwrite --nbmake-timeout=600 .notebooks/*.ipynb
	mv .notebooks $(EXECUTED)
	@touch $(EXECUTED)/.done

# Runs the notebooks only if they have not been run since they were changed.
$(EXECUTED)/.done: $(NOTEBOOKS)
	$(MAKE) notebooks

docs: $(INSTALLED) $(EXECUTED)/.done
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:
	rm -rf $(VENV) outputs/demo docs/_build docs/api docs/generated $(EXECUTED)

# torch comes first and alone, so that the pinned build is chosen before anything else asks for one
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("molflow needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --progress-bar off -c constraints.txt torch
	$(BIN)/python -m pip install --progress-bar off -c constraints.txt -e '.[test]'
	@touch $@
