# Every target makes what it needs in .venv; a second run finds it there. Another Python: make test PYTHON=python3.12
# Options of the benchmark: make bench BENCH='--kernels xnor_matmul --threads 2'

PYTHON ?= python3
BIN := .venv/bin
STAMPS := .venv/stamps
SOURCES := pyproject.toml setup.py $(wildcard csrc/*.c csrc/*.h csrc/*.py csrc/*/*.c csrc/*/*.h)
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-all sanitize emulate clang windows campaign fuzz lint docs accessibility wheel-test bench claims results tune sweep accuracy analytic continual projection centre wta dual many-classes accuracy-per-byte growth clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(STAMPS)/demo ## learn digits class by class and write a report to out/
	$(BIN)/python -m bitlearn demo --out out

test: $(STAMPS)/test ## run the tests; comparisons with large packages are skipped where they are not installed
	$(BIN)/python -m pytest

test-all: $(STAMPS)/test-all ## install the large packages too (PyTorch) and run every test, or those in TESTS
	$(BIN)/python -m pytest $(TESTS)

# A copy of its own, because an extension with sanitizers loads nowhere else. PYTHONSAFEPATH keeps the working
# directory's bitlearn off the path, and --capture=sys lets a report through before the process ends. Python and NumPy
# free some memory only when the process ends: not a leak of ours. A result larger than memory is to raise MemoryError.
# What kernels are given comes from malloc, NumPy's arrays and cffi's structs: PYTHONMALLOC=malloc finds no more, slowly.
SANITIZED := build/sanitize
sanitize: $(STAMPS)/test $(SANITIZED)/built ## run the tests of the C kernels under AddressSanitizer and UBSan (GCC)
	PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(SANITIZED)/site:$(CURDIR)/tests \
	LD_PRELOAD=$$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
	$(BIN)/python -m pytest -q -p sanitized -p no:cacheprovider --capture=sys $(KERNEL_TESTS)

KERNEL_TESTS := $(wildcard tests/test_kernels*.py) $(addprefix tests/test_,$(addsuffix .py, \
	cext concurrency conv fuzz gradients gradients_kept guard_pages matmul nearest packing program properties quads register_tables))

$(SANITIZED)/built: $(STAMPS)/venv $(SOURCES) $(shell find bitlearn -name '*.py')
	@echo "Compiling the C extension with sanitizers in $(SANITIZED)"
	@rm -rf $(SANITIZED) && mkdir -p $(SANITIZED)/source
	@find bitlearn bench csrc pyproject.toml setup.py README.md LICENSE -name __pycache__ -prune -o \
		-type f ! -name '_cext*' -exec cp --parents -t $(SANITIZED)/source {} +
	@CC=gcc BITLEARN_SANITIZE=address,undefined,float-cast-overflow \
		$(PIP) --no-deps --target $(SANITIZED)/site $(SANITIZED)/source
	@grep -q __asan_report $(SANITIZED)/site/bitlearn/backends/_cext*
	@touch $@

# Another copy, whose variant amx runs on plain C in the place of tiles: the choice between it and avx512, through Python.
EMULATED := build/emulate
emulate: $(STAMPS)/test $(EMULATED)/built ## run the tests of tiles with emulated ones (needs AVX-512)
	PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(EMULATED)/site:$(CURDIR)/tests \
	$(BIN)/python -m pytest -q -p no:cacheprovider $(TILE_TESTS)

TILE_TESTS := $(addprefix tests/test_,$(addsuffix .py,backends choice gradients matmul quads tiles))

$(EMULATED)/built: $(STAMPS)/venv $(SOURCES) $(shell find bitlearn -name '*.py')
	@echo "Compiling the C extension with emulated tiles in $(EMULATED)"
	@rm -rf $(EMULATED) && mkdir -p $(EMULATED)/source
	@cp -R bitlearn bench csrc pyproject.toml setup.py README.md LICENSE $(EMULATED)/source
	@rm -f $(EMULATED)/source/bitlearn/backends/_cext*
	@BITLEARN_EMULATE_TILES=1 $(PIP) --no-deps --target $(EMULATED)/site $(EMULATED)/source
	@touch $@

# Another copy, by Clang, and the tests of the kernels that take seconds.
CLANG := build/clang
clang: $(STAMPS)/test $(CLANG)/built ## run some tests of the C kernels as Clang compiles them
	PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(CLANG)/site:$(CURDIR)/tests \
	$(BIN)/python -m pytest -q -p no:cacheprovider -k cext $(CLANG_TESTS)

CLANG_TESTS := $(addprefix tests/test_,$(addsuffix .py,cext fuzz kernels kernels_conv kernels_gradients kernels_panels \
	kernels_quantize))

$(CLANG)/built: $(STAMPS)/venv $(SOURCES) $(shell find bitlearn -name '*.py')
	@echo "Compiling the C extension with Clang in $(CLANG)"
	@rm -rf $(CLANG) && mkdir -p $(CLANG)/source
	@cp -R bitlearn bench csrc pyproject.toml setup.py README.md LICENSE $(CLANG)/source
	@rm -f $(CLANG)/source/bitlearn/backends/_cext*
	@CC=clang $(PIP) --no-deps --target $(CLANG)/site $(CLANG)/source
	@grep -q 'Clang ' $(CLANG)/site/bitlearn/backends/_cext*
	@touch $@

# Compiled and linked, for there is no Windows to run them: the portable kernels alone, as MinGW compiles them unless it
# is told to move vectors unaligned (csrc/common.h), and all, in which no aligned move to memory may be left.
MINGW := x86_64-w64-mingw32-
MINGW_FLAGS := -std=c11 -O3 -ffp-contract=off -fno-math-errno -Wall -Wextra -Werror -I csrc
MINGW_OBJECTS := $(patsubst csrc/%.c,%.o,$(wildcard csrc/*.c csrc/*/*.c))
windows: build/windows/portable.dll build/windows/all.dll ## compile the C kernels for Windows (MinGW)
	@! $(MINGW)objdump -d build/windows/all.dll | grep -E 'vmov(dqa|aps|apd)[0-9]*[[:space:]].*\(%r'
	@! $(MINGW)objdump -d build/windows/portable.dll | grep -E '%[yz]mm'

build/windows/portable.dll: $(addprefix build/windows/portable/,$(MINGW_OBJECTS))
build/windows/all.dll: $(addprefix build/windows/all/,$(MINGW_OBJECTS))
build/windows/%.dll:
	@$(MINGW)gcc -shared $^ -o $@

build/windows/portable/%.o: csrc/%.c $(wildcard csrc/*.h csrc/*/*.h)
	@mkdir -p $(@D)
	@$(MINGW)gcc $(MINGW_FLAGS) -c $< -o $@

build/windows/all/%.o: csrc/%.c $(wildcard csrc/*.h csrc/*/*.h)
	@mkdir -p $(@D)
	@$(MINGW)gcc $(MINGW_FLAGS) -Wa,-muse-unaligned-vector-move -DBL_UNALIGNED_MOVES -c $< -o $@

# ThreadSanitizer does not work inside Python: the pool of threads has a program of its own.
campaign: $(STAMPS)/test $(SANITIZED)/built build/campaign/pool ## random calls, damaged files, kills and faults; CAMPAIGN='--hours 8'
	PYTHONPATH=tests $(BIN)/python -m campaign $(CAMPAIGN)

build/campaign/pool: tests/campaign/pool.c $(SOURCES)
	@echo "Compiling the kernels with ThreadSanitizer"
	@mkdir -p $(@D)
	@gcc -std=c11 -O1 -g1 -fsanitize=thread -ffp-contract=off -pthread -I csrc $< $(wildcard csrc/*.c csrc/*/*.c) -lm -o $@

# A fuzzer for each file of tests/fuzz, which goes on from its earlier findings in build/fuzz/corpus.
FUZZ := -max_total_time=60
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))
FUZZED := -std=c11 -O1 -g1 -ffp-contract=off -fno-sanitize-recover=all -I csrc
fuzz: $(FUZZERS:%=build/fuzz/%) ## run the fuzzers of the C kernels (Clang) one after the other, each as FUZZ says
	@for each in $(FUZZERS); do echo "Fuzzing $$each"; mkdir -p build/fuzz/corpus/$$each out/fuzz; \
		build/fuzz/$$each -artifact_prefix=out/fuzz/$$each- -verbosity=0 -print_final_stats=1 $(FUZZ) \
		build/fuzz/corpus/$$each tests/fuzz/corpus/$$each || exit 1; done

FUZZED_OBJECTS := $(patsubst csrc/%.c,build/fuzz/objects/%.o,$(wildcard csrc/*.c csrc/*/*.c))
build/fuzz/objects/%.o: csrc/%.c $(wildcard csrc/*.h csrc/*/*.h)
	@mkdir -p $(@D)
	@clang $(FUZZED) -fsanitize=fuzzer-no-link,address,undefined -c $< -o $@

build/fuzz/kernels.a: $(FUZZED_OBJECTS)
	@ar rcs $@ $^

build/fuzz/%: tests/fuzz/%.c tests/fuzz/fuzz.h build/fuzz/kernels.a
	@clang $(FUZZED) -Wall -Wextra -fsanitize=fuzzer,address,undefined $< build/fuzz/kernels.a -lm -pthread -o $@

lint: $(STAMPS)/lint ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Anew each time: in the search index Sphinx forgets which entries are main ones of pages that it does not read again.
PAGES := docs/_build/html/index.html
docs: $(STAMPS)/docs ## build the documentation in docs/_build/html
	$(BIN)/sphinx-build -q -W -E --keep-going -b html docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

$(PAGES): $(wildcard docs/*.rst docs/*/*.rst docs/*.py)
	@$(MAKE) docs

# Each extra in an environment of its own: WHEEL='--extras base demo' takes fewer, and --wheel FILE a wheel that is there.
wheel-test: $(STAMPS)/venv ## build the wheel, install it with each extra in fresh environments, run what the docs show
	$(BIN)/python tests/fresh.py $(WHEEL)

# Chromium is the system's; axe-core comes from the npm registry.
AXE := build/axe/node_modules/axe-core/axe.min.js
accessibility: $(STAMPS)/docs $(PAGES) $(AXE) ## look at the report and the documentation in headless Chromium, with axe-core
	$(BIN)/python -m pytest -q tests/test_pages.py

$(AXE):
	@npm install --silent --no-save --prefix build/axe axe-core@4

BENCH := --shapes full --seconds 0.1
bench: $(STAMPS)/bench ## time the kernels beside other packages; tables and plots go to out/
	@mkdir -p out
	$(BIN)/python -m bitlearn bench --json out/bench.json $(BENCH)
	$(BIN)/python -m bitlearn.bench.report out/bench.json --out out

claims: $(STAMPS)/claims ## measure what the documentation claims
	@mkdir -p out
	$(BIN)/python -m bitlearn claims --json out/claims.json $(CLAIMS)

results: $(STAMPS)/bench ## keep what make bench and make claims last found in bench/results/, to be committed
	$(BIN)/python -m bitlearn.bench.results out/bench.json out/claims.json

tune: $(STAMPS)/bench ## time tiles against counted bits, and write the rules that choose (a processor with AMX)
	$(BIN)/python -m bitlearn.bench.tune $(TUNE)

sweep: $(STAMPS)/package ## train with 16 to 2 bits in each backward product, into bench/results/sweep; BITLEARN_DATA names the data
	$(BIN)/python -m bitlearn.bench.sweep $(SWEEP)

accuracy: $(STAMPS)/package ## train int8 and low-memory beside standard, into bench/results/accuracy; BITLEARN_DATA names the data
	$(BIN)/python -m bitlearn.bench.accuracy $(ACCURACY)

continual: $(STAMPS)/package ## continual learning on images, method by method, into bench/results/continual; BITLEARN_DATA names the data
	$(BIN)/python -m bitlearn.bench.continual $(CONTINUAL)

projection: $(STAMPS)/package ## gradient projection on permuted MNIST, into bench/results/projection; BITLEARN_DATA names the data
	$(BIN)/python -m bitlearn.bench.projection $(PROJECTION)

centre: $(STAMPS)/package ## centre-sensitive kernels on images, into bench/results/centre; BITLEARN_DATA names the data
	$(BIN)/python -m bitlearn.bench.centre_costs
	$(BIN)/python -m bitlearn.bench.intensity
	$(BIN)/python -m bitlearn.bench.centre $(CENTRE)
wta: $(STAMPS)/package ## task winner-takes-all beside what it is compared with, into bench/results/wta; BITLEARN_DATA names the data
	$(BIN)/python -m bitlearn.bench.wta $(WTA)

analytic: $(STAMPS)/package ## accuracy against bytes of learners of exact sums, into bench/results/analytic; BITLEARN_DATA names the data
	$(BIN)/python -m bitlearn.bench.analytic $(ANALYTIC)

dual: $(STAMPS)/package ## latent replay with two bit widths, into bench/results/dual; BITLEARN_DATA names the data
	$(BIN)/python -m bitlearn.bench.dual $(DUAL)

many-classes: $(STAMPS)/package ## what signs of gradients lose with 100 classes, into bench/results/many_classes; BITLEARN_DATA names the data
	$(BIN)/python -m bitlearn.bench.many_classes $(MANY_CLASSES)

growth: $(STAMPS)/bench ## time and bytes of a step against batch, depth, width and threads, into bench/results
	$(BIN)/python -m bitlearn.bench.growth $(GROWTH)

accuracy-per-byte: $(STAMPS)/package ## every policy and optimiser: bytes, time, accuracy, into bench/results; BITLEARN_DATA names the data
	$(BIN)/python -m bitlearn.bench.accuracy_per_byte $(ACCURACY_PER_BYTE)

clean: ## remove all that these targets made, .venv included
	rm -rf .venv build dist out docs/_build docs/api/generated *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f bitlearn/backends/_cext*.so
	find bitlearn bench tests csrc docs -name __pycache__ -prune -exec rm -rf {} +

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("bitlearn needs Python 3.11 or newer, got %d.%d from $(PYTHON): name another one, as in make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Creating .venv"
	@$(PYTHON) -m venv .venv
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/package: $(STAMPS)/venv $(SOURCES)
	@echo "Installing bitlearn in .venv and compiling its C extension"
	@$(PIP) --editable .
	@touch $@

# The package is there by now, so this adds the extra's requirements alone and compiles nothing again.
$(STAMPS)/%: $(STAMPS)/package
	@echo "Installing what 'make $*' needs"
	@$(PIP) 'bitlearn-xnor[$*]'
	@touch $@
