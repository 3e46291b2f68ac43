# Archetype. `make help` lists what there is.
SHELL     := bash
.SHELLFLAGS := -o pipefail -c
GO        ?= go
BIN       := bin/archetype
LAB       ?= examples/quickstart.clab.yml
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS   := -s -w -X archetype/cli.Version=$(VERSION)
SOURCES    = $(shell find . -name '*.go' -not -path './bin/*') $(wildcard vendors/kinds/* themes/*.yaml) go.mod go.sum
LINT      := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
TESTFLAGS ?= -race

.PHONY: help run build test conformance images-test bench lint format fuzz sim faults torture picture clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: $(BIN) ## build the program and open the workbench on a working lab (LAB=file for another)
	@$(BIN) $(LAB)

build: $(BIN) ## build the program into bin/

$(BIN): $(SOURCES)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $@ .

test: ## install what the tests need where that is possible, then run them all
	@scripts/test-setup
	@scripts/test $(TESTFLAGS)

conformance: ## run every provider with every network and write the tables in docs/conformance.md and README.md
	@scripts/test-setup
	@scripts/conformance $(TESTFLAGS)
	@$(MAKE) --no-print-directory images-test

images-test: ## boot a Debian cloud image, made of the distribution's packages, on every disk bus and interface model
	@scripts/test-setup images
	CLOUDIMAGE=$(CURDIR)/.build/images/debian-12-generic-amd64.qcow2 $(GO) test ./e2e -count=1 -run TestCloudImage -v -timeout 90m

bench: $(BIN) ## measure, side by side with yardsticks, and print ratios
	@scripts/test-setup bench
	@$(GO) run ./scripts/bench $(BENCHFLAGS)

lint: ## vet and golangci-lint
	$(GO) vet ./...
	$(GO) run $(LINT) run ./...

format: ## fail if a file is not formatted
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }

fuzz: ## fuzz every target for a minute each
	@scripts/fuzz

sim: ## the engine against a simulated world: 1,000 seeds of 1,000 steps (SIM_SEEDS, SIM_STEPS)
	SIM_SEEDS=$${SIM_SEEDS:-1000} $(GO) test ./sim -count=1 -run 'TestSeeds' -v -timeout 60m | grep -v '^=== \|^ *--- PASS'

faults: ## kill the real program at every place around every effect, pair by pair, and write docs/faults.md (FAULTS_PAIR=netns-veth for one)
	@scripts/test-setup
	FAULTS=all E2E_TELL=1 $(GO) test ./e2e -count=1 -run 'TestKilledAtEveryPlace/$(FAULTS_PAIR)' -v -timeout 120m

torture: ## kill the real program at random for a time on each pair (TORTURE=1m, FAULTS_SEED)
	@scripts/test-setup
	TORTURE=$${TORTURE:-1m} E2E_TELL=1 $(GO) test ./e2e -count=1 -run TestKilledAtRandom -v -timeout 60m

picture: $(BIN) ## render the workbench, from the program itself, to docs/workbench.svg
	$(GO) run ./scripts/picture $(BIN) $(LAB) docs/workbench.svg

clean: ## remove what was built
	rm -rf bin .build
