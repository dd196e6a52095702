#!/bin/sh
# clang-tidy and gcc -fanalyzer over src/. A finding that is wrong is explained where it stands
# (NOLINT with a reason, or a pragma with one); anything else fails.
set -eu
cd "$(dirname "$0")/.."
bad=0
make --no-print-directory build BUILD=build/analyze \
    MESON_OPTIONS='--buildtype=debugoptimized -Dc_args=-fanalyzer' >build/analyzer.log 2>&1 || bad=1
if grep -qE 'Wanalyzer|error:' build/analyzer.log; then
    grep -E 'Wanalyzer|error:' build/analyzer.log | sort -u | head -40
    bad=1
fi
[ "$bad" -eq 0 ] && echo "gcc -fanalyzer: clean"
# shellcheck disable=SC2046
clang-tidy -p build/analyze --quiet $(git ls-files 'src/*.c') >build/tidy.log 2>/dev/null || :
if grep -qE 'warning:|error:' build/tidy.log; then
    grep -E 'warning:|error:' build/tidy.log | sort -u | head -60
    bad=1
else
    echo "clang-tidy: clean"
fi
exit "$bad"
