# Everything happens in a virtual environment of the project's own; nothing is installed outside it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One process for each processor; the longest tests first, and each given out when a process is free. Every test can share
# the machine with others: it looks at nothing but its own descendants, files and users.
PARALLEL := --numprocesses logical --dist loadgroup
# What a rebuild depends on. Python sources are used in place.
CORE := $(shell find src init -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock build.rs pyproject.toml

.PHONY: help demo check test lint fmt stubs notebooks bench wheel sdist clean
.DEFAULT_GOAL := help

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/built  ## Build, install, and walk through the exercise on this kernel
	@$(BIN)/nsbox demo

check: lint  ## In the minute between: lint, types, and the tests that need no kernel
	$(BIN)/python -m pytest --quiet $(PARALLEL) tests/unit

test: $(VENV)/tested  ## Build, install what the tests need, and run them all
	cargo test --quiet --package nsbox-init --lib
	$(BIN)/python -m pytest $(PARALLEL) $(PYTEST)

lint: $(VENV)/linted  ## Check formatting, types and style of both languages, and the generated stub
	cargo fmt --all --check
	cargo clippy --all-targets -- --deny warnings
	cargo clippy --package nsbox-init --profile init -- --deny warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python tools/stubs.py --check
	$(BIN)/python tools/errors.py --check
	$(BIN)/python tools/reference.py --check
	$(BIN)/python tools/notebooks.py --check

fmt: $(VENV)/linted  ## Format both languages
	cargo fmt --all
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

stubs: $(VENV)/linted  ## Generate _core.pyi from the Rust sources, docs/errors.md and docs/reference.md
	$(BIN)/python tools/stubs.py
	$(BIN)/python tools/errors.py
	$(BIN)/python tools/reference.py

notebooks: $(VENV)/tested  ## Execute the lessons and write them with what they show
	$(BIN)/python tools/notebooks.py

bench: $(VENV)/built  ## Measure spawning and reading against floors in C and their peers, and imports against a bare interpreter
	$(BIN)/python benches/spawn.py
	$(BIN)/python benches/aio.py
	$(BIN)/python benches/boxes.py
	$(BIN)/python benches/startup.py
	$(BIN)/python benches/readers.py
	$(BIN)/python benches/call.py

wheel: $(VENV)/linted  ## Build the wheel into dist/
	$(BIN)/maturin build --release --out dist

sdist: $(VENV)/linted  ## Build the source distribution into dist/
	$(BIN)/maturin sdist --out dist

clean:  ## Remove everything that was built
	rm -rf $(VENV) target dist python/nsbox/_core*.so

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "nsbox needs Python 3.11 or newer; choose one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# pip builds the release profile through the build backend, which it fetches by itself.
$(VENV)/built: $(CORE) | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/tested: $(VENV)/built
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/linted: $(VENV)/tested
	$(BIN)/pip install --quiet --editable '.[lint]'
	@touch $@
