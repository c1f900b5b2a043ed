# What people type. Everything is set up by the first command that needs it; see README.md.
PYTHON ?= python3
PORT ?= 8000
RUN = .venv/bin/python
TEST_ARGUMENTS ?=
# Most tests wait for processes: one more worker than there are cores (with two a core what waits was starved). Files stay together, so that each starts its servers once.
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
# Nights on several machines and under faults take as long as all the rest, as do comparisons and the walk: targets of their own.
WAYS = tests/ways tests/chaos tests/night/test_faults_in_a_night.py
PEERS = tests/peers
TUTORIALS = tests/tutorials
# Tests keep their secrets and data out of the portal's own state directory.
TEST_HOME = build/test-home
PYTEST = mkdir -p $(TEST_HOME) && PYTHONDONTWRITEBYTECODE= AWPORTAL_HOME=$(TEST_HOME) $(RUN) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help demo serve test test-ways lint format bench bench-recipes peers fuzz try-node try-slurm try-slurm-afar try-workers try-lan try-noshare clocks-and-disks docs requirements set-up set-up-development clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: set-up ## set up, start all, observe and reduce a night; NIGHT=DIR for your own frames, INSTRUMENT=, TYPE=, ONCE=1, PORT=
	@$(RUN) -m awportal.launcher demo --port $(PORT) $(if $(NIGHT),--night "$(NIGHT)") $(if $(INSTRUMENT),--instrument "$(INSTRUMENT)") \
		$(if $(TYPE),--type "$(TYPE)") $(if $(ONCE),--once)

serve: set-up ## start the portal on the data kept in var/
	@$(RUN) -m awportal.launcher serve --port $(PORT)

test: set-up-development ## the test suite, but for test-ways, walk, tutorials and peers; TEST_ARGUMENTS= goes to pytest
	@$(PYTEST) $(or $(TEST_ARGUMENTS),$(addprefix --ignore=,$(WAYS) $(PEERS) $(TUTORIALS) tests/walk) --durations 25 --durations-min 10)

test-ways: set-up-development ## the five ways of working on short nights, wrong clocks, full disks, a sample of the chaos suite
	@$(PYTEST) $(WAYS) --durations 0 --durations-min 10

.PHONY: walk
walk: set-up-development ## every role through every page in a browser, at two widths and in both themes, with axe; pictures in build/walk
	@mkdir -p $(TEST_HOME) && AWPORTAL_HOME=$(TEST_HOME) $(RUN) -m pytest tests/walk --durations 0 --durations-min 5

.PHONY: test-tutorials tutorials pictures
test-tutorials: set-up-development ## follow docs/tutorial.md and its like word for word on a small night
	@$(PYTEST) $(TUTORIALS) --durations 0 --durations-min 10

tutorials: set-up-development ## the same on the whole night of make demo, numbers too
	@WHOLE_NIGHT=1 $(PYTEST) $(TUTORIALS)

pictures: set-up-development ## make the pictures in docs/images anew from a fresh portal; NAMES= of some alone
	@$(RUN) -m tests.tutorials.pictures $(NAMES)

lint: set-up-development ## format, lint, types, import contracts, docstrings, migrations
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy
	@.venv/bin/lint-imports
	@$(RUN) -m numpydoc.hooks.validate_docstrings $$(git ls-files 'recipes/*.py')
	@PYTHONPATH=. $(RUN) docs/make_recipe_pages.py --check
	@AWPORTAL_HOME=$(TEST_HOME) $(RUN) manage.py makemigrations --check --dry-run
	@AWPORTAL_HOME=$(TEST_HOME) AWPORTAL_BASE_URL=https://portal.example $(RUN) manage.py check --deploy --fail-level WARNING

format: set-up-development ## mend what the formatter and linter can mend
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix .

peers: set-up-development ## compare the recipes with IRAF, ccdproc, SExtractor, SWarp, SCAMP, STILTS; prints the table
	@rm -rf build/peers; $(PYTEST) $(PEERS); code=$$?; $(RUN) tests/peers/report.py && exit $$code

try-node: set-up-development ## a node, then a cluster under one frontend, its settings changed while a night is reduced; prints who did what
	@$(RUN) -m tests.ways.node

try-slurm: set-up-development ## Slurm and a portal on this machine, a night reduced through them; prints what each queue job did
	@$(RUN) -m tests.ways.slurm

try-slurm-afar: set-up-development ## the same on a cluster behind ssh, with no way out (as root: network namespaces); its connection is cut, its relay killed
	@$(RUN) -m tests.ways.slurm_afar

try-workers: set-up-development ## a portal, and workers that come and go while a night is reduced; prints who did what
	@$(RUN) -m tests.ways.workers

try-lan: set-up-development ## a portal, and hosts by ssh that reduce a night (as root: network namespaces with sshd inside); prints who did what
	@$(RUN) -m tests.ways.lan

try-noshare: set-up-development ## a portal, and machines that may not call out: one ssh session carries all, sftp the files (as root)
	@$(RUN) -m tests.ways.noshare

clocks-and-disks: set-up-development ## nodes and a caching data server with wrong clocks and full disks (as root: it mounts small disks); prints the tables
	@$(RUN) -m tests.ways.clocks_and_disks

fuzz: set-up-development ## damaged and odd frames through every recipe; FUZZ= says how many
	@$(RUN) -m tests.fuzz --cases $(or $(FUZZ),10000)

hostile: set-up-development ## ship hostile programs as code to a node of this machine; prints what each tried and what it met
	@AWPORTAL_HOME=$(TEST_HOME) $(RUN) -m pytest tests/hostile; code=$$?; $(RUN) tests/hostile/report.py; exit $$code

.PHONY: chaos partitions
chaos: set-up-development ## break a working installation at seeded random points, prove that nothing is lost; FAULTS=, SEED=, DATABASE=
	@$(RUN) -m tests.chaos --faults $(or $(FAULTS),500) --seed $(or $(SEED),1) $(if $(DATABASE),--database $(DATABASE))

partitions: set-up-development ## divide nodes from the portal for 5, 30 and 120 s in each direction (as root: network namespaces)
	@$(RUN) -m tests.chaos --database $(or $(DATABASE),SQLite) --faults 0 --usual-times --partition 5 --partition 30 --partition 120

bench-recipes: set-up-development ## time the recipes beside their peers; prints the ratios and which bar is missed
	@for script in tests/bench/recipes/bench_*.py; do echo; echo "== $$script"; AWPORTAL_HOME=$(TEST_HOME) $(RUN) $$script || exit 1; done

.PHONY: bench-units simulate-slots
bench-units: set-up-development ## units beside bare Celery on both databases (needs PostgreSQL and taskset); prints the table; JOBS=1000
	@AWPORTAL_HOME=$(TEST_HOME) $(RUN) tests/bench/units/bench_units.py

simulate-slots: set-up-development ## a thousand simulated slots at one frontend on PostgreSQL; SLOTS=1000, MINUTES=3, WORKERS=1
	@AWPORTAL_HOME=$(TEST_HOME) $(RUN) tests/bench/units/simulate_slots.py

bench: set-up-development ## overhead of a job, start-up time, the archive at a million products, pages of a run of 10,000 jobs, 300 source lists in three ways
	@for script in tests/bench/bench_*.py; do echo; echo "== $$script"; AWPORTAL_HOME=$(TEST_HOME) $(RUN) $$script || exit 1; done

docs: set-up ## write the recipes' pages in docs/recipes anew
	@PYTHONPATH=. $(RUN) docs/make_recipe_pages.py

requirements: set-up ## resolve requirements*.in anew into the pinned lists
	@.venv/bin/uv pip compile -q --universal --python-version 3.11 requirements.in -o requirements.txt --no-header --no-annotate
	@.venv/bin/uv pip compile -q --universal --python-version 3.11 requirements-ldap.in -o requirements-ldap.txt --no-header --no-annotate
	@.venv/bin/uv pip compile -q --universal --python-version 3.11 requirements-dev.in -o requirements-dev.txt --no-header --no-annotate
	@.venv/bin/uv pip compile -q --universal --python-version 3.11 processing_units/joining/requirements.in -c requirements.txt \
		-o processing_units/joining/requirements.txt --no-header --no-annotate

set-up:
	@$(PYTHON) awportal/launcher/set_up.py

set-up-development:
	@$(PYTHON) awportal/launcher/set_up.py --development

clean: ## remove what was set up and built (never var/, where the data are)
	rm -rf .venv build
