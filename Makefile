# `make demo` shows a result, `make test` checks everything; both build .venv first.
# Another interpreter: make demo PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help demo test lint notebooks clean

help:
	@echo "make demo       sample the built-in system and compare it with reference MD (outputs/demo)"
	@echo "make test       run the tests"
	@echo "make lint       check the style"
	@echo "make notebooks  run the notebooks"
	@echo "make clean      remove .venv and the demo's output"

demo: $(INSTALLED)
	$(BIN)/molflow demo --out outputs/demo

test: $(INSTALLED)
	$(BIN)/python -m pytest

lint: $(INSTALLED)
	$(BIN)/ruff check .

notebooks: $(INSTALLED)
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=600 notebooks

clean:
	rm -rf $(VENV) outputs/demo

# torch comes first and alone, so that the pinned build is chosen before anything else asks for one
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("molflow needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --progress-bar off -c constraints.txt torch
	$(BIN)/python -m pip install --progress-bar off -c constraints.txt -e '.[test]'
	@touch $@
