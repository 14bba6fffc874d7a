# What a newcomer needs: `make demo` and `make test`. Both need Go and nothing
# else; what Debian packages they use, they install where they are root, and
# name with the exact command where they are not.

SHELL := /bin/sh
.DEFAULT_GOAL := help
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TOOL := go tool -modfile=.ci/tools/go.mod
# The cluster's binary is cached outside the tree; its build takes minutes, once.
DEVCLUSTER = $(shell go run -C cmd/devcluster ./build)

.PHONY: help build demo test chaos lint bench proto proto-check proto-publish devcluster clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build berth and its executors into bin/
	@mkdir -p bin
	go build -ldflags "-X main.version=$(VERSION)" -o bin/ ./cmd/berth ./cmd/berth-helm ./cmd/berth-kubernetes ./cmd/berth-aws ./cmd/berth-dns ./cmd/berth-script

demo: ## A pull request, /deploy, a cluster, a URL: the whole of it on this machine (KEEP=1 stays up)
	@.ci/need redis-server || true
	@$(MAKE) --no-print-directory build
	@go build -o bin/ ./cmd/demo
	@KEEP="$(KEEP)" bin/demo

test: ## Run every test under the race detector, against a real Redis, Kubernetes API, name server, certificate authority, PostgreSQL and browser
	@.ci/need redis-server gcc:gcc,libc6-dev named:bind9 nsupdate:bind9-dnsutils pdns_server:pdns-server,pdns-backend-sqlite3 pg_ctlcluster:postgresql sqlite3 node:nodejs,npm chromium # the race detector needs a C compiler
	@DEVCLUSTER="$(DEVCLUSTER)"; export DEVCLUSTER; \
	go test -race -timeout 20m ./... && go test -C cmd/devcluster ./...

chaos: ## A thousand requests, then two hundred environments, while everything breaks (REQUESTS=1000 ENVIRONMENTS=200 SEED=7; 0 leaves an act out)
	@.ci/need redis-server
	@$(MAKE) --no-print-directory build
	@go build -o bin/ ./cmd/chaos
	@DEVCLUSTER="$(DEVCLUSTER)" bin/chaos $(if $(REQUESTS),-requests $(REQUESTS)) $(if $(ENVIRONMENTS),-environments $(ENVIRONMENTS)) $(if $(SEED),-seed $(SEED))

lint: proto-check ## Lint the Go code and the protocol
	$(TOOL) golangci-lint run ./...

bench: ## Measure against floors in the same run (BENCH=short for a quick look)
	@.ci/need redis-server named:bind9 nsupdate:bind9-dnsutils
	@DEVCLUSTER="$(DEVCLUSTER)" BENCH="$(BENCH)" .ci/bench

proto: ## Generate the Go code of the executor protocol
	$(TOOL) buf generate plugins/proto --template plugins/proto/buf.gen.yaml

proto-check: ## Lint the protocol, compare it with the published one, and see that the generated code is up to date
	$(TOOL) buf lint plugins/proto
	$(TOOL) buf breaking plugins/proto --against plugins/proto/published/v1.binpb
	@t=$$(mktemp -d) && trap 'rm -rf "$$t"' EXIT && \
	$(TOOL) buf generate plugins/proto --template plugins/proto/buf.gen.yaml -o "$$t" && \
	diff -r -x '*.proto' -x '*.yaml' -x '*.md' -x published "$$t/plugins/proto" plugins/proto || \
	{ echo "The generated code of the protocol is out of date: run make proto." >&2; exit 1; }

proto-publish: proto-check ## After a release: take the protocol as it is now in as the published one
	$(TOOL) buf build plugins/proto --exclude-source-info -o plugins/proto/published/v1.binpb

devcluster: ## Build the Kubernetes control plane that tests and the demo use, and print its path
	@echo "$(DEVCLUSTER)"

clean: ## Remove what was built here (caches stay)
	rm -rf bin
