#!/bin/sh
# Run every test: end to end (bats), unit, simulation and fuzz corpora (Meson's list), one more
# beside each other than there are cores (most wait more than they compute; TEST_JOBS=1: one), the long ones first.
# The last line is `N passed, N failed[, N skipped]`; the exit code tells the same.
#   tools/test.sh [unit|sim|fuzz|e2e ...]      (default: all)
set -eu
cd "$(dirname "$0")/.."
build=${MAINS_BUILD:-build/release}
suites=${*:-unit sim fuzz e2e}
logs=$build/test-logs
rm -rf "$logs"
mkdir -p "$logs"

# NAME SECONDS COMMAND of each Meson test of these suites, one a line; those of priority (they take longest) first.
list_programs() {
    meson introspect --tests "$build" | SUITES=$suites python3 -c '
import json, os, sys
for t in sorted(json.load(sys.stdin), key=lambda t: -t["priority"]):
    env = ["env"] + [k + "=" + v for k, v in t["env"].items()] if t["env"] else []
    if t["suite"][0].split(":")[-1] in os.environ["SUITES"].split():
        print(t["name"], os.environ.get("TEST_SECONDS", 600), *env, *t["cmd"])'
}
list_files() {
    for name in sim kill partition devices owner slurm lease $(basename -s .bats tests/e2e/*.bats); do
        echo "e2e-$name ${TEST_SECONDS:-900} bats --tap tests/e2e/$name.bats"
    done | awk '!seen[$1]++'
}

: >"$logs/list"
case " $suites " in *" e2e "*)
    MAINS=$(realpath "$build/src/cli/mains")
    export MAINS
    list_files >"$logs/list" ;;
esac
list_programs >>"$logs/list"
xargs -r -P "${TEST_JOBS:-$(($(nproc) + 1))}" -L 1 tools/test_one.sh "$logs" <"$logs/list" || :

# A program of which nothing is known (its runner was killed) is a failure.
cat /dev/null "$logs"/*.count | awk -v programs="$(wc -l <"$logs/list")" '
    {passed += $1; failed += $2; skipped += $3}
    END {
        failed += programs - NR
        printf "%d passed, %d failed%s\n", passed, failed, skipped ? ", " skipped " skipped" : ""
        exit failed > 0 || programs == 0
    }'
