# The two targets a newcomer needs: `make demo` and `make test`. The plain pip lines behind them are in README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# `make test` leaves out tests marked slow; `make test MARKERS=` runs all of them, as CI does.
MARKERS ?= not slow
DEMO := demo-output
# Processes that compute the cells of the demo.
WORKERS ?= 2
# One thread: on two cores that do anything else, two threads spend their time waiting for each other (measured: the
# first cell of the demo took 151 s with two, 52 s with one, under the same load).
export OMP_NUM_THREADS ?= 1

# The frameworks of the plugins live in an environment of their own: they bring much that art-spiking does not need.
FRAMEWORKS := .venv-frameworks
FRAMEWORK_PLUGINS := spikingjelly norse sinabs
# So does Triton, which SpikingJelly would take up if it found it.
TRITON := .venv-triton

.PHONY: install demo test test-frameworks test-triton lint types format clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt leaderboard/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "art-spiking needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[tonic,dev]' -e leaderboard
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/art-spiking leaderboard run leaderboard/submissions --suite events-quick --workers $(WORKERS) \
	  --out $(DEMO)/records --figures $(DEMO)/figures --keep-events
	$(BIN)/art-spiking leaderboard transfer $(DEMO)/records --suite events-quick
	$(BIN)/art-spiking leaderboard site --submissions leaderboard/submissions \
	  --records $(DEMO)/records --figures $(DEMO)/figures --out $(DEMO)/site
	@echo
	@echo "The leaderboard page:     $(CURDIR)/$(DEMO)/site/index.html"
	@echo "Clean and adversarial:    $(CURDIR)/$(DEMO)/figures/"
	@echo "The evidence, per cell:   $(CURDIR)/$(DEMO)/records/"

test: $(STAMP)
	$(BIN)/python -m pytest -m '$(MARKERS)'

test-frameworks:
	$(PYTHON) -m venv $(FRAMEWORKS)
	$(FRAMEWORKS)/bin/python -m pip install --quiet --disable-pip-version-check -c plugins/constraints.txt \
	  -e . $(FRAMEWORK_PLUGINS:%=-e plugins/art-spiking-%) pytest pytest-timeout
	@# Without its dependencies: it asks for an older nir, and for the driver of a chip.
	$(FRAMEWORKS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -c plugins/constraints.txt sinabs
	$(FRAMEWORKS)/bin/python -m pytest -c pyproject.toml $(FRAMEWORK_PLUGINS:%=plugins/art-spiking-%/tests)

test-triton:
	$(PYTHON) -m venv $(TRITON)
	$(TRITON)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  -e . triton==3.9.0 hypothesis pytest pytest-timeout
	$(TRITON)/bin/python -m pytest tests/test_triton_scan.py

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy art_spiking leaderboard/art_spiking_leaderboard
	$(BIN)/mypy --allow-untyped-calls --no-warn-return-any benchmarks
	$(BIN)/mypy --config-file tests/mypy.ini tests

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(FRAMEWORKS) $(TRITON) $(DEMO)
