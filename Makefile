# `make help` lists the targets. A newcomer needs two of them: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
PREFIX ?=
# Tests at a time: the cores, and not so many that the waits of real programs suffer.
JOBS   ?= $(shell n=$$(nproc); echo $$((n < 8 ? n : 8)))
TIME   ?= 60
# Whether `make install` compiles: auto (where there is a C compiler), yes (or fail) or no.
COMPILE ?= auto
SEEDS  ?= 1000

BIN     := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
STAMP   := $(VENV)/.installed
# The tests of what does no I/O, and of what can be machine code.
UNIT    := $(addprefix tests/,base sip torture sdp screen dispatch inventory routing signalling streams)
# What is tested once more as machine code.
MACHINE := $(UNIT) $(addprefix tests/,media relay ng)
PIP     := -m pip --quiet --disable-pip-version-check --no-input
# Each worker takes whole files, so that a file's fixtures are made once.
PYTEST   = $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# The Python of an environment may be gone, as after an upgrade of the system: what was installed does not count then.
$(if $(wildcard $(RUNTIME) $(STAMP)),$(shell $(BIN)/python -c '' 2>/dev/null || rm -f $(RUNTIME) $(STAMP)))

.DEFAULT_GOAL := help
.PHONY: help demo install check test slow lint peers toolchain lock bench soak fuzz torture simulate compiled interpreted clean

help:              ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 20

# Makes a virtual environment in folder $(1), with options $(2), unless its pip answers: without pip, its making was cut
# short, or python3-venv was missing then. A folder that holds something else is left as it is.
define environment
	@$(PYTHON) -c 'import sys; sys.exit("edgesbc needs Python 3.11 or newer, found " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@if ! $(1)/bin/python -m pip --version >/dev/null 2>&1; then \
	  $(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "edgesbc needs the venv module of Python; on Debian: apt-get install python3-venv" >&2; exit 1; }; \
	  test -f $(1)/pyvenv.cfg || test -z "$$(ls -A $(1) 2>/dev/null)" || { echo "$(1) is no virtual environment and not empty: name another folder" >&2; exit 1; }; \
	  $(PYTHON) -m venv $(2) $(1); \
	fi
endef

# Runs command $(2), and says that it takes minutes, and every half minute that it is still at work, unless $(1) is no.
define with_progress
	@if [ "$(1)" = no ]; then $(2); exit $$?; fi; \
	echo "Making machine code, which takes some minutes; COMPILE=no leaves it out."; \
	( seconds=0; while sleep 30 >/dev/null 2>&1 && kill -0 $$$$ 2>/dev/null; do seconds=$$((seconds + 30)); echo "  at work for $$seconds s"; done ) & \
	clock=$$!; trap "kill $$clock" EXIT; trap 'exit 130' INT TERM; \
	$(2)
endef

$(RUNTIME): requirements-runtime.lock pyproject.toml
	$(call environment,$(VENV),--clear)
	$(BIN)/python $(PIP) install --require-hashes -r requirements-runtime.lock
	EDGESBC_COMPILE=no $(BIN)/python $(PIP) install --no-deps --editable .
	@touch $@

$(STAMP): requirements.lock $(RUNTIME)
	$(BIN)/python $(PIP) install --require-hashes -r requirements.lock
	@touch $@

demo: $(RUNTIME)   ## calls over UDP, TCP, TLS and WSS, a flood, a dead PBX: the whole edge in under 90 s
	$(BIN)/edgesbc demo

install: $(if $(PREFIX),,$(RUNTIME)) ## the edge without developers' tools, into PREFIX (an environment of its own, compiled unless COMPILE=no) or .venv
	$(if $(PREFIX),$(call environment,$(PREFIX)))
	$(if $(PREFIX),$(PREFIX)/bin/python $(PIP) install --require-hashes -r requirements-runtime.lock)
	$(if $(PREFIX),$(call with_progress,$(COMPILE),EDGESBC_COMPILE=$(COMPILE) $(PREFIX)/bin/python $(PIP) install --no-deps --force-reinstall .))
	@$(or $(PREFIX),$(VENV))/bin/edgesbc --version
	@$(if $(PREFIX),,echo "The sources of this clone are interpreted, until make compiled puts machine code beside them.")
	@echo "$(abspath $(or $(PREFIX),$(VENV)))/bin/edgesbc ($$(du -sh $(or $(PREFIX),$(VENV)) | cut -f1))"

check: $(STAMP)    ## for daily use, under 90 s: lint, types, the tests of the packages without I/O with fewer examples
	$(MAKE) --no-print-directory --output-sync --jobs 2 lint unit

.PHONY: unit
unit: $(STAMP)
	$(PYTEST) -q --hypothesis-profile quick $(UNIT)

lint: $(STAMP)     ## ruff, mypy --strict (the import and nursery rules are tests: tests/test_architecture.py)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

peers:             ## the real SIP programs, databases, browser and compiler of the tests and the bench (Debian packages, as root; npm)
	bash tests/interop/install-peers

# What fails in the tests does not keep the fuzzing from running.
test: lint peers   ## everything: lint, all tests, and every fuzz target for about twenty seconds, with the same inputs each time
	status=0; \
	$(PYTEST) -m "not alone" || status=1; \
	$(BIN)/pytest -m alone || status=1; \
	$(BIN)/python -m fuzz.run --seconds 20 --repeatable --seed 1 || status=1; \
	exit $$status

slow: $(STAMP) compiled ## what make test leaves out: the tests of what can be machine code, as machine code, and two minutes of soak
	status=0; \
	$(PYTEST) -q $(MACHINE) || status=1; \
	$(MAKE) --no-print-directory soak TIME=120 || status=1; \
	$(MAKE) --no-print-directory interpreted; \
	exit $$status

bench: $(STAMP) peers ## the edge beside Kamailio and rtpengine in one run, ratios printed
	$(BIN)/python -m bench

soak: TIME = 1800
soak: $(STAMP)     ## TIME=1800 seconds of 300 calls with audio that come and go; fails where ports, descriptors or memory do not come back
	$(BIN)/python -m bench call_soak --seconds $(TIME)

fuzz: $(STAMP)     ## TIME=60 seconds of hostile input for each thing that reads from the network
	$(BIN)/python -m fuzz.run --seconds $(TIME)

simulate: $(STAMP) ## SEEDS=1000 runs of the signalling core in a network that loses, doubles, reorders and crashes
	PYTHONPATH=tests $(BIN)/python -m simulation --seeds $(SEEDS)

torture: $(STAMP)  ## the messages of RFC 4475 and RFC 5118 and some of ours: expected, and what came of them
	PYTHONPATH=tests $(BIN)/python -m torture

toolchain:
	@printf '#include <Python.h>\n' | cc -fsyntax-only -x c -I"$$($(firstword $(wildcard $(BIN)/python) $(PYTHON)) -c 'import sysconfig; print(sysconfig.get_path("include"))')" - 2>/dev/null \
	|| { echo "machine code needs a C compiler and the headers of C and of Python; on Debian: apt-get install gcc libc6-dev python3-dev" >&2; exit 1; }

compiled: toolchain $(RUNTIME) interpreted ## make machine code of the packages without I/O (needs a C compiler)
	$(call with_progress,yes,EDGESBC_COMPILE=yes $(BIN)/python $(PIP) wheel --no-deps --wheel-dir build/compiled .)
	$(BIN)/python -m zipfile --extract build/compiled/*.whl build/compiled
	cd build/compiled && find . -name '*.so' -exec cp --parents {} ../.. ';'
	$(BIN)/edgesbc --version

interpreted:       ## remove that machine code again
	rm -rf build/compiled
	find edgesbc *__mypyc* -name '*.so' -delete 2>/dev/null || true

UPGRADE ?=
UV := .lockenv/bin/uv pip compile --quiet $(UPGRADE) --universal --python-version 3.11 --generate-hashes \
      --no-emit-index-url --no-emit-find-links --no-header pyproject.toml
lock:              ## write the lock files after a change of pyproject.toml; UPGRADE=--upgrade takes newer versions too
	test -x .lockenv/bin/uv || { $(PYTHON) -m venv .lockenv && .lockenv/bin/pip install --quiet uv; }
	$(UV) --extra dev -o requirements.lock
	$(UV) --extra postgresql --extra mysql --constraint requirements.lock -o requirements-runtime.lock

clean: interpreted ## remove what the other targets made
	rm -rf $(VENV) .lockenv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
