# Two commands need nothing but Python 3.11: `make demo` and `make test`.
# The virtual environments are made once and anew when what they are made of changes: .venv from
# dev.lock, and .venv-rl, which trains (verl, ray, vllm, torch on CPU), from rl/cpu.lock. The ranges
# of pyproject.toml, which users get, are tried by `make matrix`, and by `make verifiers` beside that
# package.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
QUESTION ?= How does asyncio cancel tasks?
RL_VENV := .venv-rl
RL_BIN := $(RL_VENV)/bin
VERIFIERS_VENV := .venv-verifiers
RUN ?= out/learn
# Tests that need no server, browser or language model.
FAST := not server and not browser and not hostile and not real
# torch is in no lock: its CPU build and the registry's file of the same version differ, so no hash
# fits both. It is installed first, by version, and verified by import.
TORCH := 2.13.0

.PHONY: demo test test-server test-browser test-train verifiers check hostile faults soak real \
	measure agreement matrix format bench evaluate studio rl-cpu learn data data-loopback lock clean

demo: $(VENV)/installed
	@$(BIN)/oresearch run "$(QUESTION)" --search python \
		--out out/demo/report.md --trace out/demo/trace.jsonl

test: $(VENV)/installed
	$(BIN)/pytest -m "$(FAST)" -n 2 --dist worksteal

test-server: $(VENV)/installed
	$(BIN)/pytest -m server

# Needs Chromium: `apt-get install chromium`, or CHROMIUM=/path/of/one.
test-browser: $(VENV)/installed
	$(BIN)/pytest -m browser tests/graph/test_browser.py

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -m "$(FAST)" -n 2 --dist worksteal

# Every fault of a model's server with every fault of the tools, fifteen minutes; then fifty kills of
# the command line, five minutes.
faults: $(VENV)/installed
	$(BIN)/python -m tests.faults.matrix
	$(BIN)/python -m tests.faults.kills 50

# A thousand runs of one graph in one process, a minute: memory, threads and files stay flat. Then ten
# thousand texts of a policy through each tool of training: four minutes.
soak: $(VENV)/installed $(RL_VENV)/installed
	$(BIN)/python -m tests.bench.soak
	$(RL_BIN)/pytest -m hostile -n 2 --dist worksteal tests/rl

# Strangers' bodies, folders, servers and leaks, under short limits: four minutes. The runs, which
# must end in time, have the machine to themselves.
hostile: $(VENV)/installed
	$(BIN)/pytest -m hostile -n 2 --ignore tests/graph/test_hostile_runs.py
	$(BIN)/pytest -m hostile tests/graph/test_hostile_runs.py

# A language model of 0.5B parameters, fetched once (491 MB), behind llama.cpp: seven minutes.
real: $(VENV)/installed
	$(BIN)/pytest -m real tests/real

# By hand: one of 1.5B parameters as well (1.1 GB), two idle cores, two hours. What was asked before
# is not asked again.
measure: $(VENV)/installed
	$(BIN)/python -m tests.real.measure out/measure

# What people said of claims, held against what we say; a minute.
agreement: $(VENV)/installed
	$(BIN)/python -m tests.agreement $(LABELS)

# The wheel in six environments, two at a time: six minutes of one core, and the downloads.
matrix: $(VENV)/installed
	$(BIN)/python -m tests.matrix

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# CI runs it with fewer traces and rollouts.
bench: TRACES ?= 5000
bench: ROLLOUTS ?= 1000
bench: $(VENV)/installed $(RL_VENV)/installed
	$(BIN)/python -m tests.bench.start
	$(BIN)/python -m tests.bench.trace_speed
	$(BIN)/python -m tests.bench.graph
	$(BIN)/python -m tests.bench.hostile
	$(BIN)/python -m tests.bench.datagen_filter $(TRACES)
	$(BIN)/python -m tests.bench.datagen_export $(TRACES)
	$(RL_BIN)/python -m tests.bench.agent_loop
	$(RL_BIN)/python -m tests.bench.rollouts
	$(RL_BIN)/python -m tests.bench.index $(ROLLOUTS)

evaluate: $(VENV)/installed
	$(BIN)/oresearch evaluate

# Nothing is sent away: no traces, no analytics, no look for newer versions. Set them to have it.
studio: export LANGSMITH_TRACING ?= false
studio: export LANGGRAPH_CLI_NO_ANALYTICS ?= 1
studio: export LANGGRAPH_NO_VERSION_CHECK ?= true
studio: $(VENV)/installed
	$(BIN)/langgraph dev --host 127.0.0.1 --no-browser

rl-cpu: $(RL_VENV)/installed

test-train: $(RL_VENV)/installed
	$(RL_BIN)/pytest -m "not training and not hostile" -n 2 tests/rl
	$(RL_BIN)/pytest -m training tests/rl

# What needs verifiers is skipped where it is missing; here it must not be.
verifiers: $(VERIFIERS_VENV)/installed
	$(VERIFIERS_VENV)/bin/python -c 'import verifiers.v1'
	$(VERIFIERS_VENV)/bin/pytest tests/rl/test_verifiers_environment.py

learn: $(RL_VENV)/installed
	$(RL_BIN)/python -m rl.tiny.demonstrate $(RUN)

# From questions to a fine-tuned tiny model; the second with a loopback server as teacher and judge.
data: $(VENV)/installed $(RL_VENV)/installed
	examples/end_to_end.sh out/data

data-loopback: $(VENV)/installed $(RL_VENV)/installed
	$(BIN)/python -m tests.loopback_data out/data-loopback

# Both locks are complete, so pip resolves nothing; a file whose hash is not listed is refused.
$(VENV)/installed: dev.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("oresearch needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-deps --require-hashes -r dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(RL_VENV)/installed: rl/cpu.lock pyproject.toml
	$(PYTHON) -m venv $(RL_VENV)
	$(RL_BIN)/pip install --quiet --no-deps torch==$(TORCH)
	$(RL_BIN)/pip install --quiet --no-deps --require-hashes -r rl/cpu.lock
	$(RL_BIN)/pip install --quiet --no-deps -e .
	$(RL_BIN)/python -c 'import torch as t; t.__version__.split("+")[0] == "$(TORCH)" or exit(f"torch is {t}")'
	@touch $@

$(VERIFIERS_VENV)/installed: $(VENV)/installed pyproject.toml
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VERIFIERS_VENV)
	$(BIN)/uv pip install --quiet --python $(VERIFIERS_VENV) --group verifiers --group test -e .
	@touch $@

# Today's versions within the ranges of pyproject.toml. The pins of rl/cpu.lock are verl's and are
# changed by hand: it gets their hashes, and keeps its comments.
LOCK = $(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-annotate \
	--no-header --no-emit-index-url
lock: $(VENV)/installed
	$(LOCK) --universal --upgrade --extra studio --extra mcp --extra local --extra vectors --extra pdf --group dev pyproject.toml >dev.lock.new && mv dev.lock.new dev.lock
	{ grep '^#' rl/cpu.lock; $(LOCK) --no-deps rl/cpu.lock; } >rl/cpu.lock.new
	mv rl/cpu.lock.new rl/cpu.lock

clean:
	rm -rf $(VENV) $(RL_VENV) $(VERIFIERS_VENV) out .mypy_cache .ruff_cache .pytest_cache
