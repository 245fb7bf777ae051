# make ablation | smoke | test | lint | report | docs. Each installs what it needs into .venv first.
PYTHON ?= python3
BIN := .venv/bin
STUDY ?= sweeps/ablation.yaml
ROOT ?= runs/$(basename $(notdir $(STUDY)))
WORKERS ?= 0
BUDGET ?= 2h

.PHONY: install ablation smoke report test lint docs clean
export OMP_NUM_THREADS ?= 1
# uv compiles nothing, and where this is set Python keeps nothing: each of the tests' processes would compile torch anew
export PYTHONDONTWRITEBYTECODE :=

install: .venv/installed

# uv installs the 5 GB of torch in seconds, pip in minutes; either way the versions are those of constraints.txt
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gan_ablate needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q uv || true
	if $(BIN)/python -c 'import uv' 2>/dev/null; then \
	  $(BIN)/python -m uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
	  $(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'; \
	fi
	touch $@

ablation: install
	$(BIN)/gan-ablate sweep $(STUDY) --root $(ROOT) --workers $(WORKERS) --budget $(BUDGET)
	$(BIN)/gan-ablate report $(ROOT)

smoke: install
	$(BIN)/gan-ablate sweep sweeps/smoke.yaml --root runs/smoke --workers $(WORKERS)
	$(BIN)/gan-ablate report runs/smoke

report: install
	$(BIN)/gan-ablate report $(ROOT)

test: install
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: export NO_MKDOCS_2_WARNING := 1
docs: install
	$(BIN)/mkdocs build -q --strict
	@echo build/site/index.html

clean:
	rm -rf .venv build *.egg-info
