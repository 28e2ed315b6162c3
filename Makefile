# make demo     both desks triage questions that nobody trained on
# make test     the tests; make test-slow the slow ones; make check format, lint, types and tests
# make models   train both desks again; make bench measure quality and speed
#
# Everything lives in .venv, made on first use. Needed: make and Python 3.11 or newer.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DESKS := industry-trade land

.PHONY: help demo test test-slow check format models bench clean
.DELETE_ON_ERROR:

help:
	@sed -n '/^# make/s/^# //p' Makefile

demo: $(VENV)/.installed
	@echo
	@echo "Two desks of ministries, and questions that nobody trained on. Each gets a topic, who decides,"
	@echo "how sure that is, and the nearest known question. (?) marks what is not sure enough; where topic or"
	@echo "jurisdiction are not, a person must look. The line after the sign § names the matter of the competence"
	@echo "register and the legal basis that is in force today."
	@for desk in $(DESKS); do \
		echo; echo "Desk $$desk"; \
		$(BIN)/triage predict models/$$desk datasets/$$desk/demo.txt --format table || exit; \
	done
	@echo
	@echo "Your own questions, one a line:  $(BIN)/triage predict models/land questions.txt --format table"
	@echo "From Python:                     see README.md; to train a desk of your own as well"

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -m "not slow"

# Exit code 5: there is no slow test.
test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -m slow || test $$? -eq 5

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -m "not slow"

format: $(VENV)/.installed-dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

models: $(VENV)/.installed
	@for desk in $(DESKS); do \
		$(BIN)/triage train models/$$desk/recipe.toml --overwrite || exit; \
	done

bench: $(VENV)/.installed-bench
	$(BIN)/python tests/benchmarks/jurisdiction.py
	$(BIN)/python tests/benchmarks/quality.py
	$(BIN)/python tests/benchmarks/reuse.py
	$(BIN)/python tests/benchmarks/index.py
	$(BIN)/python tests/benchmarks/vectors.py
	$(BIN)/python tests/benchmarks/report.py
	$(BIN)/python tests/benchmarks/noise.py
	$(BIN)/python tests/benchmarks/selection.py
	$(BIN)/python tests/benchmarks/drift.py
	$(BIN)/python tests/benchmarks/speed.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The package, installed once for each state of pyproject.toml. The code itself is used in place.

$(VENV)/.installed: pyproject.toml $(VENV)/.made
	@echo "Installing triage into $(VENV), once; this takes a minute or two"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-%: pyproject.toml $(VENV)/.made
	@echo "Installing triage[$*] into $(VENV), once; this takes a few minutes"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[$*]"
	@touch $@ $(VENV)/.installed

# The virtual environment. Debian ships venv without ensurepip; then python3-venv is installed where
# that is allowed, or the system's pip installs another into the environment.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
		&& echo "Installing python3-venv with apt-get" \
		&& { apt-get install -y -qq python3-venv >/dev/null 2>&1 \
			|| { apt-get update -qq >/dev/null 2>&1 && apt-get install -y -qq python3-venv >/dev/null 2>&1; }; } \
		&& rm -rf $(VENV) && $(PYTHON) -m venv $(VENV) >/dev/null 2>&1; } \
	|| { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV) >/dev/null 2>&1 \
		&& $(PYTHON) -m pip --python $(BIN)/python install -q pip >/dev/null 2>&1; } \
	|| { rm -rf $(VENV); $(PYTHON) -m virtualenv -q $(VENV) >/dev/null 2>&1; } \
	|| { rm -rf $(VENV); \
		echo "No virtual environment can be made; install it with: sudo apt-get install python3-venv" >&2; exit 1; }
	@touch $@
