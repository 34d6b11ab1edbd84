# make quickstart   train, evaluate and verify a small potential, from a clean clone
# make wheel        a wheel for other environments, in dist
# make test         style, types, C++ tests, Python tests, from a clean clone
# make docs         the documentation as a site, in build/site; warnings are errors
# make test-images  build and run the oldest image, the newest and its verifier, on Debian as root; see docs/concepts/image.md
#                   IMAGES=all: those between too
# make test-gpu     tests that take a GPU, or MTT_TEST_DEVICE=cpu; see docs/develop/gpu.md
# make clean        remove everything that this file made
#
# Needs Python 3.11 or newer, a C++ compiler and make; PYTHON=... and TORCH=... choose others, before the first
# command or after make clean. Each step leaves a stamp in .venv/stamps and is run
# again only when one of the files it depends on is newer.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.13 python3.12 python3.14 python3,$(shell command -v $(name))))
TORCH := 2.13.0
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
QUICKSTART := quickstart
DOCS := .venv-docs
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --no-compile

# Bytecode is written for what is imported, at its first import: quicker than compiling it all.
unexport PYTHONDONTWRITEBYTECODE

CXX_TESTS := $(shell find csrc/tests -type f)
CXX_SOURCES := $(filter-out $(CXX_TESTS),$(shell find csrc -type f)) CMakeLists.txt pyproject.toml
WHEELS_OF_OTHERS := 'libtorch*.so' 'libc10*.so' libmetatensor.so libmetatensor_torch.so libmetatomic_torch.so libvesin.so
EXAMPLE := $(addprefix docs/examples/ethanol/,ethanol.xyz options.yaml eval.yaml)

.PHONY: setup quickstart wheel test test-images test-gpu docs lint ctest pytest clean
.DELETE_ON_ERROR:

setup: $(STAMPS)/mtt

$(STAMPS)/venv:
	@test -n "$(PYTHON)" || { echo "No python3 found: install Python 3.11 or newer, or name it with PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mtt needs Python 3.11 or newer, and $(PYTHON) is older: name another with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

# torch by name: pip takes the build (CPU or CUDA) that this machine is set up for.
$(STAMPS)/torch-$(TORCH): $(STAMPS)/venv
	$(INSTALL) torch==$(TORCH)
	@rm -f $(STAMPS)/torch-* && touch $@

$(STAMPS)/locked: requirements/locked.txt $(STAMPS)/torch-$(TORCH)
	$(INSTALL) --no-deps --require-hashes -r requirements/locked.txt
	@touch $@

# Editable: Python files are used where they are, so only C++ sources make this run again.
# The compiled parts link the libtorch of this environment, hence no build isolation.
$(STAMPS)/mtt: $(STAMPS)/locked $(CXX_SOURCES)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(INSTALL) --no-deps --no-build-isolation \
	  --config-settings=cmake.define.MTT_BUILD_TESTS=OFF --editable .
	@touch $@

# The C++ tests are built in the same folder, from the same objects, by those who run them.
$(STAMPS)/mtt-tests: $(STAMPS)/mtt $(CXX_TESTS)
	$(BIN)/cmake -DMTT_BUILD_TESTS=ON build > /dev/null
	$(BIN)/cmake --build build --target mtt-tests mtt-calls
	@touch $@

# One thread: so small a model gains nothing from more, and two threads that wait for each other on a
# busy machine can take a hundred times as long.
quickstart: export OMP_NUM_THREADS = 1
quickstart: $(STAMPS)/mtt $(EXAMPLE)
	@mkdir -p $(QUICKSTART) && cp $(EXAMPLE) $(QUICKSTART)
	cd $(QUICKSTART) && ../$(BIN)/mtt train options.yaml
	cd $(QUICKSTART) && ../$(BIN)/mtt eval model.pt eval.yaml --output predictions.xyz
	cd $(QUICKSTART) && ../$(BIN)/mtt verify model.pt
	@echo "Done. In $(QUICKSTART)/: model.ckpt, model.pt, predictions.xyz and the plots."

# For every Python 3 on a Linux as old as this one, and for the minor version of torch that is here. What torch,
# metatensor, metatomic and vesin bring stays in their own wheels.
wheel: $(STAMPS)/mtt
	$(INSTALL) --no-deps --require-hashes -r requirements/wheel.txt
	rm -rf build/unrepaired
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/unrepaired .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist \
	  $(addprefix --exclude ,$(WHEELS_OF_OTHERS)) build/unrepaired/mtt-*.whl
	@echo "For torch $(TORCH) and its patch releases, in dist/."

# pytest comes last: its closing line is the summary. Its processes share the cores, and each runs whole files.
test: lint ctest pytest

lint: $(STAMPS)/mtt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

ctest: $(STAMPS)/mtt-tests
	$(BIN)/ctest --test-dir build/tests --output-on-failure

pytest: $(STAMPS)/mtt
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder --durations=15

# What cannot run here is skipped, and says why. First one process builds, which takes all cores; then several use
# what it has built. Ordinary users look into the folder, as they may not into root's home; its
# name is in lower case, as podman wants it.
CONTAINERS := $(BIN)/python -m pytest -m containers -rs --durations=15
BUILDING := tests/containers/test_built_again.py tests/containers/test_images.py
test-images: export MTT_TEST_IMAGES = $(IMAGES)
test-images: $(STAMPS)/mtt
	@set -e; if [ -z "$$MTT_IMAGES" ]; then \
	  export MTT_IMAGES=$$($(BIN)/python -c 'import tempfile; print(tempfile.mkdtemp(prefix="mtt-images-"))'); chmod 755 "$$MTT_IMAGES"; \
	  trap 'rm -rf "$$MTT_IMAGES"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	fi; set -x; \
	$(CONTAINERS) $(BUILDING); \
	$(CONTAINERS) --numprocesses=auto --maxprocesses=4 $(addprefix --ignore=,$(BUILDING)) tests/containers

# Skipped, with the reason, where there is no GPU.
test-gpu: $(STAMPS)/mtt
	$(BIN)/python -m pytest -m gpu -rs --durations=15 tests/gpu

# An environment of its own: nobody who trains needs it.
docs: $(DOCS)/stamp
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --quiet --strict --config-file docs/site/mkdocs.yml
	@echo "Open build/site/index.html; to search as well: python3 -m http.server --directory build/site"

$(DOCS)/stamp: requirements/docs.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r requirements/docs.txt
	@touch $@

clean:
	rm -rf $(VENV) $(DOCS) $(QUICKSTART) build dist outputs .pytest_cache .mypy_cache .ruff_cache .hypothesis
