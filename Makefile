# The doors of this project. `make help` lists them.

BIN   := .venv/bin
STAMP := .venv/.stamp

# The first of these that is new enough; `make PYTHON=/path/to/python …` overrides the choice.
PYTHON = $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

.DEFAULT_GOAL := help
.PHONY: help demo test test-wide lint fix bench soak venv clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP)-package ## the whole story on a throw-away server and a local folder; then on three stores at once
	@$(BIN)/dwebbackup demo
	@.ci/second-act

test: $(STAMP)-dev ## all tests; ARGS="-k age" picks some
	@.ci/system-packages test
	$(BIN)/python -m pytest -n auto $(ARGS)

test-wide: export DWEBBACKUP_TEST_WIDE = 1
test-wide: test ## the same, with more examples and more server versions

lint: $(STAMP)-dev ## style, types, which room may import which, the Dockerfile
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

fix: $(STAMP)-dev ## mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(STAMP)-dev ## ratios against other tools, side by side; ARGS="--only restore" picks rows
	@.ci/system-packages bench
	@$(BIN)/python -m bench $(ARGS)

soak: $(STAMP)-dev ## backups while everything around goes wrong, for minutes; ARGS="--seed 7 --runs 50"
	@.ci/system-packages test
	@$(BIN)/python -m bench.soak $(ARGS)

venv: $(STAMP)-dev ## .venv with the package and all that its developers need

clean: ## remove .venv and every cache
	rm -rf .venv .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps, not programs, say what is done: an installation that was cut short leaves programs behind.

$(STAMP)-made:
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or newer is needed, and none was found: python3, python3.13, python3.12, python3.11' >&2; exit 1; }
	@PYTHON="$(PYTHON)" .ci/system-packages venv
	@$(PYTHON) -m venv --clear .venv
	@touch $@

$(STAMP)-package: $(STAMP)-made pyproject.toml
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(STAMP)-dev: $(STAMP)-made pyproject.toml
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(STAMP)-package $@
