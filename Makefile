# Every target shows the line that it runs: without make you can type that line yourself.

PORT ?= 8000
# STEP=3, STEP=03 and STEP=step03_broadcast all name the same step. None: run the newest, test all.
ONE := $(STEP)
STEP ?= 13
step = $(firstword $(notdir $(wildcard steps/step0$(STEP)_* steps/step$(STEP)_* steps/$(STEP))))
steps = $(sort $(notdir $(wildcard steps/step*)))
# From 6 on they promise to stop in time; from 9 on they need PyJWT.
graceful = $(if $(filter-out step01% step02% step03% step04% step05%,$(step)), --timeout-graceful-shutdown 5)
group = $(if $(filter step09% step1%,$(step)),--group signin )
require_step = $(if $(step),,$(error there is no step "$(STEP)". The steps are: $(steps). Try: make $@ STEP=1))

# uv from PATH, else one of our own in .uv/.
UV := $(if $(shell command -v uv),uv,.uv/bin/uv)
PYTHON ?= python3
own_uv = $(filter .uv/%,$(UV))

export NO_MKDOCS_2_WARNING = 1

.PHONY: run test docs check lint site benchmark free-port

# The chat needs none of the tools that test it.
run: export UV_NO_DEFAULT_GROUPS = 1
run: $(own_uv) free-port
	$(require_step)$(UV) run $(group)uvicorn steps.$(step).main:app --reload$(graceful)$(if $(filter-out 8000,$(PORT)), --port $(PORT))

test: $(own_uv)
	$(if $(ONE),$(require_step))$(UV) run pytest $(if $(ONE),$(wildcard tests/test_$(step).py tests/browser/test_$(step)*.py),-n 3 --dist worksteal)

docs: $(own_uv)
	$(UV) run --group docs mkdocs serve

check: lint test site benchmark

lint: $(own_uv)
	$(UV) lock --check
	$(UV) run --group check ruff format --check
	$(UV) run --group check ruff check
	$(UV) run --all-groups mypy
	$(UV) run --group check hadolint Dockerfile

site: $(own_uv)
	$(UV) run --group docs mkdocs build --strict
	$(UV) run --group docs pytest tests/browser/site_check.py tests/live/*_check.py
	$(UV) run --group check lychee --offline --include-fragments --index-files index.html --root-dir "$(CURDIR)/site" --no-progress 'site/**/*.html'

benchmark: $(own_uv)
	$(UV) run python -m tests.live.benchmark

free-port: $(own_uv)
	@$(UV) run python -c 'import socket, sys; sys.exit(socket.socket().connect_ex(("127.0.0.1", int("$(PORT)"))) == 0 and "Port $(PORT) is taken. Stop what runs there, or take another one: make run PORT=9000")'

.uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"This is Python {sys.version.split()[0]}; the steps need 3.11 or newer. Get it from python.org, then: make run PYTHON=python3.13")'
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet uv
