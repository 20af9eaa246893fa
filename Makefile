# make demo    answers on a portrait, then trains a network on drawn people and answers with it     make test    every check that CI runs
# make install the package and the trained weights into .venv                                       make clean   removes what these made
#
# Packages are installed by pip and not by uv, because pip reads the machine's pip.conf: where that points to a build of torch for processors alone, it is taken, and
# elsewhere the much larger one of PyPI (Linux) still works.

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
WEIGHTS := $(wildcard weights/polyface_weights/*/*.onnx)

.PHONY: demo test install clean

# On a fresh machine the portrait is answered before torch, which is large, is installed.
demo: $(VENV)/.installed
	@test -e $(VENV)/.train || $(BIN)/polyface demo
	@$(MAKE) --no-print-directory $(VENV)/.train
	@$(BIN)/polyface demo

test: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -q

install: $(VENV)/.installed

clean:
	rm -rf $(VENV) polyface-demo .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find polyface tests weights -name __pycache__ -prune -exec rm -rf {} +

# Stamps: each is remade when what it was installed from changed. The package is installed in place, so its own files need no stamp.

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "polyface needs Python 3.11 or later; say which: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml $(WEIGHTS)
	$(PIP) -e '.[demo]' $(if $(WEIGHTS),./weights)
	@touch $@

$(VENV)/.train: $(VENV)/.installed
	$(PIP) '$(TORCH)' -e '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	$(PIP) -e '.[dev]'
	@touch $@
