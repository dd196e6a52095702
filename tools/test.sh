#!/bin/sh
# Build and run every test: unit, simulation and fuzz corpora (TAP from Meson's list), then end to
# end (bats). The last line is `N passed, N failed[, N skipped]`; the exit code tells the same.
#   tools/test.sh [unit|sim|fuzz|e2e ...]      (default: all)
set -eu
cd "$(dirname "$0")/.."
build=${MAINS_BUILD:-build/release}
suites=${*:-unit sim fuzz e2e}
logs=$build/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0

# tally NAME LOG EXIT: count the TAP lines of one program; a crash counts as a failure of its own.
tally() {
    ok=$(grep -c '^ok ' "$2" || :)
    skip=$(grep -ciE '^ok .*# skip' "$2" || :)
    bad=$(grep -c '^not ok ' "$2" || :)
    if [ "$3" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ "$3" -eq 0 ] && [ $((ok + bad)) -eq 0 ]; then bad=1; fi
    passed=$((passed + ok - skip)) failed=$((failed + bad)) skipped=$((skipped + skip))
    if [ "$bad" -gt 0 ]; then
        echo "FAIL $1 (exit $3)"
        grep -vE '^ok ' "$2" | tail -n 40 | sed 's/^/    /'
    else
        echo "ok   $1: $((ok - skip)) passed$([ "$skip" -eq 0 ] || echo ", $skip skipped")"
        grep -iE '^ok .*# skip' "$2" | sed 's/^/    /' || :
    fi
}

# name, suite and command of each Meson test, tab-separated.
list_tests() {
    meson introspect --tests "$build" | python3 -c '
import json, sys
for t in json.load(sys.stdin):
    env = ["env"] + [k + "=" + v for k, v in t["env"].items()] if t["env"] else []
    print("\t".join([t["name"], t["suite"][0].split(":")[-1], " ".join(env + t["cmd"])]))'
}

list_tests >"$logs/list"
tab=$(printf '\t')
while IFS=$tab read -r name suite command; do
    case " $suites " in *" $suite "*) ;; *) continue ;; esac
    code=0
    # shellcheck disable=SC2086
    timeout "${TEST_SECONDS:-600}" $command </dev/null >"$logs/$name.log" 2>&1 || code=$?
    tally "$name" "$logs/$name.log" "$code"
done <"$logs/list"

case " $suites " in *" e2e "*)
    MAINS=$(realpath "$build/src/cli/mains")
    export MAINS
    for file in tests/e2e/*.bats; do
        [ -e "$file" ] || continue
        name=$(basename "$file" .bats)
        code=0
        timeout "${TEST_SECONDS:-900}" bats --tap "$file" </dev/null >"$logs/e2e-$name.log" 2>&1 || code=$?
        tally "e2e $name" "$logs/e2e-$name.log" "$code"
    done ;;
esac

if [ "$skipped" -gt 0 ]; then echo "$passed passed, $failed failed, $skipped skipped"
else echo "$passed passed, $failed failed"; fi
[ "$failed" -eq 0 ]
