# What can be done here: `make` lists it. Each target is one command; `python -m deploy` has the longer ones.
# The first target that needs it makes .venv, from the versions and hashes in deploy/requirements/.

PYTHON ?= python3
# For a checkout that cannot be written to: make run VENV=/var/tmp/venv STACK_DIR=/var/tmp/stack
VENV ?= .venv
PY := $(VENV)/bin/python
LOCK := $(PY) -m uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate
LOCKS := deploy/requirements
PEERS_INSTALLED := .stack/peers/installed
# Most tests wait rather than compute; two files at a time take little more than half as long as one, and
# three on two cores keep those waiting that measure a time limit.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile
# An optional part, for whoever asks for it: docs/watch.md.
TRACES := $(if $(OTEL_TRACES_EXPORTER),$(VENV)/traces)
LENGTH := $(if $(filter-out 0,$(LONG)),,-m "not long")

# $(call need,NAME,text): end with `text` unless the variable NAME is set.
need = [ -n "$$$(1)" ] || { echo "$(2)" >&2; exit 2; }

# Prints a dot every five seconds beside a step that prints nothing.
DOTS := (while sleep 5 </dev/null >/dev/null 2>&1; do printf . >&2; done) & dots=$$!
# What each list of deploy/requirements/ is for, in the line that `make` prints when it installs it.
NEEDS_run := the stack
NEEDS_loadtest := the load test
NEEDS_test := testing
NEEDS_traces := OpenTelemetry
NEEDS_audit := \`make audit\`

# Settings that a shell has for other projects must not change where pip installs and where Python looks.
export PIP_USER := 0
export PIP_REQUIRE_VIRTUALENV := 0
unexport PIP_TARGET PIP_PREFIX PYTHONHOME PYTHONSAFEPATH

# A folder that was not made here, though a shell's VENV names it, is neither installed into nor deleted.
ifneq ($(words $(VENV)),1)
$(error VENV=$(VENV) must be one name without spaces, which make cannot handle)
endif
ifneq ($(VENV),.venv)
ifneq ($(wildcard $(VENV)/*),)
ifeq ($(wildcard $(VENV)/made-by-make),)
$(error VENV=$(VENV) was not made here: name a folder that is not there yet)
endif
endif
endif

# A .venv whose Python is gone, or has another version since, cannot be used any more.
ifneq ($(wildcard $(VENV)/pyvenv.cfg),)
ifneq ($(shell $(PY) -E -c 'import sysconfig, os; print(os.path.isdir(sysconfig.get_path("purelib")))' 2>&1),True)
$(info the Python that $(VENV) was made with is gone or another version now: $(VENV) is made anew)
$(shell rm -rf $(VENV))
endif
endif

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run dev stop logs user end-sessions check reload scale drain undrain rolling-restart status watch swarm-up swarm-down \
	test lint format loadtest loadtest-ui loadtest-mutants bench-loadtest compare longconn proof-operations proof-failover \
	nemesis kubernetes-test bench lock sbom audit clean

# One line a target, or a few that belong together: `##+` joins a target to the line before.
help: ## This list. Settings: make run HTTP_PORT=8090
	@awk -F ':.*##\\+? ' '/^##@/ {group = substr($$0, 5)} \
		function show() {if (names) printf "%-8s%-23s%s\n", heading, names, text; heading = ""} \
		/^[a-z-]+:.*##\+ / {names = names ", " $$1; text = text "; " $$2; next} \
		/^[a-z-]+:.*## / {show(); if (group) {heading = group; group = ""}; names = $$1; text = $$2} \
		END {show()}' $(MAKEFILE_LIST)

##@ Run
# With Docker nothing is installed into .venv: deploy says first what Docker lacks.
run: $(if $(filter docker,$(STACK)),,$(VENV)/run $(TRACES)) ## The stack without Docker; STACK=docker: with it
	@$(if $(filter docker,$(STACK)),$(PYTHON),$(PY)) -m deploy run

dev: $(VENV)/run $(TRACES) ## The same; an edit of app/ shows within 2 s
	@DEV=1 $(PY) -m deploy run

stop: $(VENV)/run ## Stop it from another terminal
	@$(PY) -m deploy stop

logs: $(VENV)/run ##+ follow its logs
	@$(PY) -m deploy logs

user: $(VENV)/run ## Add NAME=ann (REMOVE=1)
	@$(call need,NAME,write the name: make user NAME=ann)
	@$(PY) -m deploy user "$$NAME"

# Every shell has a USER: only one that was typed here counts.
end-sessions: $(VENV)/run ##+ end USER=ann's sessions
	@$(if $(filter command,$(origin USER)),,echo "write whose: make end-sessions USER=ann" >&2; exit 2)
	@$(PY) -m deploy end-sessions "$$USER"

##@ Operate
check: $(VENV)/run ## Test nginx/upstream.conf
	@$(PY) -m deploy check

reload: $(VENV)/run ##+ apply it without loss
	@$(PY) -m deploy reload

scale: $(VENV)/run ## Run N=6 workers
	@$(call need,N,write the number: make scale N=6)
	@$(PY) -m deploy scale "$$N"

drain: $(VENV)/run ##+ take W=8002 out
	@$(call need,W,write the port: make drain W=8002)
	@$(PY) -m deploy drain "$$W"

undrain: $(VENV)/run ##+ put it back
	@$(call need,W,write the port: make undrain W=8002)
	@$(PY) -m deploy undrain "$$W"

rolling-restart: $(VENV)/run ## New code, one worker after the other
	@$(PY) -m deploy rolling-restart

status: $(VENV)/run ## Health, live with WATCH=1
	@$(PY) -m deploy status

watch: $(VENV)/run ##+ run Prometheus
	@$(PY) -m deploy watch

swarm-up: $(VENV)/run ## Deploy to Docker Swarm, or update
	@$(PY) -m deploy swarm-up

swarm-down: $(VENV)/run ##+ remove it
	@$(PY) -m deploy swarm-down

##@ Prove
test: $(VENV)/test ## Tests without Docker; LONG=1: the long ones too
	@$(PY) -m pytest $(SIDE_BY_SIDE) $(LENGTH) tests/unit tests/integration tests/stack tests/browser

loadtest: $(VENV)/run $(VENV)/loadtest ## Prove round robin and sessions
	@$(PY) -m deploy with-stack -- $(PY) -m loadtest

loadtest-ui: $(VENV)/run $(VENV)/loadtest ##+ from a web page
	@WEB_PORT=$${WEB_PORT:-8089} $(PY) -m deploy with-stack -- $(PY) -m loadtest

bench-loadtest: $(VENV)/run $(VENV)/loadtest ## What the load test costs
	@$(PY) -m lab loadtest-cost

loadtest-mutants: $(VENV)/run $(VENV)/loadtest ## Does the load test notice 70 faults? QUICK=1
	@$(PY) -m lab mutants

compare: $(VENV)/run $(VENV)/loadtest ## Round robin and four other policies; QUICK=1
	@$(PY) -m lab policies

longconn: $(VENV)/run $(VENV)/loadtest ## 36,000 event streams and their cost; QUICK=1
	@NGINX_PROCESSES=$${NGINX_PROCESSES:-8} $(PY) -m lab streams

bench: $(VENV)/test $(if $(filter-out 0,$(PEERS)),$(PEERS_INSTALLED)) ## What a session costs; PEERS=1, QUICK=1
	@$(PY) -m lab cost

proof-operations: $(VENV)/run $(VENV)/loadtest ## What operations lose under load; QUICK=1
	@$(PY) -m lab operations

proof-failover: $(VENV)/test ## What a failover of Redis loses; QUICK=1
	@$(PY) -m lab failover

nemesis: $(VENV)/test ## Inject faults under load; SEED=, FAULTS=, QUICK=1
	@$(PY) -m lab nemesis

kubernetes-test: ## The demo on kubectl's cluster, under load
	@deploy/kubernetes/try

##@ Develop
lint: $(VENV)/test ## Style, types, nginx
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(DOTS); $(PY) -m mypy; code=$$?; kill $$dots; exit $$code
	@$(PY) -m gixy --skips worker_rlimit_nofile_vs_connections nginx/nginx.conf

format: $(VENV)/test ##+ fix what it can
	@$(PY) -m ruff format
	@$(PY) -m ruff check --fix

lock: $(VENV)/test ## Lock the newest allowed versions
	$(LOCK) --upgrade pyproject.toml --group test -o $(LOCKS)/test.txt
	$(LOCK) --upgrade pyproject.toml -c $(LOCKS)/test.txt -o $(LOCKS)/app.txt
	$(LOCK) --upgrade pyproject.toml --group native -c $(LOCKS)/test.txt -o $(LOCKS)/run.txt
	$(LOCK) --upgrade --group traces -c $(LOCKS)/test.txt -o $(LOCKS)/traces.txt
	$(LOCK) --upgrade --group loadtest -c $(LOCKS)/test.txt -o $(LOCKS)/loadtest.txt
	$(LOCK) --upgrade --group audit -c $(LOCKS)/test.txt -o $(LOCKS)/audit.txt
	$(LOCK) --upgrade --group peers -o lab/cost/peers/requirements.txt
	npm install --prefix lab/cost/peers --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund
	$(PY) -m deploy pin-images

sbom: $(VENV)/run ## SBOMs of all parts
	@$(PY) -m deploy sbom

audit: $(VENV)/audit ##+ known vulnerabilities
	@$(PY) -m deploy audit

clean: ## Stop the stack; delete its data and .venv
	@if [ -x $(PY) ]; then $(PY) -m deploy stop; fi
	@rm -rf .stack $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +

# A file .venv/NAME says that deploy/requirements/NAME.txt is installed. A changed lock is newer, so it
# is installed again. pip comes from PYTHON: some systems' Python cannot put one into a new .venv.
$(VENV)/%: deploy/requirements/%.txt | $(PY)
	@echo "installing what $(NEEDS_$*) needs ($<) into $(VENV): once, half a minute to two minutes"
	@$(DOTS); $(PYTHON) -m pip --python $(PY) install --quiet --disable-pip-version-check --require-hashes -r $<; \
		code=$$?; kill $$dots; [ $$code -ne 0 ] || echo installed; exit $$code
	@touch $@

# What `make bench PEERS=1` compares with: apart from .venv, and without Node no Express.
$(PEERS_INSTALLED): lab/cost/peers/requirements.txt lab/cost/peers/package-lock.json lab/cost/peers/express_server.js
	@echo "installing what sessions are compared with into $(@D) (once)"
	@$(PYTHON) -m venv --without-pip $(@D)/venv
	@$(PYTHON) -m pip --python $(@D)/venv/bin/python install --quiet --disable-pip-version-check --require-hashes -r $<
	@if command -v npm >/dev/null; then cp lab/cost/peers/*.js* $(@D) && npm ci --prefix $(@D) --silent --no-audit --no-fund; \
		else echo "Node is not installed: no comparison with Express"; fi
	@touch $@

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or later is needed; name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || \
		{ echo "pip is missing for $(PYTHON) (Debian, Ubuntu: apt-get install python3-pip)"; exit 1; }
	@case "$(if $(filter /%,$(VENV)),,$$PWD/)$(VENV)" in *:*) \
		echo "the path of $(VENV) has a colon, which Python cannot have there: rename the folder, or give VENV=/elsewhere" >&2; exit 1;; esac
	@mkdir -p $(VENV) || { echo "name folders that can be written: make VENV=/elsewhere/venv STACK_DIR=/elsewhere/stack" >&2; exit 1; }
	@$(PYTHON) -m venv --without-pip $(VENV) || \
		{ echo "$(PYTHON) cannot make a .venv (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
	@touch $(VENV)/made-by-make

.DEFAULT:
	@$(PYTHON) -c 'import difflib, sys; near = difflib.get_close_matches(sys.argv[1], sys.argv[2:]); \
		sys.exit(f"make: there is no target {sys.argv[1]!r}" + (f"; did you mean {near[0]!r}?" if near else ": `make` lists them"))' \
		'$@' $$(sed -n 's/^\([a-z-]*\):.*##.*/\1/p' $(firstword $(MAKEFILE_LIST)))
