# `make` alone says what there is to make.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# One way of building for programs, tests and checks: no C compiler, no paths of this
# machine in what is built, and each package compiled once for all of them.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false

# The tests' programs in testdata, which ./... passes over.
programs := ./testdata/bench/... ./testdata/firmware/... ./testdata/vendorkey/...
folders  := cmd diff verify testdata/bench testdata/firmware testdata/vendorkey
scripts  := .ci/install .ci/run .ci/test-tools .ci/test-cosign .ci/fuzz testdata/demo/demo.sh testdata/demo/debian.sh testdata/real/real.sh testdata/cosign/make.sh

# Each fuzz target runs for FUZZTIME.
FUZZTIME ?= 30s
export FUZZTIME

# Each campaign of mutations tries so many images.
MUTATIONS ?= 100000

tool := go tool -modfile=.ci/tools.mod

.PHONY: help
help: ## say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## assay, the same bytes from any folder
	go build -o assay ./cmd/assay

.PHONY: demo
demo: ## the main job on real firmware, for people (see testdata/demo/demo.sh)
	@testdata/demo/demo.sh

.PHONY: test
test: ## all tests: Go alone, offline once the modules are there
	@go test -vet=off ./... $(programs)

.PHONY: check
check: ## vet, staticcheck, gofumpt, tidy, floors, scripts
	go vet ./... $(programs)
	$(tool) staticcheck ./... $(programs)
	@echo '$(tool) gofumpt -l $(folders)'
	@unformatted=$$($(tool) gofumpt -l $(folders)); \
	if [[ -n $$unformatted ]]; then printf 'not as gofumpt has it:\n%s\n' "$$unformatted" >&2; exit 1; fi
	go mod tidy -diff
	go test -vet=off -run '^TestFloors$$' ./cmd/assay
	@for script in $(scripts); do echo "bash -n $$script"; bash -n "$$script"; done

.PHONY: test-tools
test-tools: ## against Debian's own tools (installs them)
	@.ci/test-tools

.PHONY: test-cosign
test-cosign: ## against the real cosign (builds it: minutes the first time)
	@.ci/test-cosign

.PHONY: test-real
test-real: ## real firmware from Debian, end to end, or fail (ASSAY_REAL=nightly: the long cases too)
	@ASSAY_DEMO=debian testdata/demo/demo.sh
	@testdata/real/real.sh

.PHONY: bench
bench: ## ratios against what people use instead (installs diffoscope where it can), and which share of this machine's compressed files is encoded again bit for bit
	@go run ./testdata/bench
	@ASSAY_TOOLS=1 go test -vet=off -count=1 -timeout=0 -v -run '^TestShares$$' ./diff/internal/deflate -shares

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (30s), and MUTATIONS (100000) damaged images of every format
	@.ci/fuzz
	ASSAY_MUTATIONS=$(MUTATIONS) go test -vet=off -count=1 -timeout=0 -run 'Mutations$$' ./diff/...

.PHONY: clean
clean: ## remove what the other targets leave
	rm -rf assay testdata/demo/work testdata/real/work
