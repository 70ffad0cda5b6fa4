# Two commands need nothing but Python 3.11: `make demo` and `make test`.
# The virtual environment in .venv is made once; it is made anew when pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
QUESTION ?= How does asyncio cancel tasks?

.PHONY: demo test test-server check format bench evaluate studio clean

demo: $(VENV)/installed
	@$(BIN)/oresearch run "$(QUESTION)" --search python \
		--out out/demo/report.md --trace out/demo/trace.jsonl

test: $(VENV)/installed
	$(BIN)/pytest -m "not server" -n 2

test-server: $(VENV)/installed
	$(BIN)/pytest -m server

check: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -m "not server" -n 2

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/installed
	$(BIN)/python -m tests.bench_trace_speed
	$(BIN)/python -m tests.bench_graph

evaluate: $(VENV)/installed
	$(BIN)/oresearch evaluate

studio: $(VENV)/installed
	$(BIN)/langgraph dev --host 127.0.0.1 --no-browser

$(VENV)/installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("oresearch needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) out .mypy_cache .ruff_cache .pytest_cache
