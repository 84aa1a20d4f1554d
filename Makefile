# muster: make demo, make test. Everything else is for those who work on it.

GO      ?= go
BIN     := $(CURDIR)/bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X muster/internal/version.version=$(VERSION)
NATSCLI := v0.5.1

export CGO_ENABLED ?= 0

.PHONY: build demo test check unit lint race cover stock asyncapi fuzz bench generate clean

build: ## the daemon and its command line, stripped, in bin/muster
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/muster ./cmd/muster

demo: build ## boot a device made of four processes, in a temporary folder
	$(BIN)/muster demo $(ARGS)

test: tools check race cover asyncapi stock ## everything; what .ci/run runs

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

stock: build $(BIN)/nats ## the stock nats command against the daemon
	$(GO) test -tags stock -run Stock ./internal/daemon/ -args -nats=$(BIN)/nats

asyncapi: ## the parser of the AsyncAPI project reads docs/asyncapi.yaml
	cd tools/asyncapi && npm ci --silent --no-audit --no-fund && node check.mjs ../../docs/asyncapi.yaml

fuzz: ## each parser of outside bytes, for FUZZTIME
	scripts/fuzz $(or $(FUZZTIME),30s)

bench: build ## the side-by-side measurements; writes bench/results.json
	$(GO) run ./bench -muster $(BIN)/muster

generate: ## whatever is made from the tables
	$(GO) generate ./...

$(BIN)/golangci-lint $(BIN)/gofumpt: tools/go.mod
	cd tools && GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint mvdan.cc/gofumpt
	@touch $(BIN)/golangci-lint $(BIN)/gofumpt

$(BIN)/nats:
	GOBIN=$(BIN) $(GO) install github.com/nats-io/natscli/nats@$(NATSCLI)

clean:
	rm -rf $(BIN) tools/asyncapi/node_modules
