# The commands people use. Each sets up what it needs; `make` alone lists them.
# With DATABASE_URL set, that database is used; without, an embedded PostgreSQL starts when one is needed.
.DEFAULT_GOAL := help
.PHONY: help demo test setup serve check bench format openapi
.NOTPARALLEL:

python := .venv/bin/python
apps := accounts jobs plans notifications webhooks metering

# What `check --deploy` judges: an installation as it is in production, with secrets made up for the moment.
random = $$($(python) -c 'import secrets; print(secrets.token_urlsafe(50))')
production = DEBUG=false SECRET_KEY=$(random) KEY_PEPPER=$(random) BASE_URL=https://billing.example.com \
  ALLOWED_HOSTS=billing.example.com EMAIL_URL=smtp+tls://mail.example.com

# The API's description: made from `billing_site/api/description`, served as it lies here.
description := billing_site/api/openapi.json
describe := $(python) manage.py spectacular --validate --fail-on-warn --format openapi-json

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile | expand -t 16

demo: ## show the product: sample accounts, the site, a staff login
	@sh scripts/setup.sh
	@DEBUG=true $(python) manage.py demo

test: ## run the tests
	@sh scripts/setup.sh dev
	@DEBUG=true $(python) -m pytest -n 2

setup: ## build .venv/ with all that developing needs
	@sh scripts/setup.sh dev

serve: ## migrate, then the site and its task cluster until Ctrl-C
	@sh scripts/setup.sh
	@$(python) manage.py serve

check: export DEBUG := true
check: ## lint, types, import contracts, migrations, settings of production
	@sh scripts/setup.sh dev
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
	.venv/bin/lint-imports
	$(python) manage.py makemigrations --check --dry-run
	$(python) scripts/lint_migrations.py $(apps)
	$(describe) | cmp - $(description)
	$(production) $(python) manage.py check --deploy --fail-level WARNING

bench: ## measure intake, reads of a large account (SCALE=full: of a million contacts), what a bad key tells by its time
	@sh scripts/setup.sh dev
	@DEBUG=true $(python) -m benchmarks.intake
	@DEBUG=true $(python) -m benchmarks.usage
	@DEBUG=true $(python) -m benchmarks.keys

format: ## put the code into its usual form
	@sh scripts/setup.sh dev
	@$(python) -m ruff check --fix-only --quiet .
	@$(python) -m ruff format .

openapi: ## write the API's description anew
	@sh scripts/setup.sh dev
	@DEBUG=true $(describe) > $(description).new && mv $(description).new $(description)
