# The tick ingester. `make help` lists the targets. Needs make, Node >= 20 with npm, and nothing else:
# Node 24 itself comes through npm.
.DEFAULT_GOAL := help
.PHONY: help build-ingester test test-ingester test-quick coverage lint format docs hooks demo bench prove-ingest prove-integrity prove-bus prove-bars prove-signals prove-api prove-replay storm kafka kafka-jars clean

# Everything runs on the Node of node_modules; what make is given in PATH only has to run npm.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
SOURCES := $(shell find src proto -type f 2>/dev/null)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# npm ci once for each lockfile; node@24 arrives by its install script, so it is looked at.
node_modules/.installed: package.json package-lock.json
	npm ci --no-audit --no-fund
	@node_modules/.bin/node --version | grep -q '^v2[4-9]' || \
	  { echo "node_modules/.bin/node is not Node 24 or later: were install scripts switched off (ignore-scripts)?" >&2; exit 1; }
	@touch $@

# typescript-7 compiles and checks in seconds what typescript needs minutes for; dependency-cruiser alone still needs the older one.
dist/.built: node_modules/.installed tsconfig.json $(SOURCES)
	rm -rf dist
	node node_modules/typescript-7/bin/tsc -p tsconfig.json
	@touch $@

build-ingester: dist/.built ## compile to dist/, which bin/tick-ingester, bin/mdp and bin/sequencer-sim run

test: dist/.built ## every test, some 20 minutes; as root on Debian it installs what they need
	sh scripts/test-machine.sh
	node scripts/test.ts --all

test-ingester: dist/.built ## the tests of the ingester alone
	node scripts/test.ts 'test/unit/{core,ingest,store,sim}/**/*.test.ts' 'test/integration/{ingest,store,sim}/**/*.test.ts' test/integration/run/cli/chain test/fault/chain

test-quick: dist/.built ## the tests that need no server, less than a minute
	node scripts/test.ts test/unit test/ops test/oracle

coverage: dist/.built ## the unit tests with coverage of the main thread, in coverage/
	tap run --allow-incomplete-coverage --show-full-coverage --coverage-report=text --coverage-report=html $$(find test/unit -name '*.test.ts')

lint: node_modules/.installed ## types, linter, import arrows, unused code, format, shell scripts
	node node_modules/typescript-7/bin/tsc -p tsconfig.check.json
	oxlint --type-aware --deny-warnings
	depcruise src --config .dependency-cruiser.mjs
	knip
	prettier --check .
	sh scripts/shellcheck.sh

format: node_modules/.installed ## prettier over everything
	prettier --write .

docs: node_modules/.installed ## the tables of docs/configuration.md from the program's own
	node scripts/configuration-doc.ts

hooks: ## before each push of yours: make lint and make test-quick
	git config core.hooksPath .githooks

demo: dist/.built ## chain, bus, market ticks and embedded Postgres together; Ctrl-C or DEMO_SECONDS=20 ends it
	@exec node dist/run/demo/demo.js

bench: dist/.built ## speed against psql \copy, CPU by thread, latency, memory (see bench/README.md)
	node bench/ingest.ts

prove-ingest: dist/.built ## the acceptance run of the ingester at full size (takes a while)
	node test/prove/ingest.ts

prove-integrity: dist/.built ## the acceptance run of chain integrity at full size (an hour and more)
	STORM_SECONDS=$(SECONDS) node test/prove/integrity.ts

prove-bus: dist/.built ## the acceptance run of bus and market ticks at full size, on redis, kafka and postgres
	node test/prove/bus.ts

prove-bars: dist/.built ## the acceptance run of the micro-batcher at full size (an hour and more); needs what make test installs
	node test/prove/bars.ts

prove-signals: dist/.built ## the acceptance run of features and signals at full size; needs what make test installs
	node test/prove/signals.ts

prove-api: dist/.built ## the acceptance run of the API at full size; needs what make test installs
	node test/prove/api.ts

prove-replay: dist/.built ## the acceptance run of replays and exports at full size; needs what make test installs
	node test/prove/replay.ts
	node test/prove/export.ts

SECONDS ?= 600
storm: dist/.built ## random faults for SECONDS=600, of everything at once; SEED=… repeats the choices
	ONLY=storm STORM_SECONDS=$(SECONDS) node test/prove/integrity.ts

# mvn takes them from the repositories that it is set up for (Maven Central).
test/kafka/jars/.fetched: test/kafka/pom.xml
	rm -rf test/kafka/jars
	mvn -q -B -ntp -f test/kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=jars
	@touch $@

kafka-jars: test/kafka/jars/.fetched

kafka: dist/.built test/kafka/jars/.fetched ## one Kafka node on 127.0.0.1:9092 (or KAFKA_PORT) with its data in .kafka/; Ctrl-C ends it
	@exec node scripts/kafka.ts

clean: ## what make built
	rm -rf dist coverage .tap node_modules/.installed
