# make run        one run, by the preset quick, on the packaged pair of photographs
# make app        opens the page in the browser
# make test       every test
# make test-fast  the tests without the marks weights, browser, kill and slow (see pyproject.toml)
# make test-cuda  the tests that need a CUDA device, which the other targets hide
# make fuzz       mutated image files, 20,000 of them; FILES=N for more
# make kill       kills a run at a hundred random moments and resumes it
# make docs       the generated pages of docs/
# make docs-site  docs/ as a site in out/site; warnings and dead links are errors
# make check      linters and type checker
# make browser    Chromium for the tests of pages, where it can be installed; they skip without it
# Each target sets up what it needs in $(VENV) first.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.vitsplice-ready
INSTALL := $(BIN)/python tests/helpers/install.py
# With this variable set, each of the many processes of the tests would compile the package again.
unexport PYTHONDONTWRITEBYTECODE
OUT ?= out/make-run

FILES ?= 20000

# The browser is installed at the same time as the packages.
MAKEFLAGS += --jobs=2

.PHONY: run app test test-fast test-cuda browser fuzz kill docs docs-site check setup clean

setup: $(READY)

PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
MYPY := $(BIN)/mypy -p vitsplice $(patsubst %,-p %,$(notdir $(wildcard plugins/*/vitsplice_*)))
SPACE := $(subst ,, )

# Without build isolation, hatchling is installed once instead of once for each of the eight packages. Modules are compiled
# at their first import, because most are never imported. If uv cannot be installed, install.py uses pip.
$(READY): pyproject.toml $(PLUGINS:%=%/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	-$(BIN)/python -m pip install --quiet --no-compile --only-binary uv uv
	$(INSTALL) hatchling editables
	$(INSTALL) --no-build-isolation -e '.[dev]' $(PLUGINS:%=-e %)
	touch $@

run: $(READY)
	$(BIN)/vitsplice run --force -o $(OUT)
	@echo "The output image is $(OUT)/output.png; its inputs, settings and versions are in $(OUT)/run.json."

app: $(READY)
	$(BIN)/vitsplice app

test test-fast fuzz kill: export CUDA_VISIBLE_DEVICES =

# Two at a time with one thread each. While pytest starts, another process imports large modules, so that after an
# installation these are compiled once, and not by both of pytest's workers.
test: $(READY) browser
	@$(BIN)/python -c "import gradio, matplotlib.figure, scipy.stats, timm, torch._dynamo" >/dev/null 2>&1 &
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

browser:
	@sh tests/helpers/browser.sh

test-fast: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not (weights or browser or kill or slow)" -n 2 --dist worksteal

test-cuda: $(READY)
	$(BIN)/python -c "import torch; torch.zeros(1, device='cuda')"
	$(BIN)/python -m pytest tests/test_cuda.py

fuzz: $(READY)
	$(BIN)/python tests/helpers/fuzz_images.py --files $(FILES)

kill: $(READY)
	VITSPLICE_KILLS=100 $(BIN)/python -m pytest tests/cli/test_resume.py -k any_moment

docs: $(READY)
	$(BIN)/python tests/helpers/reference.py docs/reference.md
	VITSPLICE_WRITE_DOCS=1 $(BIN)/python -m pytest tests/cli/test_faults.py

docs-site: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "Open out/site/index.html; for the search, serve the folder: $(BIN)/python -m http.server -d out/site"

# On a busy machine mypy's workers may not start within the 3 seconds that it waits; then it runs without them.
check: export MYPYPATH = $(subst $(SPACE),:,$(PLUGINS))
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MYPY) --num-workers 2 || $(MYPY)

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache
