# Two commands set everything up on a machine with Go, Node and apt:
#
#   make run    build, and start the demonstration
#   make test   every check
#
# The others are parts of these, or too slow for them.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DEFAULT_GOAL := build
export CGO_ENABLED ?= 0

STATICCHECK := .cache/bin/staticcheck-v0.8.2
CHROMIUM    ?= /usr/bin/chromium
FUZZTIME    ?= 60s
# What runs in a browser: formats, decisions and the verdict engine.
PORTABLE    := ./format/... ./cert ./trust ./thing ./bundle ./party/verifier

.PHONY: build run test deps check unit race portable page bench instructions fuzz interop clean

build:
	go build -trimpath -o bin/ampoule ./cmd/ampoule

run: build
	exec bin/ampoule demo

test: deps check portable unit race page

# What the checks need from Debian: installed as root, named otherwise.
deps:
	missing=()
	[ -x $(CHROMIUM) ] || missing+=(chromium)
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
	command -v gcc >/dev/null || missing+=(gcc libc6-dev)
	if [ $${#missing[@]} -gt 0 ]; then
		if [ "$$(id -u)" = 0 ]; then
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" fonts-dejavu-core >/dev/null
		else
			echo "missing: run as root: apt-get install $${missing[*]} fonts-dejavu-core"; exit 1
		fi
	fi
	cd web/test && npm ci --silent --no-audit --no-fund

check: $(STATICCHECK)
	unformatted=$$(gofmt -l .)
	if [ -n "$$unformatted" ]; then echo "gofmt would change: $$unformatted"; exit 1; fi
	go vet ./...
	$(STATICCHECK) ./...
	go mod tidy -diff

$(STATICCHECK):
	mkdir -p $(dir $@)
	GOBIN=$(CURDIR)/$(dir $@) go install honnef.co/go/tools/cmd/staticcheck@v0.8.2
	mv $(dir $@)staticcheck $@

# The engine must run in a browser, without a network stack of its own.
portable:
	GOOS=js GOARCH=wasm go build $(PORTABLE)
	if GOOS=js GOARCH=wasm go list -deps $(PORTABLE) | grep -x net/http; then
		echo "the engine depends on net/http"; exit 1
	fi

unit:
	go test ./...

race:
	CGO_ENABLED=1 go test -race -short ./party/... ./internal/... ./trust

# A look at the page in a real browser.
page: build
	web/test/run.sh

bench:
	go run ./bench

# Instructions instead of seconds: the same on every run. Needs valgrind.
instructions:
	bench/instructions.sh

# Every fuzz target, FUZZTIME each.
fuzz:
	go list ./... | while read -r package; do
		go test "$$package" -list '^Fuzz' | { grep '^Fuzz' || true; } | while read -r target; do
			echo "$$package $$target"
			go test "$$package" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x
		done
	done

# The table of docs/interop.md, from the vectors that AMPOULE_VECTORS names.
interop:
	go test ./interop -count=1 -v -table | grep -v '^=== \|^ *--- '

clean:
	rm -rf bin .cache web/test/node_modules
