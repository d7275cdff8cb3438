# Two commands matter: `make app` and `make test`. Both work from a bare clone and are safe to repeat.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || command -v python)
PORT ?= 8501
BIN = .venv/bin

.PHONY: app test lint demo bench clean

app: .venv/app.stamp
	$(BIN)/python -m streamlit run app.py --server.port $(PORT)

# Two processes, a test file in one of them; of the browser's files the longest come first (tests/e2e/conftest.py).
test: .venv/dev.stamp
	$(BIN)/python -m pytest -m "not e2e" -n 2 --dist loadfile
	$(BIN)/python -m pytest -m e2e -n 2 --dist loadfile --no-loadscope-reorder

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/mypy

demo: .venv/app.stamp
	$(BIN)/python -m benchmarks.build_demo

bench: .venv/dev.stamp
	$(BIN)/python -m benchmarks.bench $(BENCH)

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python found. Install Python 3.11 or newer, then try again."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Try: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv

# An install that was cut off leaves no stamp, so the next call takes it up again.
.venv/app.stamp: requirements.txt constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt -c constraints.txt
	@touch $@

.venv/dev.stamp: requirements-dev.txt .venv/app.stamp
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt -c constraints.txt
	@touch $@

clean:
	rm -rf .venv benchmarks/.venv-peers .pytest_cache .ruff_cache .mypy_cache
