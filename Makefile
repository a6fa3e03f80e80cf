# What can be done here: `make` lists it. Each target is one command; `python -m deploy` has the longer ones.
# The first target that needs it makes .venv, from the versions and hashes in deploy/requirements/.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
LOCK := $(PY) -m uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate
LOCKS := deploy/requirements
PEERS_INSTALLED := .stack/peers/installed
# Most tests wait rather than compute; two files at a time take little more than half as long as one.
BY_TWO := --numprocesses 2 --dist loadfile

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run stop logs user end-sessions check reload scale drain undrain rolling-restart status \
	test lint format loadtest loadtest-ui loadtest-mutants bench-loadtest compare longconn proof-operations bench lock clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {print "\n" substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run
run: $(VENV)/run ## The whole stack without Docker; HTTP_PORT=8090 for another port
	@$(PY) -m deploy run

stop: $(VENV)/run ## Stop what `make run` started elsewhere
	@$(PY) -m deploy stop

logs: $(VENV)/run ## Follow the logs of `make run`
	@$(PY) -m deploy logs

user: $(VENV)/run ## Add an account or change its password: make user NAME=ann
	@$(PY) -m deploy user "$${NAME:?write the name: make user NAME=ann}"

# Every shell has a USER: only one that was typed here counts.
end-sessions: $(VENV)/run ## Log a user out on every device: make end-sessions USER=ann
	@$(if $(filter command,$(origin USER)),,$(error write whose: make end-sessions USER=ann))
	@$(PY) -m deploy end-sessions "$$USER"

##@ Operate (with Docker or without)
check: $(VENV)/run ## Test nginx/upstream.conf and the rest of nginx/; changes nothing
	@$(PY) -m deploy check

reload: $(VENV)/run ## Apply an edited nginx/upstream.conf without losing a request
	@$(PY) -m deploy reload

scale: $(VENV)/run ## So many workers: make scale N=6
	@$(PY) -m deploy scale "$${N:?write the number: make scale N=6}"

drain: $(VENV)/run ## Take a worker out of rotation: make drain W=8002
	@$(PY) -m deploy drain "$${W:?write the port: make drain W=8002}"

undrain: $(VENV)/run ## Put it back: make undrain W=8002
	@$(PY) -m deploy undrain "$${W:?write the port: make undrain W=8002}"

rolling-restart: $(VENV)/run ## Restart the workers one at a time; reads new code
	@$(PY) -m deploy rolling-restart

status: $(VENV)/run ## Workers, nginx and Redis in one table; exit code 0 when healthy
	@$(PY) -m deploy status

##@ Prove
test: $(VENV)/test ## Every test that needs no Docker
	@$(PY) -m pytest $(BY_TWO) tests/unit tests/integration tests/stack tests/browser

loadtest: $(VENV)/run $(VENV)/loadtest ## Prove round robin and one session under load
	@$(PY) -m deploy with-stack -- $(PY) -m loadtest

loadtest-ui: $(VENV)/run $(VENV)/loadtest ## The same from Locust's web page; WEB_PORT=8089
	@WEB_PORT=$${WEB_PORT:-8089} $(PY) -m deploy with-stack -- $(PY) -m loadtest

bench-loadtest: $(VENV)/run $(VENV)/loadtest ## What the load test's checks and its memory cost
	@$(PY) -m lab loadtest-cost

loadtest-mutants: $(VENV)/run $(VENV)/loadtest ## Break the stack in twelve ways: each is noticed; QUICK=1
	@$(PY) -m lab mutants

compare: $(VENV)/run $(VENV)/loadtest ## Round robin against four other policies, 6 min; QUICK=1 for 80 s
	@$(PY) -m lab policies

longconn: $(VENV)/run $(VENV)/loadtest ## 36,000 event streams and what they cost, 5 min; QUICK=1 for 300
	@NGINX_PROCESSES=$${NGINX_PROCESSES:-8} $(PY) -m lab streams

bench: $(VENV)/test $(if $(filter-out 0,$(PEERS)),$(PEERS_INSTALLED)) ## What a session costs a worker, 2 min; QUICK=1 for 40 s
	@$(PY) -m lab cost

proof-operations: $(VENV)/run $(VENV)/loadtest ## What operations cost under load, ours and stock; QUICK=1
	@$(PY) -m lab operations

##@ Develop
lint: $(VENV)/test ## Style, types, and known mistakes in nginx/
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m mypy
	@$(PY) -m gixy --skips worker_rlimit_nofile_vs_connections nginx/nginx.conf

format: $(VENV)/test ## Rewrite the Python files in the project's style
	@$(PY) -m ruff format
	@$(PY) -m ruff check --fix

lock: $(VENV)/test ## Choose the newest versions that pyproject.toml allows
	$(LOCK) --upgrade pyproject.toml --group test -o $(LOCKS)/test.txt
	$(LOCK) --upgrade pyproject.toml -c $(LOCKS)/test.txt -o $(LOCKS)/app.txt
	$(LOCK) --upgrade pyproject.toml --group native -c $(LOCKS)/test.txt -o $(LOCKS)/run.txt
	$(LOCK) --upgrade --group loadtest -c $(LOCKS)/test.txt -o $(LOCKS)/loadtest.txt
	$(LOCK) --upgrade --group peers -o lab/cost/peers/requirements.txt
	npm install --prefix lab/cost/peers --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund

clean: ## Stop the stack; delete its data, its secret and .venv
	@if [ -x $(PY) ]; then $(PY) -m deploy stop; fi
	@rm -rf .stack $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} +

# A file .venv/NAME says that deploy/requirements/NAME.txt is installed. A changed lock is newer, so it
# is installed again. pip comes from PYTHON: some systems' Python cannot put one into a new .venv.
$(VENV)/%: deploy/requirements/%.txt | $(PY)
	@echo "installing $< into $(VENV) (once)"
	@$(PYTHON) -m pip --python $(PY) install --quiet --disable-pip-version-check --require-hashes -r $<
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
	@$(PYTHON) -m venv --without-pip $(VENV) || \
		{ echo "$(PYTHON) cannot make a .venv (Debian, Ubuntu: apt-get install python3-venv)"; exit 1; }
