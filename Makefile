# Two commands on a fresh machine with python3 and make: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# The environment is brought up to date when what it depends on changes.
STAMP := .venv/installed-$(shell cat setup.cfg setup.py pyproject.toml 2>/dev/null | cksum | cut -d' ' -f1)
# The package as an installation has it: dataset_conversion and trainers lie inside clisc_nnunet.
# mypy and import-linter follow folders and would miss them where they lie here.
TREE := build/tree

.PHONY: test lint types demo clean

test: lint
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) types

types: $(STAMP)
	rm -rf $(TREE) && mkdir -p $(TREE)/clisc_nnunet
	ln -s '$(CURDIR)'/clisc_nnunet/* '$(CURDIR)'/dataset_conversion '$(CURDIR)'/trainers $(TREE)/clisc_nnunet
	ln -s '$(CURDIR)'/pyproject.toml $(TREE)
	cd $(TREE) && '$(CURDIR)'/$(BIN)/mypy --cache-dir '$(CURDIR)'/.mypy_cache
	# The start-up file has imported the package already: from the same folder, then.
	cd $(TREE) && PYTHONPATH='$(CURDIR)/$(TREE)' '$(CURDIR)'/$(BIN)/lint-imports --no-cache

demo: $(STAMP)
	$(BIN)/python -m benchmarks.demo -o demo_out

$(STAMP):
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install -e '.[dev]'
	rm -f .venv/installed-*
	touch $@

clean:
	rm -rf .venv build dist site demo_out *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
