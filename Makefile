# Two commands matter to a newcomer: `make demo` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TIME   ?= 60
SEEDS  ?= 1000

.DEFAULT_GOAL := help
.PHONY: help demo test lint peers lock bench fuzz torture simulate compiled interpreted clean

help:              ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 20

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("edgesbc needs Python 3.11 or newer, found " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: $(STAMP)     ## calls over UDP, TCP, TLS and WSS, a flood, a dead PBX: the whole edge in under 90 s
	$(BIN)/edgesbc demo

lint: $(STAMP)     ## ruff, mypy --strict (the import and nursery rules are tests: tests/test_architecture.py)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

peers:             ## the real SIP programs of the tests and the bench (Debian packages; only as root)
	bash tests/interop/install-peers

test: lint peers   ## everything: lint, all tests, and half a minute of every fuzz target from a fixed seed
	$(BIN)/pytest
	$(BIN)/python -m fuzz.run --seconds 30 --seed 1

bench: $(STAMP) peers ## the edge beside Kamailio and rtpengine in one run, ratios printed
	$(BIN)/python -m bench

fuzz: $(STAMP)     ## TIME=60 seconds of hostile input for each thing that reads from the network
	$(BIN)/python -m fuzz.run --seconds $(TIME)

simulate: $(STAMP) ## SEEDS=1000 runs of the brain in a network that loses, doubles, reorders and crashes
	PYTHONPATH=tests $(BIN)/python -m simulation --seeds $(SEEDS)

torture: $(STAMP)  ## the messages of RFC 4475 and RFC 5118 and some of ours: expected, and what came of them
	PYTHONPATH=tests $(BIN)/python -m torture

compiled: $(STAMP) interpreted ## make machine code of the rooms without I/O, about twice as fast (needs a C compiler)
	HATCH_BUILD_HOOKS_ENABLE=1 $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/compiled .
	$(BIN)/python -m zipfile --extract build/compiled/*.whl build/compiled
	cd build/compiled && find . -name '*.so' -exec cp --parents {} ../.. ';'
	$(BIN)/edgesbc --version

interpreted:       ## remove that machine code again
	rm -rf build/compiled
	find edgesbc *__mypyc* -name '*.so' -delete 2>/dev/null || true

lock:              ## renew requirements.lock (hashes, no index addresses)
	test -x .lockenv/bin/uv || { $(PYTHON) -m venv .lockenv && .lockenv/bin/pip install --quiet uv; }
	.lockenv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-header --extra dev pyproject.toml -o requirements.lock

clean: interpreted ## remove what the other targets made
	rm -rf $(VENV) .lockenv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
