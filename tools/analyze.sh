#!/bin/sh
# clang-tidy and gcc -fanalyzer over src/, or over the files named, each file by itself: in one run
# over several clang-tidy 14 takes every va_list after the first file for unset. A finding that is
# wrong is explained where it stands, for either tool: `NOLINT(check): reason` on its line, or
# `NOLINTNEXTLINE(check): reason` on the line before. Anything else fails.
#
# Of leaks neither is asked: gcc 12 calls each thing one that is linked into a list or handed to a
# container and so out of its sight, and clang 14 does not know that CLEANUP frees at the end of a
# scope. Leaks are looked for by LeakSanitizer in `make asan`. A file on which gcc's analyzer does
# not end in ANALYZE_SECONDS (60) is named: its states grow without bound, which is a limit of
# gcc 12, not a finding.
set -eu
cd "$(dirname "$0")/.."

if [ "${1:-}" = --one ]; then # one file: its findings, one a line
    file=$2 code=0
    [ "$file" = src/base/err.c ] || ANALYZE_FLAGS="-include tools/analyze.h $ANALYZE_FLAGS"
    # shellcheck disable=SC2086
    found=$(timeout "${ANALYZE_SECONDS:-60}" gcc $ANALYZE_FLAGS -O1 -fanalyzer \
        -Wno-analyzer-malloc-leak -c "$file" -o /dev/null 2>&1) || code=$?
    [ "$code" -ne 124 ] || echo "gcc -fanalyzer did not end on $file"
    echo "$found" | grep -E '\[-Wanalyzer|error:' | sort -u | while IFS= read -r line; do
        where=$(echo "$line" | cut -d: -f1)
        at=$(echo "$line" | cut -d: -f2)
        check=$(echo "$line" | sed -n 's/.*\[\(-Wanalyzer[a-z-]*\)\]$/\1/p')
        if [ -n "$check" ] && { sed -n "${at}p" "$where" | grep -qF "NOLINT($check):" ||
            sed -n "$((at - 1))p" "$where" | grep -qF "NOLINTNEXTLINE($check):"; }; then
            continue
        fi
        echo "$line"
    done
    # shellcheck disable=SC2086
    clang-tidy --quiet "$file" -- $ANALYZE_FLAGS 2>/dev/null |
        grep -E 'warning:|error:' | grep -v 'warning: Potential leak of memory' | sort -u
    exit 0
fi

ANALYZE_FLAGS="-std=gnu17 -D_GNU_SOURCE -DMAINS_VERSION=__FILE__ -Isrc
    -Ibuild/release/src/controller -Ibuild/release/src/model
    $(pkg-config --cflags libuv libmicrohttpd libcurl jansson libfyaml hwloc sqlite3 gnutls nettle)"
export ANALYZE_FLAGS
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(git ls-files 'src/*.c')
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 "$0" --one >build/tidy.log
cat build/tidy.log
grep -vq '^gcc -fanalyzer did not end on' build/tidy.log && exit 1
echo "gcc -fanalyzer and clang-tidy: clean"
