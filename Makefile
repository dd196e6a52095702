# mains: two commands for everyone: `make demo` and `make test`. The rest wraps Meson and Ninja.
BUILD ?= build/release
export MAINS_BUILD := $(BUILD)

.PHONY: all deps demo test check unit e2e asan fuzz soak lint format bench fresh install clean docs
all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) $(if $(V),-v,--quiet)

deps:
	@tools/deps.sh

$(BUILD)/build.ninja: | deps
	@meson setup $(BUILD) --buildtype=release >$(BUILD).log 2>&1 || { mkdir -p build; cat $(BUILD).log; exit 1; }

demo: deps
	@$(MAKE) --no-print-directory all
	@tools/demo.sh

test: deps
	@tools/test.sh
