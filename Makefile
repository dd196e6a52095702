# Two commands for everyone: `make demo` shows it at work, `make test` proves it. Each installs what
# it needs (Debian 12; root or sudo). The rest wraps Meson and Ninja.
BUILD ?= build/release
MESON_OPTIONS ?= --buildtype=release
export MAINS_BUILD := $(BUILD)
PREFIX ?= /usr/local
SHELL := /bin/sh
.SHELLFLAGS := -eu -c
QUIET := $(if $(V),,--quiet)

.PHONY: help all deps build demo test asan fuzz soak lint analyze format bench fresh install clean
all: build

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

deps: ## install the Debian packages the build needs
	@tools/deps.sh build

build: deps ## build/release/src/cli/mains
	@mkdir -p build
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD) $(MESON_OPTIONS) >$(BUILD).log 2>&1 || \
	  { cat $(BUILD).log; rm -rf $(BUILD); exit 1; }
	@ninja -C $(BUILD) $(QUIET)

demo: ## a real job on this machine, from nothing to a picture, in under 3 minutes
	@tools/deps.sh build demo
	@$(MAKE) --no-print-directory build
	@tools/demo.sh

test: ## every test; last line `N passed, N failed`
	@tools/deps.sh build test
	@$(MAKE) --no-print-directory build
	@tools/test.sh

asan: ## every test under AddressSanitizer and UndefinedBehaviorSanitizer
	@tools/deps.sh build test
	@$(MAKE) --no-print-directory build BUILD=build/asan \
	  MESON_OPTIONS='--buildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false'
	@ASAN_OPTIONS=abort_on_error=1:detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	  TEST_SECONDS=3600 MAINS_BUILD=build/asan tools/test.sh

fuzz: ## each libFuzzer target for FUZZ_SECONDS (60)
	@tools/deps.sh build fuzz
	@CC=clang $(MAKE) --no-print-directory build BUILD=build/fuzz MESON_OPTIONS='--buildtype=debugoptimized \
	  -Dfuzzers=true -Db_sanitize=address,undefined -Db_lundef=false'
	@tools/fuzz.sh build/fuzz $(or $(FUZZ_SECONDS),60) $(NAME)

soak: build ## the seeded simulation over SEEDS (100000), the kill test over KILLS (1000), the partition matrix over ROUNDS (20)
	@$(BUILD)/tests/sim/sim_grid --seeds 1-$(or $(SEEDS),100000)
	@MAINS=$(abspath $(BUILD))/src/cli/mains MAINS_KILLS=$(or $(KILLS),1000) bats --tap tests/e2e/kill.bats
	@MAINS=$(abspath $(BUILD))/src/cli/mains MAINS_ROUNDS=$(or $(ROUNDS),20) bats --tap tests/e2e/partition.bats

lint: ## format, lengths, borders, banned calls
	@tools/deps.sh build lint
	@tools/lint.sh

analyze: ## clang-tidy and gcc -fanalyzer
	@tools/deps.sh build lint
	@$(MAKE) --no-print-directory build && tools/analyze.sh $(FILES)

format: ## clang-format in place
	@tools/deps.sh lint
	@clang-format -i $$(git ls-files '*.c' '*.h')

bench: ## every figure, or one: make bench NAME=submit
	@tools/deps.sh build bench
	@$(MAKE) --no-print-directory build
	@tools/bench.sh $(NAME)

fresh: ## prove `make demo` and `make test` in a Debian 12 made by debootstrap (root)
	@tools/deps.sh fresh
	@tools/fresh.sh

install: build ## into PREFIX (/usr/local)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --quiet

clean:
	@rm -rf build
