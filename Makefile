# Development tasks. `make` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # the tests start databases; one thing at a time
MAKEFLAGS += --no-builtin-rules

# The versions of PostgreSQL that the integration tests run against.
PG_VERSIONS ?= 15 17
# For `run` and `bench`: arguments of the program.
ARGS ?=
# For the tests: more flags of `go test`, such as TESTFLAGS='-run Leader -v'.
TESTFLAGS ?=
# Where the tests leave pictures of the pages.
ARTIFACTS ?= $(CURDIR)/artifacts
UNIT_TIMEOUT ?= 10m
INTEGRATION_TIMEOUT ?= 30m

VERSION = $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS = -X main.version=$(VERSION)

# The version comes from LDFLAGS. Go's own stamp would fail the build in a
# checkout that belongs to another user, as in many a CI.
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)

GOLANGCI_LINT := bin/golangci-lint
GOTESTSUM := bin/gotestsum
PROMTOOL := bin/promtool
TESTSUM = $(GOTESTSUM) --format pkgname-and-test-fails --format-hide-empty-pkg --
# Sets $packages to everything but ./integration/... . The examples of some have a database.
UNIT = export SCHEDULER_TEST_PG=$(lastword $(PG_VERSIONS)); packages=$$(go list ./... | grep -vE '/integration(/|$$)')

##@ Use

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z\/]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## Start everything for trying it out: make run ARGS='...'
	@exec ./bin/scheduler dev --listen 0 $(ARGS)

.PHONY: build
build: need/go ## Build bin/scheduler
	go build -ldflags '$(LDFLAGS)' -o bin/scheduler ./cmd/scheduler

##@ Test

.PHONY: test
test: need/go need/cc image test/race test/alerts test/examples test/integration ## Run every test, with -race and against every PostgreSQL

.PHONY: test/unit
test/unit: need/go image $(GOTESTSUM) ## Run the unit tests, quickly
	@$(UNIT) && $(TESTSUM) -timeout $(UNIT_TIMEOUT) $(TESTFLAGS) $$packages

.PHONY: test/race
test/race: need/go need/cc image $(GOTESTSUM) ## Run the unit tests with -race, in random order
	@printf '\nUnit tests\n'
	@$(UNIT) && $(TESTSUM) -race -shuffle=on -timeout $(UNIT_TIMEOUT) $(TESTFLAGS) $$packages

.PHONY: test/integration
test/integration: need/go need/cc image $(GOTESTSUM) ## Run the integration tests with -race: make test/integration PG_VERSIONS=17
	@for version in $(PG_VERSIONS); do \
		printf '\nIntegration tests, PostgreSQL %s\n' "$$version"; \
		SCHEDULER_TEST_PG=$$version SCHEDULER_TEST_ARTIFACTS=$(ARTIFACTS)/$$version $(TESTSUM) -race -count=1 -timeout $(INTEGRATION_TIMEOUT) $(TESTFLAGS) ./integration/... || exit 1; \
	done

# examples/ is a module of its own, as those of users are. The tag has its WebP made by
# what the module brings along, never by a library of the machine.
EXAMPLES_TAGS = -tags=nodynamic

.PHONY: test/examples
test/examples: need/go need/cc image $(GOTESTSUM) ## Run the tests of the module in examples/ with -race
	@printf '\nExamples, PostgreSQL %s\n' $(lastword $(PG_VERSIONS))
	@cd examples && SCHEDULER_TEST_PG=$(lastword $(PG_VERSIONS)) ../$(TESTSUM) -race -count=1 $(EXAMPLES_TAGS) -timeout $(INTEGRATION_TIMEOUT) $(TESTFLAGS) ./...

.PHONY: test/alerts
test/alerts: need/go $(PROMTOOL) ## Test the alerts and the dashboard in deploy/
	$(PROMTOOL) check rules deploy/prometheus/alerts.yaml
	$(PROMTOOL) test rules deploy/prometheus/alerts_test.yaml deploy/prometheus/alerts_days_test.yaml
	go -C tools/prometheus test -timeout $(UNIT_TIMEOUT) ./...

.PHONY: bench
bench: need/go image ## Measure: make bench ARGS='...'
	go run ./integration/bench $(ARGS)

.PHONY: bench/failover
bench/failover: need/go image ## Measure how fast another replica takes over, beside River
	go run ./integration/bench failover

.PHONY: bench/cleanup
bench/cleanup: need/go image ## Measure cleaning large tables, for 20 minutes: make bench/cleanup ARGS='-scale 0.05'
	go run ./integration/bench cleanup $(ARGS)

.PHONY: chaos
chaos: need/go image ## Break things at random: make chaos ARGS='-duration 1h -seed 5'
	go run ./integration/chaos $(ARGS)

.PHONY: image
image: ## Make the Docker images that the tests run PostgreSQL and Chromium in
	@bash integration/image/ensure.sh $(PG_VERSIONS)
	@bash integration/image/chromium.sh $(PG_VERSIONS)

##@ Change

.PHONY: lint
lint: need/go $(GOLANGCI_LINT) ## Check style and who imports whom
	@$(GOLANGCI_LINT) config verify
	$(GOLANGCI_LINT) run ./...
	cd examples && ../$(GOLANGCI_LINT) run --config ../.golangci.yaml --build-tags nodynamic ./...

.PHONY: fmt
fmt: need/go $(GOLANGCI_LINT) ## Format the Go files
	$(GOLANGCI_LINT) fmt
	cd examples && ../$(GOLANGCI_LINT) fmt --config ../.golangci.yaml

.PHONY: generate
generate: need/go ## Write the generated code
	go generate ./...

.PHONY: zones
zones: need/go ## Take the time zone database of this machine's Go
	install -m 644 "$$(go env GOROOT)/lib/time/zoneinfo.zip" jobs/cron/zoneinfo.zip

# The files as they are, before and after: so that it also works in a tree with
# changes that are not committed yet.
SNAPSHOT = find . \( -path ./.git -o -path ./bin -o -path ./.dev \) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum

.PHONY: verify
verify: need/go ## Fail if generated code, go.mod or a downloaded module is not what it should be
	@before=$$($(SNAPSHOT)); \
	go generate ./...; \
	after=$$($(SNAPSHOT)); \
	if [[ $$before != "$$after" ]]; then \
		echo 'generated code has drifted; these files are up to date now, commit them:' >&2; \
		diff <(echo "$$before") <(echo "$$after") | sed -n 's/^[<>] [0-9a-f]*  /  /p' | sort -u >&2; \
		exit 1; \
	fi
	go mod tidy -diff
	go mod verify
	go -C examples mod tidy -diff
	go -C examples mod verify
	go -C tools mod tidy -diff
	go -C tools mod verify
	go -C tools/prometheus mod tidy -diff
	go -C tools/prometheus mod verify

.PHONY: tools
tools: $(GOLANGCI_LINT) $(GOTESTSUM) $(PROMTOOL) ## Build the linter, the test runner and promtool into bin/ (minutes, the first time)

.PHONY: clean
clean: ## Remove what was built and left by tests; the development database in .dev/ stays
	rm -rf bin artifacts coverage* junit*.xml
	find . -name .git -prune -o -type f \( -name '*.test' -o -name '*.prof' -o -name '*.pprof' -o -name '*.coverprofile' \) -exec rm -f {} +

# The tools are a module of their own, so that nothing of theirs is in ours. They
# are built anew only when their versions change.
$(GOLANGCI_LINT): tools/go.sum | need/go
	@echo 'building golangci-lint, which takes minutes the first time'
	@go -C tools build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $@

$(GOTESTSUM): tools/go.sum | need/go
	@go -C tools build -o ../$@ gotest.tools/gotestsum
	@touch $@

# A module apart from theirs. Without the discovery of services, which rules need not.
$(PROMTOOL): tools/prometheus/go.sum | need/go
	@echo 'building promtool, which takes minutes the first time'
	@go -C tools/prometheus build -tags remove_all_sd -o ../../$@ github.com/prometheus/prometheus/cmd/promtool
	@touch $@

.PHONY: need/go need/cc
need/go:
	@command -v go >/dev/null || { echo 'go is missing: install Go 1.26 or later from https://go.dev/dl/ and put its bin folder on PATH' >&2; exit 1; }

need/cc: need/go
	@cc=$$(go env CC); command -v "$${cc%% *}" >/dev/null || { echo "$$cc is missing, and go test -race needs a C compiler: on Debian, apt-get install gcc libc6-dev" >&2; exit 1; }
