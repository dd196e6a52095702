#!/bin/sh
# Run libFuzzer targets over their kept corpora: tools/fuzz.sh BUILD SECONDS [NAME]
# New inputs go to build/, crashes are printed and kept beside them.
set -eu
cd "$(dirname "$0")/.."
build=$1 seconds=$2 only=${3:-}
failed=0 passed=0
for program in "$build"/tests/fuzz/fuzz_*; do
    case $program in *.p) continue ;; esac
    [ -x "$program" ] || continue
    name=$(basename "$program" | sed 's/^fuzz_//')
    if [ -n "$only" ] && [ "$only" != "$name" ]; then continue; fi
    found=$build/found/$name
    mkdir -p "$found"
    if "$program" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=4096 \
        -artifact_prefix="$found/crash-" -print_final_stats=0 "$found" "tests/fuzz/corpus/$name" \
        >"$found.log" 2>&1; then
        passed=$((passed + 1))
        echo "ok   $name: $(grep -cE 'NEW|REDUCE' "$found.log" || :) new inputs, $(grep -oE 'Done [0-9]+ runs' "$found.log" || echo "")"
    else
        failed=$((failed + 1))
        echo "FAIL $name"
        tail -n 30 "$found.log"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
