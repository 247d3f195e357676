# Docker Build Server: every target is one call of a script or of the wrapper.
.DEFAULT_GOAL := help
SHELL := /bin/bash

BUILDS ?= builds
ROUNDS ?= 9
BUILD := $(or $(BUILD),$(if $(REPO),$(BUILDS)/$(REPO)/latest))
export BUILD
server := .venv/bin/docker-build-server

##@ Once
.PHONY: setup
setup: .venv/.ready ## make the virtual environment, with what running needs
.venv/.ready: pyproject.toml
	@python3 -c 'import ensurepip' 2>/dev/null || \
	  { . tests/support/services.bash; need ensurepip=python3-venv; }
	@echo "setup: the package and what it needs go into .venv (this may take a minute)" >&2
	@python3 -m venv .venv && .venv/bin/pip install -q -e '.[web]' && touch $@

.PHONY: demo
demo: setup ## see it work, on this machine alone (PAGE=1: and show it on a page)
	@PAGE=$(PAGE) tests/support/demo

.PHONY: install
install: ## as root: a service of this host, under /opt; again: an upgrade
	@scripts/service/install.sh

.PHONY: uninstall
uninstall: ## as root: remove that; configuration and builds stay
	@scripts/service/uninstall.sh

##@ The server
.PHONY: poll
poll: setup ## notice pushes and build them, until stopped
	@$(server) poll

.PHONY: serve
serve: setup ## the API and the page, read only, on 127.0.0.1:7070 (OPTIONS=… for more)
	@$(server) serve $(OPTIONS)

.PHONY: image
image: ## its own image, as TAG=docker-build-server (BASE=… with node, where Docker Hub is not)
	@DOCKER_BUILDKIT=1 "$${DOCKER:-docker}" build -f scripts/image/Dockerfile $(if $(BASE),--build-arg BASE="$$BASE") \
	  -t $(if $(TAG),"$$TAG",docker-build-server) .

.PHONY: status
status: setup ## what is built now, and the newest build of each ref (REPO=owner/name)
	@$(server) status $(if $(REPO),"$$REPO")

.PHONY: log
log: setup ## the console of REPO=owner/name WHAT=a ref, version, commit or build
	@$(server) log $(if $(REPO),"$$REPO") $(if $(WHAT),"$$WHAT")

.PHONY: logs
logs: ## follow the console of the latest build (REPO=owner/name for one repository's)
	@log=$$(ls -td $(if $(BUILD),$(BUILD),$(BUILDS)/*/*/latest) 2>/dev/null | head -n 1); \
	  if [[ -z $$log ]]; then echo "no build yet (make trigger REPO=owner/name)" >&2; exit 1; fi; \
	  exec tail -n +1 -F -- "$$log/console.log"

.PHONY: why
why: setup ## the story of WHAT=a ref, version, commit or build, and why it is red (REPO=…)
	@$(server) why $(if $(REPO),"$$REPO") $(if $(WHAT),"$$WHAT")

.PHONY: images
images: setup ## which version each image tag is, and since when (REPO=…)
	@$(server) images $(if $(REPO),"$$REPO")

##@ What the running poller does when it is asked
.PHONY: trigger
trigger: setup ## build REPO=owner/name (WHAT=a ref, version, commit or build; VERSION=…)
	@$(server) trigger "$$REPO" $(if $(WHAT)$(REF),"$${WHAT:-$$REF}") $(if $(VERSION),--version "$$VERSION")

.PHONY: rerun
rerun: setup ## run a build of REPO=… (WHAT=…) once more (FROM=step goes on from that step)
	@$(server) rerun "$$REPO" $(if $(WHAT),"$$WHAT") $(if $(FROM),--from "$$FROM")

.PHONY: cancel
cancel: setup ## end a running or waiting BUILD=…, or that of REPO=… WHAT=…
	@$(server) cancel $(if $(WHAT),"$$REPO" "$$WHAT","$$BUILD")

.PHONY: withdraw
withdraw: setup ## let latest and its kin leave VERSION=… of REPO=…
	@$(server) withdraw "$$REPO" "$$VERSION"

.PHONY: promote
promote: setup ## let NAME=production, say, be VERSION=… of REPO=…
	@$(server) promote "$$REPO" "$$VERSION" "$$NAME"

.PHONY: pause
pause: setup ## let nothing start (REPO=… one repository's builds)
	@$(server) pause $(if $(REPO),"$$REPO")

.PHONY: resume
resume: setup ## let it go on
	@$(server) resume $(if $(REPO),"$$REPO")

.PHONY: forget
forget: setup ## remove what is left of REPO=…, which is not configured any more
	@$(server) forget "$$REPO"

##@ One step, on BUILD=builds/OWNER/NAME/ID, or on the latest build of REPO=owner/name
.PHONY: stage
stage: setup ## write down a build of REPO=owner/name (REF=… COMMIT=…); prints its directory
	@scripts/stage.sh "$$REPO" $(if $(REF),"$$REF") $(if $(COMMIT),"$$COMMIT")

.PHONY: clone
clone: ## the source, at exactly the commit
	@scripts/clone.sh "$$BUILD"

.PHONY: npm-install
npm-install: ## its dependencies
	@scripts/npm-install.sh "$$BUILD"

.PHONY: version
version: setup ## its version and image tags
	@scripts/version.sh "$$BUILD"

.PHONY: build
build: ## docker build
	@scripts/build.sh "$$BUILD"

.PHONY: unit-test
unit-test: ## its tests, in the image
	@scripts/unit-test.sh "$$BUILD"

.PHONY: tag-push
tag-push: ## the tested image into the registry
	@scripts/tag-push.sh "$$BUILD"

.PHONY: pipeline
pipeline: setup ## all of them (FROM=step goes on from that step)
	@scripts/pipeline.sh "$$BUILD"

##@ Work on the project
.PHONY: dev
dev: .venv/.dev ## setup, with the tools of lint and tests
.venv/.dev: .venv/.ready
	@echo "dev: the tools of lint and tests go into .venv (this may take a minute)" >&2
	@.venv/bin/pip install -q -e '.[web,dev]' && touch $@

.PHONY: test
test: dev ## lint and tests, all that CI runs, on a real engine and registry
	@tests/support/with-services tests/support/run

.PHONY: test-more
test-more: dev ## only the tests that take long
	@tests/support/with-services tests/support/run more

.PHONY: lint
lint: dev ## shellcheck, shfmt, ruff and mypy alone
	@tests/support/run lint

.PHONY: bench
bench: dev ## measure against the plain commands (OLD=another checkout: both)
	@tests/support/with-services tests/bench/run $(ROUNDS) $(if $(OLD),"$$OLD")

.PHONY: clean
clean: ## remove what setup, demo and the tests made; builds stay
	@rm -rf .venv .demo dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
