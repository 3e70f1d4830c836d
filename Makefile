# `make help` lists what can be asked for. test and quickstart need Go, make and git, nothing else.

# Tools that are run by their version, so that nobody installs them and go.mod does not carry them.
GOFUMPT       := mvdan.cc/gofumpt@v0.12.0
GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
ACTIONLINT    := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
OASDIFF       := github.com/oasdiff/oasdiff@v1.36.0
GOVULNCHECK   := golang.org/x/vuln/cmd/govulncheck@v1.9.0

GO        ?= go
# auto: with the race detector if a C compiler is at hand; -race: insist on it; empty: without.
RACE      ?= auto
TESTFLAGS ?=
# No test depends on speed, so a slow machine may take its time.
export GOFLAGS := $(GOFLAGS) -timeout=60m
# Tries a target, or a time (10m).
FUZZTIME  ?= 10000x
# How often the key of make machines is renewed, and the seed of its faults if it is to be another's.
RENEWALS  ?= 20
SEED      ?=
# How many states make explore sees of each kind, with three processes.
STATES    ?= 300000
# How many steps it walks at random through each kind.
STEPS     ?= $(STATES)
# Flags of pkg/benchmarks: -short, -out.
BENCHFLAGS ?=
COVER_MIN ?= 90

.DEFAULT_GOAL := help
# None of the targets that help lists is a file.
.PHONY: engines $(shell awk -F ':.*## ' '/^[a-z-]+:.*## / { print $$1 }' $(firstword $(MAKEFILE_LIST)))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

quickstart: ## read a key's info and renew it, against a fake server unless ESPER_ENVIRONMENT is set (ARGS=-renew for a real key)
	@$(GO) run ./pkg/examples/quickstart $(ARGS)

test: ## run every test, with the race detector where a C compiler is at hand (RACE=-race insists)
	@race='$(RACE)'; \
	if [ "$$race" = auto ]; then \
		if $(GO) build -race runtime/cgo >/dev/null 2>&1; then race=-race; \
		else race=; echo 'No working C compiler: testing without the race detector.'; fi; \
	fi; \
	echo "$(GO) test $$race $(TESTFLAGS) ./..."; \
	$(GO) test $$race $(TESTFLAGS) ./...

lint: ## check the format, vet for Linux, macOS and Windows, run golangci-lint and actionlint
	@files=$$(git ls-files -co --exclude-standard '*.go' ':!*.gen.go' | xargs ls 2>/dev/null | xargs $(GO) run $(GOFUMPT) -l) || exit 1; \
	if [ -n "$$files" ]; then echo 'Not formatted (make fmt mends it):'; echo "$$files"; exit 1; fi
	GOOS=linux $(GO) vet ./...
	GOOS=darwin $(GO) vet ./...
	GOOS=windows $(GO) vet ./...
	$(GO) vet -tags slow,mutations,conformance,root ./api/... ./pkg/esper/renew/... ./pkg/internal/...
	$(GO) run $(GOLANGCI_LINT) run ./...
	$(GO) run $(GOLANGCI_LINT) run --build-tags conformance ./api/...
	cd pkg/faults && for os in linux darwin windows; do GOOS=$$os $(GO) vet -tags machines ./... || exit 1; done
	cd pkg/faults && $(GO) run $(GOLANGCI_LINT) run --build-tags machines --config ../../.golangci.yml ./...
	bash .github/modules.sh workspace
	cd pkg/esper/renew/kubestore && for os in linux darwin windows; do GOOS=$$os $(GO) vet ./... || exit 1; done
	cd pkg/esper/renew/kubestore && $(GO) run $(GOLANGCI_LINT) run --config ../../../../.golangci.yml ./...
	cd pkg/cmd/esper-key && for os in linux darwin windows; do GOOS=$$os $(GO) vet -tags slow,root ./... || exit 1; done
	cd pkg/cmd/esper-key && $(GO) run $(GOLANGCI_LINT) run --build-tags slow --config ../../../.golangci.yml ./...
	cd pkg/stores && $(GO) vet -tags slow ./... && $(GO) run $(GOLANGCI_LINT) run --build-tags slow --config ../../.golangci.yml ./...
	cd pkg/benchmarks && $(GO) vet ./... && $(GO) run $(GOLANGCI_LINT) run --config ../../.golangci.yml ./...
	$(GO) run $(ACTIONLINT) -shellcheck= -pyflakes=

fmt: ## format the Go files
	$(GO) run $(GOLANGCI_LINT) fmt ./...

generate: ## regenerate gen/ and api/openapi-3.1.yaml from api/openapi.yaml and gen/overlay.yaml
	$(GO) generate ./api ./gen

# The fresh copy is made elsewhere, from an empty start: whatever lies in gen/ now, committed or not, is compared with
# it and changed by nothing here.
check: ## fail if gen/ or openapi-3.1.yaml is not what the spec yields, or go.mod is not what the code needs
	@tmp=$$(mktemp -d) && trap 'rm -rf "$$tmp"' EXIT && \
	mkdir -p "$$tmp/api/publish" && cp -R go.mod go.sum gen "$$tmp" && cp api/*.go api/openapi.yaml "$$tmp/api" && \
	cp -R api/publish/openapi31 "$$tmp/api/publish" && rm -f "$$tmp"/gen/*.gen.go && \
	(cd "$$tmp" && $(GO) generate ./api ./gen) || exit 1; \
	diff -ru gen "$$tmp/gen" && diff -u api/openapi-3.1.yaml "$$tmp/api/openapi-3.1.yaml" || \
		{ echo 'This is not what the spec yields: run make generate.'; exit 1; }
	@stray=$$(ls -A gen | grep -vxE 'generate\.go|oapi-codegen\.yaml|overlay\.yaml|[a-z]+\.gen\.go'); \
	if [ -n "$$stray" ]; then echo 'These do not belong in gen/:'; echo "$$stray"; exit 1; fi
	@files=$$(git status --porcelain --untracked-files=all --ignored -- gen) || exit 1; \
	if echo "$$files" | grep -E '^(\?\?|!!)'; then echo 'gen/ has files that git does not know.'; exit 1; fi
	$(GO) mod verify
	$(GO) mod tidy -diff
	for module in pkg/benchmarks pkg/faults pkg/stores; do \
		(cd $$module && $(GO) mod verify && $(GO) mod tidy -diff) || exit 1; done
	bash .github/modules.sh check
	cd pkg/stores/apiserver && $(GO) mod verify
	cd api/conformance/ogen && $(GO) mod verify

# A time limit sometimes ends in "context deadline exceeded" although nothing was found (a race in Go's own
# coordinator); a find always says where it was written. A number of tries has no such end.
fuzz: ## run every fuzz target, FUZZTIME (10000x) each
	@list=$$($(GO) test -list '^Fuzz' ./...) || { echo "$$list"; exit 1; }; \
	targets=$$(echo "$$list" | awk '/^Fuzz/ { name[n++] = $$1 } /^ok/ { for (i = 0; i < n; i++) print $$2 ":" name[i]; n = 0 }'); \
	if [ -z "$$targets" ]; then echo 'No fuzz target was found.'; exit 1; fi; \
	log=$$(mktemp) && trap 'rm -f "$$log"' EXIT && failed=0; \
	for target in $$targets; do \
		echo "== $$target"; \
		$(GO) test -run '^$$' -fuzz "^$${target#*:}$$" -fuzztime $(FUZZTIME) "$${target%%:*}" >"$$log" 2>&1 || \
			{ grep -q '^ *context deadline exceeded$$' "$$log" && ! grep -q 'Failing input' "$$log"; } || failed=1; \
		cat "$$log"; \
	done; \
	exit $$failed

bench: ## measure the client beside others, and write pkg/benchmarks/RESULTS.md (a minute or two)
	cd pkg/benchmarks && $(GO) run . $(BENCHFLAGS)

bench-guard: ## fail if a call allocates more than its limit
	cd pkg/benchmarks && $(GO) test -count=1 -v -run '^TestAllocations$$' .

bench-test: ## test the benchmarks, and run each once
	cd pkg/benchmarks && $(GO) test -count=1 -bench . -benchtime 1x ./...

cover: ## measure the coverage of hand-written code, and fail under COVER_MIN (90) percent
	@all=$$($(GO) list -f '{{if ne .Name "main"}}{{.ImportPath}}{{end}}' ./...) || exit 1; \
	hand=$$(echo "$$all" | grep -vE '/gen$$|/pkg/examples/' | paste -sd, -); \
	out=$$($(GO) test -count=1 -coverpkg "$$hand" -coverprofile coverage.out ./... 2>&1) || { echo "$$out"; exit 1; }; \
	$(GO) tool cover -func coverage.out | awk -v min=$(COVER_MIN) \
		'$$NF + 0 < min && $$1 != "total:" { print } \
		$$1 == "total:" { total = $$NF + 0; print } \
		END { if (total < min) { print "That is less than " min " percent."; exit 1 } }'

# Of the modules that only make test programs, the programs are scanned. The API server is shown, and fails nothing: it is
# what others run, and some of its entries have no mend. VULNDB is a URL of another database: where only a Go proxy can be
# reached, golang.org/x/vulndb/cmd/indexdb makes one of its own module's data/osv (VULNDB=file:///path).
vuln: workspace ## look up known vulnerabilities in every module (asks the Go vulnerability database)
	@failed=; for mod in $$(git ls-files go.mod '*/go.mod'); do \
		if ! grep -q '^require' $$mod; then continue; fi; \
		scan='./...' fails=$$mod; \
		case $$mod in \
		*/ogen/*) scan='-scan package github.com/ogen-go/ogen/cmd/ogen' ;; \
		*/apiserver/*) scan='-scan package k8s.io/kubernetes/cmd/kube-apiserver' fails= ;; \
		esac; \
		echo "== $$mod"; \
		(cd "./$${mod%go.mod}" && $(GO) run $(GOVULNCHECK) $(if $(VULNDB),-db $(VULNDB)) $$scan) || failed="$$failed $$fails"; \
	done; \
	if [ -n "$${failed# }" ]; then echo "Vulnerable, or not scanned:$$failed"; exit 1; fi

upstream: ## list where the spec differs from the vendor's facts; fail on a difference that DEVIATIONS.md does not explain
	$(GO) test -count=1 -v -run '^TestUpstream$$' ./api

spec-diff: ## compare the spec with the last release's; a break needs a new major version
	@OASDIFF='$(GO) run $(OASDIFF)' bash api/specdiff.sh

spec-diff-test: ## try spec-diff on changes of every kind, in a repository made for it
	@OASDIFF='$(GO) run $(OASDIFF)' bash api/specdiff_test.sh

# CONFORMANCE=-update writes api/conformance/RESULTS.md.
conformance: ## generate a client in each of Go, Python and TypeScript, and try them on the fake server
	bash .github/install.sh clients
	$(GO) test -count=1 -tags conformance -parallel 2 ./api/conformance

conformance-all: ## the same in all languages (installs what is missing; some five minutes)
	bash .github/install.sh languages
	$(GO) test -count=1 -tags conformance -parallel 2 ./api/conformance -args -all $(CONFORMANCE)

NPM := api/publish/node_modules/.package-lock.json
$(NPM): api/publish/package-lock.json
	bash .github/install.sh clients
	cd api/publish && npm ci --ignore-scripts && touch node_modules/.package-lock.json

spec-lint: $(NPM) ## lint the spec, alone and with the overlay, and show that each kind of break is found
	cd api/publish && npm run --silent lint

site: $(NPM) ## build dist/: the spec in its forms, a reference page, an index
	cd api/publish && npm run --silent build

site-test: site ## open dist/ in a headless Chromium (CHROMIUM names it); pictures go to dist-screenshots/
	[ -x "$${CHROMIUM:-/usr/bin/chromium}" ] || bash .github/install.sh browser
	cd api/publish && npm test

faults: ## put every fault between client and server, and write pkg/esper/FAULTS.md (needs a C compiler)
	cd pkg/faults && $(GO) test -race -count=1 -parallel 50 . -update

faults-check: ## the same, but fail if pkg/esper/FAULTS.md is not what is found
	cd pkg/faults && $(GO) test -race -count=1 -parallel 50 ./...

# What a target needs root for: network namespaces.
SUDO = $(shell [ "$$(id -u)" = 0 ] || echo sudo)
AS_MACHINES = $(SUDO) unshare --net
MACHINES := .build/machines.test
linger: ## show over a cut network that a kernel sends nothing of a renewal after its end (needs root; half a minute)
	bash .github/install.sh network
	cd pkg/faults && $(GO) test -c -tags machines -o $(CURDIR)/$(MACHINES) .
	cd pkg/faults && $(AS_MACHINES) $(CURDIR)/$(MACHINES) -test.v -test.parallel 4 -test.run '^TestNothingArrivesAfterTheEnd$$'

machines: workspace ## run two esper-key with clocks eleven minutes apart, and kill, stop and cut off one, RENEWALS (20) times (needs root)
	bash .github/install.sh engines
	bash .github/install.sh network
	cd pkg/faults && $(GO) run ./clock $(CURDIR)/.build/clock "$$($(GO) env GOROOT)"
	cd pkg/cmd/esper-key && CGO_ENABLED=0 $(GO) build -overlay $(CURDIR)/.build/clock/overlay.json -o $(CURDIR)/.build/esper-key .
	cd pkg/faults && $(GO) test -c -tags machines -overlay $(CURDIR)/.build/clock/overlay.json -o $(CURDIR)/.build/clocks.test .
	head -c 8 /dev/zero >.build/clock/skipped
	cd pkg/faults && $(AS_MACHINES) env RENEWALS=$(RENEWALS) SEED=$(SEED) ESPER_KEY=$(CURDIR)/.build/esper-key \
		CLOCK_FILE=$(CURDIR)/.build/clock/skipped \
		$(CURDIR)/.build/clocks.test -test.v -test.timeout 0 -test.run '^TestTwoMachines$$'

POLICY := ./pkg/esper/renew/internal/policy

explore: ## every order of events of renewing processes: two of them, then three, STATES (300000) of each kind, and walks at random
	EXPLORE_STATES=$(STATES) EXPLORE_STEPS=$(STEPS) EXPLORE_SEED=$(or $(SEED),$$(date +%s)) $(GO) test -count=1 -timeout 6h -run '^TestExplore$$' -v $(POLICY)
	EXPLORE_STATES=$(STATES) EXPLORE_STEPS=$(STEPS) EXPLORE_SEED=$(or $(SEED),$$(date +%s)) EXPLORE_PROCS=3 $(GO) test -count=1 -timeout 6h -run '^TestExplore$$' -v $(POLICY)

mutations: ## change single lines of the policy, those of a list, and want the exploration to find each
	$(GO) test -count=1 -tags mutations -run '^TestMutations$$' $(POLICY)

mutations-all: ## the same, and with the mutations that a program makes (some six minutes)
	$(GO) test -count=1 -timeout 6h -tags mutations -run '^TestMutations' $(POLICY)

lives: ## 200 programs that are killed while they renew (some two minutes)
	ESPER_TEST_KILLS=100 $(GO) test -count=1 -run '^TestKilledAtRandom$$' ./pkg/esper/renew

published: ## end every program and snippet of every page ten times in each way, at ten moments of a renewal (some two minutes)
	ESPER_TEST_LIVES=10 $(GO) test -count=1 -run '^TestPublished$$' ./pkg/examples

tokens: ## processes that renew through personal access tokens, and are killed (half a minute)
	ESPER_TEST_VIA=personal-access-token $(GO) test -count=1 -run '^TestKilledAtRandom$$' ./pkg/esper/renew
	ESPER_TEST_VIA=personal-access-token $(GO) test -count=1 ./pkg/esper/renew/storetest

# The tests are built as this user, and run as root, in mounts of their own.
AS_ROOT = $(SUDO) unshare -m env ESPER_TEST_MOUNTS=private
files-root: workspace ## try files that hold a key with other users, mounts and filters, which only root can make
	$(GO) test -tags root -c -o .build/keyfile.test ./pkg/internal/keyfile
	cd pkg/cmd/esper-key && $(GO) test -tags root -c -o $(CURDIR)/.build/esper-key.test .
	$(AS_ROOT) .build/keyfile.test
	cd pkg/cmd/esper-key && $(AS_ROOT) $(CURDIR)/.build/esper-key.test -test.run '^TestRoot'

sqlite-kills: workspace ## kill 500 programs that save to SQLite, with readers beside them (half a minute)
	cd pkg/cmd/esper-key && ESPER_TEST_KILLS=500 $(GO) test -count=1 -v -run '^TestSQLiteKilled$$' .

# The API server takes minutes to build, once: Go's cache keeps it. Its version is that of the module.
KUBE_APISERVER := pkg/stores/.build/kube-apiserver
KUBE_VERSION    = $(shell awk '$$2 == "k8s.io/kubernetes" { print $$3 }' pkg/stores/apiserver/go.mod)
engines: workspace
	bash .github/install.sh engines
	cd pkg/stores/apiserver && $(GO) build -ldflags '-X k8s.io/component-base/version.gitVersion=$(KUBE_VERSION)' \
		-o $(CURDIR)/$(KUBE_APISERVER) k8s.io/kubernetes/cmd/kube-apiserver

stores: engines ## try the stores on PostgreSQL, MariaDB, SQLite and Kubernetes, which it installs, builds, starts and stops
	cd pkg/esper/renew/kubestore && $(GO) test -count=1 ./...
	cd pkg/stores && ESPER_KUBE_APISERVER=$(CURDIR)/$(KUBE_APISERVER) STORES_UPDATE=$(STORES_UPDATE) \
		$(GO) test -count=1 -parallel 32 $(TESTFLAGS) ./...

workspace: ## let kubestore and esper-key, which are released on their own, use this checkout
	bash .github/modules.sh workspace

esper-key: workspace ## build the command into bin/
	cd pkg/cmd/esper-key && CGO_ENABLED=0 $(GO) build -trimpath -o $(CURDIR)/bin/ .

esper-key-test: workspace ## test the command, its examples for operators, its runbook and how it is released (installs what is missing)
	bash .github/install.sh operators
	cd pkg/cmd/esper-key && $(GO) test -count=1 -parallel 12 $(TESTFLAGS) ./...
	cd pkg/cmd/esper-key && $(GO) test -count=1 -tags slow -run '^TestShip' ./...

reproducible: workspace ## build the command as a release does, again from an empty cache, and want the same bytes
	cd pkg/cmd/esper-key && ESPER_TEST_REBUILD=1 $(GO) test -count=1 -tags slow -run '^TestShip$$' .

packages-test: workspace ## install the deb in a fresh root, paste the runbook there as the service's user, run the container image (needs root)
	bash .github/install.sh operators
	cd pkg/cmd/esper-key && $(GO) test -count=1 -tags slow -run '^(TestPackage|TestContainer)$$' ./...

runbook-test: engines ## the same with a store in each engine (needs root)
	bash .github/install.sh operators
	cd pkg/stores && ESPER_KUBE_APISERVER=$(CURDIR)/$(KUBE_APISERVER) $(GO) test -count=1 -tags slow -run '^TestRunbook$$' .

nightly: RENEWALS = 200
nightly: STATES = 1000000
nightly: FUZZTIME = 3m
nightly: published reproducible explore mutations-all tokens machines sqlite-kills conformance-all fuzz ## what takes too long for each change
