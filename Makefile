# The interface to the project: `make help` lists the targets. Needs make and Python 3.11 or later, nothing else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMPS := .make
LOCK := pyproject.toml constraints.txt
CODE := mirrord tests bench

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(STAMPS)/run ## mirror sample images between two local registries, offline
	$(BIN)/mirrord demo --exit

.PHONY: check
check: ## all that a change must pass: lint, then test
	@$(MAKE) lint
	@$(MAKE) test

.PHONY: lint
lint: $(STAMPS)/dev ## style, types, import contracts, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

.PHONY: fix
fix: $(STAMPS)/dev ## repair what tools can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/codespell --write-changes

.PHONY: test
test: $(STAMPS)/dev system ## every test, with coverage and its thresholds
	@scripts/test.sh

.PHONY: bench
bench: $(STAMPS)/run system ## time and count requests against other tools on PATH (BENCH="--scenario tags --rounds 3")
	$(BIN)/python -m bench.run $(BENCH)

.PHONY: build
build: $(STAMPS)/dev ## wheel and source archive, and proof of what they carry
	rm -rf dist
	$(BIN)/uv build --quiet
	@scripts/check-build.sh

.PHONY: schema
schema: $(STAMPS)/run ## write the JSON Schema and the reference of the configuration file anew
	$(BIN)/python -c 'from mirrord.config.schema import schema_text; print(schema_text(), end="")' > $(STAMPS)/schema.json
	cp $(STAMPS)/schema.json mirrord/config/mirrord.schema.json
	cp $(STAMPS)/schema.json mirrord.schema.json
	$(BIN)/python -c 'from mirrord.config.reference import reference_text; print(reference_text(), end="")' \
		> $(STAMPS)/configuration.md
	cp $(STAMPS)/configuration.md docs/reference/configuration.md

.PHONY: docs
docs: $(STAMPS)/run ## write the references of the command line and the environment anew
	$(BIN)/python scripts/cli_reference.py > $(STAMPS)/cli.md
	cp $(STAMPS)/cli.md docs/reference/cli.md
	$(BIN)/python scripts/environment_reference.py > $(STAMPS)/environment.md
	cp $(STAMPS)/environment.md docs/reference/environment.md

.PHONY: chart
chart: $(STAMPS)/run ## copy alerts and dashboards into the Helm chart, and write its tables and schema anew
	$(BIN)/python scripts/chart_readme.py

.PHONY: dashboards
dashboards: $(STAMPS)/run ## write the Grafana dashboards anew
	$(BIN)/python -m scripts.dashboards

.PHONY: lock
lock: $(STAMPS)/run ## resolve the dependencies anew into constraints.txt, then `make hashes`
	$(BIN)/uv pip compile --quiet --upgrade --universal --all-extras --group dev --no-header --no-annotate \
		--output-file constraints.txt pyproject.toml
	@$(MAKE) hashes

.PHONY: hashes
hashes: $(STAMPS)/run ## write the locks of the container image anew, with the versions of constraints.txt
	@scripts/hashes.sh

.PHONY: image
image: ## build the container image with docker, podman or buildah (IMAGE=name:tag, IMAGE_ARGS="--build-arg ...")
	@scripts/image.sh

.PHONY: system
system: ## the system tools that integration tests and the benchmark need (installs as root on Debian and Ubuntu)
	@scripts/system-packages.sh

.PHONY: clean
clean: ## remove all that make made
	rm -rf $(VENV) $(STAMPS) dist build htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# What is installed follows pyproject.toml and constraints.txt; the code itself is installed in place.
$(STAMPS)/run: $(LOCK) scripts/install.sh
	@scripts/install.sh $(VENV) run
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev: $(LOCK) scripts/install.sh
	@scripts/install.sh $(VENV) dev
	@mkdir -p $(STAMPS) && touch $(STAMPS)/run $@
