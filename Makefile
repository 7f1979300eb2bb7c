# The same commands everywhere: what CI runs is what the README says.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do $$python -c \
  'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
RUN := $(VENV)/bin/python -m

# Several tests at once, but each process loads TensorFlow and may take a gigabyte or two.
PARALLEL := -n auto --maxprocesses 4 --dist worksteal

RIVALS := bentoml litserve mlserver mosec

.PHONY: serve train test check test-browser test-fuzz test-container test-faults bench lock
serve: $(VENV)/.serving ## serve http://localhost:8000
	$(RUN) app

train: $(VENV)/.training ## train and export; ARGS="--network mlp" for the baseline
	$(RUN) training $(ARGS)

test: $(VENV)/.dev ## run the tests with branch coverage, several at once; ARGS="-n 0" for one at a time
	$(RUN) pytest $(PARALLEL) $(ARGS)

check: $(VENV)/.dev ## formatter, linters, types, import rules
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/hadolint Dockerfile

test-browser: $(VENV)/.browser ## test the pages in Chromium; needs it, `apt-get install chromium`
	$(RUN) pytest $(PARALLEL) tests/browser -m browser --no-cov $(ARGS)

bench: $(VENV)/.dev $(RIVALS:%=.rivals/%/.installed) ## measure the service against others; needs wrk; ARGS="--quick" for a trial run
	$(RUN) benchmarks.serving $(ARGS)

test-fuzz: $(VENV)/.fuzz ## test with generated files and requests, and against the API document
	$(RUN) pytest tests/fuzz -m fuzz --no-cov $(ARGS)

test-container: $(VENV)/.dev ## build, start and test the container; needs Docker 25
	$(RUN) pytest tests/container -m container --no-cov

test-faults: $(VENV)/.dev ## break a running service and what it runs on; tests that mount disks need root on Linux
	$(RUN) pytest tests/faults -m faults --no-cov -s $(ARGS)

lock: ## recompile the hash-pinned requirement files; needs uv. Extras stay: to older pips, `coverage` does not pin `coverage[toml]`
	for file in dev:"pyproject.toml --extra training --group dev" training:"pyproject.toml --extra training" \
	  serving:pyproject.toml sbom:"--group sbom" \
	  browser:"pyproject.toml --extra training --group dev --group browser -c requirements/dev.txt" \
	  fuzz:"pyproject.toml --extra training --group dev --group fuzz -c requirements/dev.txt"; do \
	  uv pip compile -q --universal --generate-hashes --no-strip-extras --no-emit-index-url --no-header \
	    --python-version 3.11 $${file#*:} -o requirements/$${file%%:*}.txt || exit 1; done

.rivals/%/.installed: benchmarks/serving/rivals/%.txt | $(VENV)/.dev
	$(RUN) venv $(@D)
	@echo "installing $< into $(@D): a minute or two, once"
	@$(@D)/bin/python -m pip install -q --disable-pip-version-check -r $<
	@touch $@

$(VENV)/.%: requirements/%.txt
	@test -n "$(PYTHON)" || { echo "needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/one"; exit 1; }
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	@echo "installing $< into $(VENV): about a minute, once"
	@$(RUN) pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@
