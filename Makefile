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
PORTABLE    := ./format/... ./cert ./trust ./thing/... ./coldchain/... ./device ./bundle ./ledger/... ./party/verifier ./web/engine

# What the pages are built from.
PAGES       := $(shell find web -path '*/node_modules' -prune -o -path web/dist -prune -o -path web/gen -prune -o -path web/test -prune -o -path web/lighthouse -prune -o -type f -print) $(wildcard internal/messages/*.json)
ENGINE      := $(shell find bundle cert format ledger party/verifier thing trust web/engine web/wasm -name '*.go' -not -name '*_test.go') go.mod go.sum

# Of a release: the same sources, version and time give the same bytes.
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
MINUTES     ?= 10
TAGS        ?=
FAULTS      ?= 20
FAULT_RUNS  ?=

.PHONY: build run test deps check unit race portable page faces lighthouse faults bench soak instructions fuzz interop release clean

# With TAGS=pkcs11, for keys on hardware, it takes a C compiler and is no static file.
build: web/dist/pages/verifier/index.html.br
	$(if $(TAGS),CGO_ENABLED=1) go build -trimpath $(if $(TAGS),-tags $(TAGS)) -o bin/ampoule ./cmd/ampoule

# The pages, compressed. The engine takes half a minute of that when it changed.
web/dist/pages/verifier/index.html.br: web/gen/engine.wasm web/node_modules/.package-lock.json $(PAGES)
	cd web
	rm -rf dist/pages
	for page in verifier issuer ledger coldchain tour; do PAGE=$$page npx vite build --logLevel warn; done
	node pack.mjs

web/gen/engine.wasm: $(ENGINE)
	mkdir -p web/gen
	cp "$$(go env GOROOT)/lib/wasm/wasm_exec.js" web/gen/
	GOOS=js GOARCH=wasm go build -trimpath -ldflags '-s -w' -o $@ ./web/wasm

web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --loglevel=error --no-audit --no-fund

run: build
	exec bin/ampoule demo

# The last two side by side: the browser waits for most of its time.
test: deps check portable unit
	$(MAKE) -j2 --output-sync=target race page

# What the checks need from Debian: installed as root, named otherwise.
deps:
	missing=()
	[ -x $(CHROMIUM) ] || missing+=(chromium)
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
	command -v gcc >/dev/null || missing+=(gcc libc6-dev)
	command -v pdftoppm >/dev/null || missing+=(poppler-utils)
	command -v zbarimg >/dev/null || missing+=(zbar-tools)
	command -v softhsm2-util >/dev/null || missing+=(softhsm2)
	[ -x /usr/sbin/mosquitto ] || missing+=(mosquitto)
	command -v mosquitto_pub >/dev/null || missing+=(mosquitto-clients)
	command -v swtpm >/dev/null || missing+=(swtpm)
	command -v tpm2_quote >/dev/null || missing+=(tpm2-tools)
	if [ $${#missing[@]} -gt 0 ]; then
		if [ "$$(id -u)" = 0 ]; then
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" fonts-dejavu-core >/dev/null
		else
			echo "missing: run as root: apt-get install $${missing[*]} fonts-dejavu-core"; exit 1
		fi
	fi
	cd web/test && npm ci --loglevel=error --no-audit --no-fund
	cd .. && npm ci --loglevel=error --no-audit --no-fund

check: $(STATICCHECK)
	unformatted=$$(gofmt -l .)
	if [ -n "$$unformatted" ]; then echo "gofmt would change: $$unformatted"; exit 1; fi
	go vet ./...
	$(STATICCHECK) ./...
	CGO_ENABLED=1 $(STATICCHECK) -tags pkcs11 ./internal/keys
	go mod tidy -diff
	(cd interop/logs && go vet ./... && go mod tidy -diff)
	cd web && npx svelte-check --tsconfig ./tsconfig.json --fail-on-warnings --output human

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
	cd interop/logs && go test ./...

# Of the store the contracts alone, on SQLite, and not the tables that ask for everything as
# everybody, one after the other: a database in Go is ten times as slow under the detector.
race:
	CGO_ENABLED=1 go test -race -short -skip 'ByRole' -tags pkcs11 ./party/... $$(go list ./internal/... | grep -v '/internal/store$$') ./trust
	CGO_ENABLED=1 go test -race -short -run '^(TestIssuing|TestOutbox|TestFleet|TestSubmit)$$/^sqlite$$' ./internal/store

# The pages in a real browser.
page: build
	web/test/run.sh

# Every state of the pages in every language, theme and size. SHOTS names
# a folder for pictures of them.
faces: build
	web/test/run.sh faces.test.mjs issuer-faces.test.mjs border.test.mjs
	FACES=1 web/test/run.sh people.test.mjs

# The pages as a slow phone would load them.
lighthouse: build
	cd web/lighthouse && npm ci --loglevel=error --no-audit --no-fund
	../test/run.sh ../lighthouse/run.mjs

bench:
	go run ./bench
	go run ./bench -log
	go run ./bench -devices

# A server under load for MINUTES: it ends with an error where memory grows or an
# answer is wrong.
soak: build
	go run ./bench/soak -minutes $(MINUTES)
	go run ./bench/soak -devices gateways -minutes $(MINUTES)
	go run ./bench/soak -devices direct -minutes $(MINUTES)

# Four nodes of the ledger that are killed, cut off, lied to and damaged under load, as
# root: all of docs/benchmarks.md, or those that FAULT_RUNS names. Then a server that is
# killed at random moments, FAULTS mornings long on each database.
faults:
	go run ./bench/faults -run "$(FAULT_RUNS)"
	FAULTS=$(FAULTS) go test ./cmd/ampoule -run '^(TestClinicMorning|TestKilledWhileIssuing|TestFleetKilled)$$' -count=1 -v -timeout 4h

# Instructions instead of seconds: the same on every run. Needs valgrind.
instructions:
	bench/instructions.sh

# Every fuzz target, FUZZTIME each. Go's own race at the end of the time, which
# names no input, is told and is no finding.
fuzz:
	mkdir -p .cache
	go list ./... | while read -r package; do
		go test "$$package" -list '^Fuzz' | { grep '^Fuzz' || true; } | while read -r target; do
			echo "$$package $$target"
			go test "$$package" -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x | tee .cache/fuzz.log && continue
			grep -q 'context deadline exceeded' .cache/fuzz.log && ! grep -q 'Failing input' .cache/fuzz.log || exit 1
			echo "$$target: out of time, without an input"
		done
	done


# The table of docs/interop.md, from the vectors that AMPOULE_VECTORS names.
interop: build
	go test ./interop -count=1 -v -table | grep -v '^=== \|^ *--- '

# What is given away: two binaries, what runs them, what is in them, checksums. Each
# binary is built twice, the second time elsewhere and from nothing. SIGN_KEY names a
# key of ssh-keygen that signs the checksums.
release: build
	deploy/release.sh "$(VERSION)" "$(SOURCE_DATE_EPOCH)"

clean:
	rm -rf bin dist .cache web/gen web/dist/pages web/node_modules web/test/node_modules web/lighthouse/node_modules
