#!/bin/sh
# Run one program that speaks TAP; print a line on how it went, or what it said where it failed.
#   tools/test_one.sh FOLDER NAME SECONDS COMMAND...
# FOLDER/NAME.log keeps its output, FOLDER/NAME.count `PASSED FAILED SKIPPED`; a crash counts as a failure of its own.
set -eu
log=$1/$2.log count=$1/$2.count name=$2 seconds=$3
shift 3
code=0 began=$(date +%s)
timeout "$seconds" "$@" </dev/null >"$log" 2>&1 || code=$?
took="$(($(date +%s) - began)) s"
ok=$(grep -c '^ok ' "$log" || :)
skip=$(grep -ciE '^ok .*# skip' "$log" || :)
bad=$(grep -c '^not ok ' "$log" || :)
if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
if [ "$code" -eq 0 ] && [ $((ok + bad)) -eq 0 ]; then bad=1; fi
echo "$((ok - skip)) $bad $skip" >"$count"
# One write: others print beside us.
if [ "$bad" -gt 0 ]; then
    said=$(grep -vE '^ok ' "$log" | tail -n 40 | sed 's/^/    /' || :)
    printf 'FAIL %s (exit %d, %s)\n%s\n' "$name" "$code" "$took" "$said"
elif [ "$skip" -gt 0 ]; then
    said=$(grep -iE '^ok .*# skip' "$log" | sed 's/^/    /')
    printf 'ok   %s: %d passed, %d skipped (%s)\n%s\n' "$name" $((ok - skip)) "$skip" "$took" "$said"
else
    printf 'ok   %s: %d passed (%s)\n' "$name" "$ok" "$took"
fi
