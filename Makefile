# Two commands on a fresh machine with python3 and make: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# The environment is made anew when what it depends on changes.
STAMP := .venv/installed-$(shell cat setup.cfg setup.py pyproject.toml 2>/dev/null | cksum | cut -d' ' -f1)

.PHONY: test lint demo clean

test: lint
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

demo: $(STAMP)
	$(BIN)/python -m benchmarks.demo -o demo_out

$(STAMP): setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --upgrade pip
	$(BIN)/pip install -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist demo_out *.egg-info
