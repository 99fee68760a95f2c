# GNU make; `make help` lists the targets. On a fresh machine every target first creates .venv and installs into it.

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
INSTALLED := .venv/installed
SITE := _build/html/index.html

.DEFAULT_GOAL := help
.PHONY: help install book site test test-core test-notebooks test-site lint format check set-repository clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Create .venv and install the book, the package and the tools

# Made again when a requirement changes; what is already installed stays.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or newer is needed: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

book: $(INSTALLED) ## Execute every chapter that changed, build the site, say where it is
	$(BIN)/jupyter-book build . -W --keep-going
	@echo
	@echo "The book: $(abspath $(SITE))"

site: $(INSTALLED) ## The same, with broken references as errors (what CI builds)
	$(BIN)/jupyter-book build . -W -n --keep-going

test: test-core test-notebooks ## Run all tests, then every chapter in smoke mode

# One thread a process here and below: two at a time would otherwise fight for the cores. A file's tests stay together,
# because they share what is slow to make.
test-core: $(INSTALLED) ## Run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --durations=25 tests --ignore=tests/site

test-notebooks: $(INSTALLED) ## Run every chapter in smoke mode
	DCGAN_SMOKE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbmake --nbmake-timeout=300 -n $(WORKERS) notebooks

test-site: site ## Build the site and test its pages
	$(BIN)/python -m pytest tests/site

lint: $(INSTALLED) ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(INSTALLED) ## Repair what ruff can repair
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

check: lint test test-site ## Everything that CI runs

set-repository: ## Change the repository's address everywhere: make set-repository URL=https://github.com/ME/FORK
	@$(PYTHON) book/set_repository.py $(URL)

clean: ## Delete the built book and its cached outputs
	rm -rf _build
