# Everything here sets up what it needs; a machine has Rust with cargo, CPython 3.11 with pip, gcc and make.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := Cargo.toml Cargo.lock pyproject.toml README.md $(shell find rust python -name '*.rs' -o -name '*.py' -o -name '*.pyi' -o -name 'Cargo.toml' -o -name 'py.typed')

.PHONY: help demo test test-serve test-engines check bench wheel clean valgrind neon miri
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/python: ## the virtual environment
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade pip
	@touch $@

$(VENV)/wheel: $(SOURCES) $(VENV)/python
	@rm -rf dist
	$(PIP) wheel --no-deps --wheel-dir dist .
	@touch $@

# The wheel is what is tested, not the source tree.
$(VENV)/installed: $(VENV)/wheel
	$(PIP) install --force-reinstall --no-deps dist/*.whl
	$(PIP) install "$$(ls dist/*.whl)"
	@touch $@

$(VENV)/tested: $(VENV)/installed
	$(PIP) install "$$(ls dist/*.whl)[test]"
	@touch $@

$(VENV)/developed: $(VENV)/tested
	$(PIP) install "$$(ls dist/*.whl)[dev]"
	@touch $@

demo: $(VENV)/installed ## a shop's purchases cleaned, a model trained, measured and asked
	@$(BIN)/ancf demo

wheel: $(VENV)/wheel ## the wheel, in dist/
	@ls -l dist/*.whl

test: $(VENV)/tested ## every promise proved: Rust and Python tests, doctests, examples
	cargo test --workspace --quiet
	cd tests && ../$(BIN)/python -m pytest -c ../pyproject.toml --rootdir .. -n 2 --dist loadfile --doctest-modules --ignore serve --ignore engines --pyargs ancf .

# PostgreSQL and Chromium are Debian's; where they cannot be installed, their tests skip and say so.
test-serve: $(VENV)/tested ## the server: lists, events, reloads, limits, kills, the page in a browser
	$(PIP) install "$$(ls dist/*.whl)[test-serve]"
	@ls /usr/lib/postgresql/*/bin/initdb > /dev/null 2>&1 || { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -q -y postgresql; } || true
	@command -v chromedriver > /dev/null 2>&1 || { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -q -y --no-install-recommends chromium chromium-driver; } || true
	cd tests && ../$(BIN)/python -m pytest -c ../pyproject.toml --rootdir .. serve

# Spark needs Java; without it its tests skip and say so.
test-engines: $(VENV)/tested ## lists and scores on Spark and Ray: the same bits, killed workers, errors
	$(PIP) install "$$(ls dist/*.whl)[test-engines]"
	cd tests && PYSPARK_PYTHON=$(CURDIR)/$(BIN)/python ../$(BIN)/python -m pytest -c ../pyproject.toml --rootdir .. engines
	cd tests && ../$(BIN)/python -m pytest -c ../pyproject.toml --rootdir .. distributed/test_ray.py

check: $(VENV)/developed ## format, lints, types, what is linked, the wheel's size
	cargo fmt --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(BIN)/ruff format --check --quiet python tests benches data $(wildcard examples)
	$(BIN)/ruff check --quiet python tests benches data $(wildcard examples)
	$(BIN)/mypy
	cd tests && ../$(BIN)/stubtest ancf._core --mypy-config-file ../pyproject.toml --ignore-disjoint-bases
	@! cargo tree -p ancf-core -e normal | grep -E ' (pyo3|numpy) ' || { echo "ancf-core must not depend on pyo3 or numpy"; exit 1; }
	@test $$(stat -c %s dist/*.whl) -lt 5242880 || { echo "the wheel is larger than 5 MB"; exit 1; }
	@cd tests && ../$(BIN)/python -c 'import time; t = time.perf_counter(); import ancf; print(f"import ancf: {time.perf_counter() - t:.2f} s")'

bench: $(VENV)/developed ## measured, not promised: ratios against NumPy and installed peers
	$(BIN)/python benches/run.py

valgrind: ## the core's tests under valgrind, scalar and AVX2
	ANCF_FEWER_CASES=1 ANCF_SIMD=scalar cargo test -p ancf-core --lib --config "target.x86_64-unknown-linux-gnu.runner='valgrind --quiet --error-exitcode=1'" -- --test-threads=1
	ANCF_FEWER_CASES=1 ANCF_SIMD=avx2 cargo test -p ancf-core --lib --config "target.x86_64-unknown-linux-gnu.runner='valgrind --quiet --error-exitcode=1'" -- --test-threads=1

neon: ## the core's tests with NEON, emulated; needs the target's std, gcc-aarch64-linux-gnu and qemu-user
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH=/usr/aarch64-linux-gnu/lib" cargo test -p ancf-core --lib --target aarch64-unknown-linux-gnu

miri: ## the core's tests under Miri, for a machine with a nightly toolchain that has it
	MIRIFLAGS=-Zmiri-disable-isolation ANCF_FEWER_CASES=1 ANCF_SIMD=scalar cargo +nightly miri test -p ancf-core --lib -- rank:: runtime:: data::

clean: ## remove what was built
	rm -rf $(VENV) dist target
