# GNU make; `make help` lists the targets. On a fresh machine every target first creates .venv and installs into it.

PYTHON ?= python3
# Processes that test at a time: one more than two cores, since tests often wait, for other processes and for the clock.
WORKERS ?= 3
REPORT ?= gpu_report
BIN := .venv/bin
OLDEST := .venv-oldest/bin
INSTALLED := .venv/installed
SITE := _build/html/index.html
BOOK_TESTS := tests/claims $(wildcard tests/test_book_*.py) tests/test_contributing.py tests/test_cover.py tests/test_exercises.py

# Hundreds of processes start here, and all of them would compile the package and the tests again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install book site serve test test-core test-book test-notebooks test-site fuzz mutants gpu-report oldest \
	links lint format check set-repository clean

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

# Chapters in smoke mode, with outputs of their own, so that those of `make book` stay.
serve: $(INSTALLED) ## Write: serve the book, build again and reload at every change, chapters in smoke mode
	DCGAN_SMOKE=1 OMP_NUM_THREADS=1 PYTHONPATH=book/_ext $(BIN)/sphinx-autobuild . _build/serve/html \
		--pre-build "$(BIN)/jupyter-book config sphinx ." --re-ignore __pycache__ \
		$(addprefix --ignore ,conf.py _build .git .venv .venv-oldest .pytest_cache .ruff_cache .mypy_cache .hypothesis runs data)

# One thread a process here and below: two at a time would otherwise fight for the cores. A file's tests stay together,
# because they share what is slow to make; and files keep their order, because those with few tests, which would come
# last, are often the slow ones.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=25

# In one go, and not one target after the other: each process reads all files of tests before it begins.
test: $(INSTALLED) ## Run all tests, then every chapter in smoke mode
	$(PYTEST) tests --ignore tests/site
	@$(MAKE) test-notebooks

test-core: $(INSTALLED) ## Run the tests of the package
	$(PYTEST) $(filter-out $(BOOK_TESTS),$(wildcard tests/test_*.py))

test-book: $(INSTALLED) ## Run the tests of the book: its claims, exercises, notebooks and how it is built
	$(PYTEST) $(BOOK_TESTS)

test-notebooks: $(INSTALLED) ## Run every chapter in smoke mode
	DCGAN_SMOKE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbmake --nbmake-timeout=300 -n $(WORKERS) notebooks

SECONDS ?= 600
FUZZED := tests/test_fuzz.py tests/test_card.py tests/site/test_playground_link.py
fuzz: $(INSTALLED) ## Damage and forge at random what is read from outside, for at most SECONDS=600
	DCGAN_FUZZ=100000 OMP_NUM_THREADS=1 timeout $(SECONDS) $(BIN)/python -m pytest -x -n $(WORKERS) $(FUZZED) \
		|| [ $$? -eq 124 ]

mutants: $(INSTALLED) ## Change the package for the worse, over and over, and see that tests fail: ROOM=losses for one room
	$(BIN)/python tests/mutants/run.py --workers $(WORKERS) $(if $(ROOM),--room $(ROOM))

# Most of its tests are in one file, page after page: the processes share them in long pieces, so that few pages are
# opened twice.
test-site: site ## Build the site and test its pages
	$(PYTEST) --dist worksteal tests/site

# Without a GPU, or with SMALL=1, everything runs in a small form. DATA is a folder with mnist/ and fashion-mnist/.
gpu-report: $(INSTALLED) ## Test, time and train on this machine's GPU, for a report in REPORT (gpu_report); 8 minutes at most
	$(BIN)/python -m dcgan_core.benchmark.gpu_report --out $(REPORT) $(if $(SMALL),--small) $(if $(DATA),--data-root $(DATA))

# `-r` and `--no-deps`, because only what is asked for directly is taken in its lowest version. Warnings are no errors
# here: old packages complain about the newer ones below them. Two tests are left out: the first replays operations
# with a recorder of its own, which fails up to PyTorch 2.6 at least; the second writes TIFF files of a kind (YCbCr, one
# pixel) that Pillow up to 11.0 at least cannot read back.
oldest: ## Test the package with the oldest versions that pyproject.toml allows (on Python 3.10 or 3.11)
	$(PYTHON) -m venv --clear .venv-oldest
	$(OLDEST)/python -m pip install --quiet --disable-pip-version-check uv
	$(OLDEST)/uv pip install --quiet --python $(OLDEST)/python --resolution lowest-direct -r pyproject.toml
	$(OLDEST)/uv pip install --quiet --python $(OLDEST)/python --no-deps -e .
	$(OLDEST)/uv pip install --quiet --python $(OLDEST)/python pytest pytest-xdist nbmake hypothesis torchmetrics
	OMP_NUM_THREADS=1 $(OLDEST)/python -m pytest -n $(WORKERS) --dist loadfile -o filterwarnings=default \
		--deselect "tests/test_capture.py::test_a_replayed_iteration_equals_an_eager_one[penalty" \
		--deselect "tests/test_capture.py::test_a_replayed_iteration_in_low_precision_equals_an_eager_one[penalty" \
		--deselect tests/test_data.py::test_images_of_any_size_and_mode_become_squares \
		$(filter-out $(addprefix tests/test_,architecture.py book_% contributing.py),$(wildcard tests/test_*.py))
	DCGAN_SMOKE=1 OMP_NUM_THREADS=1 $(OLDEST)/python -m pytest --nbmake -o filterwarnings=default \
		notebooks/07_training_loop.ipynb

# Links within the book are tested with every build, by test-site.
links: $(INSTALLED) ## Check that the pages elsewhere that the book refers to exist (needs the network)
	$(BIN)/jupyter-book config sphinx .
	PYTHONPATH=book/_ext $(BIN)/sphinx-build -q -b linkcheck -D nb_execution_mode=off . _build/links/report

lint: $(INSTALLED) ## Check style, types, and the workflows of GitHub
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	$(BIN)/zizmor --offline --quiet .

format: $(INSTALLED) ## Repair the style where a machine can, and remove the notebooks' outputs
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/nbstripout --keep-id notebooks/*.ipynb

check: lint test test-site ## Everything that CI runs

set-repository: ## Change the repository's address everywhere: make set-repository URL=https://github.com/ME/FORK
	@$(PYTHON) book/set_repository.py $(URL)

clean: ## Delete the built book and its cached outputs
	rm -rf _build
