# `make` without a target lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CONF ?= conf/chat.toml

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed"; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { $(MAKE) -s debian PACKAGES=python3-venv && $(PYTHON) -m venv $(VENV); }

$(VENV)/run.stamp: setup.py fws/__init__.py fws/_native.c | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/test.stamp: setup.py fws/__init__.py fws/_native.c | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@ $(VENV)/run.stamp

$(VENV)/fuzz.stamp: setup.py | $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,fuzz]'
	@touch $@

# Install Debian packages that are missing. This needs root. Tests need programs and not their services, which are
# therefore not started: a `policy-rc.d` that exits with 101 says so.
POLICY = /usr/sbin/policy-rc.d
.PHONY: debian
debian:
	@test "$$(id -u)" = 0 || { echo "missing: $(PACKAGES); install it, or run this as root"; exit 1; }
	@test -e $(POLICY) || { trap 'rm -f $(POLICY)' EXIT; printf '#!/bin/sh\nexit 101\n' > $(POLICY); chmod +x $(POLICY); }; \
	  export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -y -qq --no-install-recommends $(PACKAGES) >/dev/null

# Programs that the tests need: a browser, Redis and its Sentinel, the proxies of docs/deploy.md, a TLS client, `ip` for a
# network of their own, `jq` for the examples of `exec`, and node with npm for the SDK for JavaScript. For the files in
# ops/: systemd's check of units, tini, and promtool. After a colon, the packages of a program.
.PHONY: programs
programs:
	@PATH=$$PATH:/usr/sbin; for one in chromium:chromium,fonts-noto-color-emoji redis-server redis-sentinel nginx haproxy \
	  openssl curl jq ip:iproute2 node:nodejs npm systemd-analyze:systemd tini promtool:prometheus; do \
	  command -v $${one%%:*} >/dev/null || echo $${one#*:} | tr , ' '; \
	done | xargs -r sh -c '$(MAKE) -s debian PACKAGES="$$*"' -

tests/sdk/node_modules/test.stamp: tests/sdk/package.json tests/sdk/package-lock.json | programs
	npm ci --silent --prefix tests/sdk
	@touch $@

.PHONY: install
install: $(VENV)/run.stamp  ## create the virtual environment in .venv

.PHONY: run
run: install  ## serve conf/chat.toml, or another file: make run CONF=conf/echo.toml
	$(BIN)/fws run $(CONF)

.PHONY: test
test: $(VENV)/test.stamp programs tests/sdk/node_modules/test.stamp  ## run all tests and install the programs that they need
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not alone"
	$(BIN)/python -m pytest -m alone

.PHONY: test-fast
test-fast: $(VENV)/test.stamp  ## run the pure tests, in under 20 seconds
	$(BIN)/python -m pytest -n 3 -m "not process and not alone and not slow"

# The newest other Python that this machine has, on the path or with pyenv; nothing when there is none.
.PHONY: test-other
test-other:  ## run the pure tests with another version of Python, where there is one
	@for version in 3.14 3.13 3.12; do \
	  found=$$(command -v python$$version || true); \
	  if command -v pyenv >/dev/null; then \
	    exact=$$(pyenv versions --bare | grep "^$$version\." | tail -1); \
	    [ -z "$$exact" ] || found=$$(PYENV_VERSION=$$exact pyenv which python); \
	  fi; \
	  if [ -n "$$found" ] && "$$found" -c '' 2>/dev/null; then \
	    echo "with Python $$version:"; exec $(MAKE) -s test-fast PYTHON="$$found" VENV="$(VENV)-$$version"; \
	  fi; \
	done; echo "no other version of Python is at hand"

.PHONY: lint
lint: $(VENV)/test.stamp  ## check the code with ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: format
format: $(VENV)/test.stamp  ## format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: dist
dist: $(VENV)/test.stamp  ## build the source distribution and the wheels in dist/, and try them
	$(BIN)/python -m build --outdir dist .
	FWS_PURE_WHEEL=1 $(BIN)/python -m build --wheel --outdir dist .
	$(BIN)/python -m pytest tests/test_dist.py

.PHONY: docs
docs: $(VENV)/run.stamp  ## generate the reference pages from the code
	$(BIN)/fws filters --format markdown --built-in > docs/filters.md
	$(BIN)/fws filters --settings > docs/settings.md
	$(BIN)/fws filters --metrics > docs/metrics.md
	$(BIN)/fws api --openapi > docs/openapi.json

.PHONY: bench
bench: $(VENV)/test.stamp  ## compare fws with other servers (12 minutes) and renew docs/performance.md
	$(BIN)/python bench/run.py --publish

.PHONY: bench-quick
bench-quick: $(VENV)/test.stamp  ## measure the main figures of `make bench` in a minute
	$(BIN)/python bench/run.py --quick

.PHONY: soak
soak: $(VENV)/test.stamp programs  ## run mixed traffic with Redis restarts for ten minutes and check all guarantees
	$(BIN)/python -m tests.soak --seconds 600

.PHONY: fuzz
fuzz: $(VENV)/fuzz.stamp  ## fuzz each parser for two minutes; only one: python -m tests.fuzz head --seconds 600
	$(BIN)/python -m tests.fuzz --seconds 120

.PHONY: clean
clean:  ## remove everything that the other targets created
	rm -rf $(VENV) $(VENV)-* build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .fuzz tests/sdk/node_modules
