# The same commands everywhere: what CI runs is what the README says.
PYTHON ?= $(firstword $(foreach v,3.13 3.12 3.11,$(shell command -v python$(v))) python3)
VENV := .venv
RUN := $(VENV)/bin/python -m

.PHONY: serve train test check lock test-container
serve: $(VENV)/.serving ## serve http://localhost:8000
	$(RUN) app

train: $(VENV)/.training ## train and export; ARGS="--network mlp" for the baseline
	$(RUN) training $(ARGS)

test: $(VENV)/.dev ## run the tests with branch coverage
	$(RUN) pytest $(ARGS)

check: $(VENV)/.dev ## formatter, linter, types, import rules
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(VENV)/bin/lint-imports

test-container: $(VENV)/.dev ## build, start and question the container; needs Docker
	$(RUN) pytest -m container --no-cov

lock: ## compile the hash-pinned requirement files anew; needs uv
	for file in dev:"--extra training --group dev" training:"--extra training" serving:; do \
	  uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	    $${file#*:} -o requirements/$${file%%:*}.txt pyproject.toml; done

$(VENV)/.%: requirements/%.txt
	@test -x $(VENV)/bin/python || $(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and \
	  "needs Python 3.11 to 3.13: make PYTHON=/path/to/python3.12")'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(RUN) pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@
