# muster: make demo, make test. Everything else is for those who work on it.

.DEFAULT_GOAL := test

GO      ?= go
BIN     := $(CURDIR)/bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
MADE    ?= $(shell git log -1 --format=%cI 2>/dev/null)
LDFLAGS := -s -w -X muster/internal/version.version=$(VERSION) -X muster/internal/version.made=$(MADE)
NATSCLI := v0.5.1

export CGO_ENABLED ?= 0

.PHONY: demo build test check unit lint race cover stock users netns logind units fuzz generate asyncapi clean

demo: build ## watch three processes hold and release the boot of a device
	@$(BIN)/muster demo

build: ## bin/muster, the whole program
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/muster ./cmd/muster

test: check race cover asyncapi stock users netns logind units ## everything; what .ci/run runs

check: lint unit ## the inner loop: format, vet, lint, unit tests

unit:
	$(GO) test ./...

lint: $(BIN)/golangci-lint $(BIN)/gofumpt
	@test -z "$$($(BIN)/gofumpt -l .)" || { $(BIN)/gofumpt -d .; echo 'lint: run "bin/gofumpt -w ."'; exit 1; }
	$(GO) mod tidy -diff
	$(GO) vet ./...
	$(BIN)/golangci-lint run ./...

race: ## every test under the race detector, which needs a C compiler
	CGO_ENABLED=1 $(GO) test -race ./...

cover: ## the rooms that hold the contract stay covered
	scripts/cover 85 wire system blobs

stock: $(BIN)/nats ## take part with nothing but the stock nats command
	$(GO) test -tags stock -run 'TestStock|TestShell' ./internal/daemon ./examples/backup -args -nats=$(BIN)/nats

users: ## take part as other users of the device, with an unmodified client; needs root and node
	@if [ "$$(id -u)" -ne 0 ]; then \
		echo 'users: NOT RUN, for only root can be other users; run "make users" as root'; \
	else \
		(cd tools/nats && npm ci --no-progress) && \
		$(GO) test -tags users -run TestUsers ./internal/daemon -args -client=$(CURDIR)/tools/nats; \
	fi

netns: ## boot a device on a network of its own, with the programs that real ones have; needs root, dnsmasq, chrony and udhcpc
	@if [ "$$(id -u)" -ne 0 ]; then \
		echo 'netns: NOT RUN, for only root can make network namespaces; run "make netns" as root'; \
	else \
		$(GO) test -tags netns -run 'TestNetlink|TestNetworkBoot' ./system/boot ./cmd/muster; \
	fi

logind: ## play a device's way down on a private D-Bus, with Debian's python3-dbusmock as logind
	$(GO) test -tags logind -run TestLogind ./internal/daemon

units: ## have systemd judge its units, without starting one; as root
	$(GO) test -tags systemd ./deploy

fuzz: ## each parser of outside bytes, for FUZZTIME
	scripts/fuzz $(or $(FUZZTIME),30s)

bench: build ## the measurements against their limits; ONLY="round boot" for some of them, see bench/README.md
	$(GO) build -trimpath -o $(BIN)/bench ./bench
	$(BIN)/bench -muster $(BIN)/muster $(if $(ONLY),$(ONLY),-o bench/results.json)

generate: ## the documents that are made from the code; a test fails where they have drifted
	$(GO) run ./internal/docgen
	$(GO) run ./internal/mangen
	$(GO) test ./cmd/muster -run TestReadme -update

asyncapi: ## hold docs/asyncapi.yaml against the specification, which needs node
	cd tools/asyncapi && npm ci --no-progress && node check.mjs

$(BIN)/golangci-lint $(BIN)/gofumpt: tools/go.mod
	cd tools && GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint mvdan.cc/gofumpt
	@touch $(BIN)/golangci-lint $(BIN)/gofumpt

$(BIN)/nats: Makefile
	GOBIN=$(BIN) $(GO) install github.com/nats-io/natscli/nats@$(NATSCLI)
	@touch $@

clean:
	rm -rf $(BIN)
