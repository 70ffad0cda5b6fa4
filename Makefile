# Two commands need nothing but Python 3.11: `make demo` and `make test`.
# The virtual environments are made once and anew when what they are made of changes: .venv from
# pyproject.toml, and .venv-rl, which trains (verl, ray, vllm, torch on CPU), from rl/cpu.lock.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
QUESTION ?= How does asyncio cancel tasks?
RL_VENV := .venv-rl
RL_BIN := $(RL_VENV)/bin
RUN ?= out/learn

.PHONY: demo test test-server test-browser test-train check format bench evaluate studio rl-cpu \
	learn data data-loopback clean

demo: $(VENV)/installed
	@$(BIN)/oresearch run "$(QUESTION)" --search python \
		--out out/demo/report.md --trace out/demo/trace.jsonl

test: $(VENV)/installed
	$(BIN)/pytest -m "not server and not browser and not hostile" -n 2

test-server: $(VENV)/installed
	$(BIN)/pytest -m server

# Needs Chromium: `apt-get install chromium`, or CHROMIUM=/path/of/one.
test-browser: $(VENV)/installed
	$(BIN)/pytest -m browser tests/test_browser.py

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -m "not server and not browser and not hostile" -n 2

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/installed $(RL_VENV)/installed
	$(BIN)/python -m tests.bench_trace_speed
	$(BIN)/python -m tests.bench_graph
	$(BIN)/python -m tests.bench_datagen_filter
	$(BIN)/python -m tests.bench_datagen_export 5000
	$(RL_BIN)/python -m tests.bench_agent_loop
	$(RL_BIN)/python -m tests.bench_index

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
	$(RL_BIN)/pytest -m "not training" -n 2 tests/test_rl_*.py
	$(RL_BIN)/pytest -m training tests/test_rl_*.py

learn: $(RL_VENV)/installed
	$(RL_BIN)/python -m rl.tiny.demonstrate $(RUN)

# From questions to a fine-tuned tiny model; the second with a loopback server as teacher and judge.
data: $(VENV)/installed $(RL_VENV)/installed
	examples/end_to_end.sh out/data

data-loopback: $(VENV)/installed $(RL_VENV)/installed
	$(BIN)/python -m tests.loopback_data out/data-loopback

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("oresearch needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e ".[dev]"
	@touch $@

# Without dependencies: the lock is complete, and leaves out what only GPUs want.
$(RL_VENV)/installed: rl/cpu.lock pyproject.toml
	$(PYTHON) -m venv $(RL_VENV)
	$(RL_BIN)/pip install --quiet --upgrade pip
	$(RL_BIN)/pip install --quiet --no-deps -r rl/cpu.lock
	$(RL_BIN)/pip install --quiet --no-deps -e .
	@touch $@

clean:
	rm -rf $(VENV) $(RL_VENV) out .mypy_cache .ruff_cache .pytest_cache
