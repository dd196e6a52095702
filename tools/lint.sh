#!/bin/sh
# What can be enforced is: format, lengths, which folder may include which, calls we do not use.
set -eu
cd "$(dirname "$0")/.."
bad=0
fail() { bad=1; echo "lint: $*"; }

sources=$(git ls-files '*.c' '*.h')
# shellcheck disable=SC2086
if ! clang-format --dry-run --Werror $sources >build/format.log 2>&1; then
    fail "format (make format mends it):"; grep -E 'error:' build/format.log | cut -d: -f1 | sort | uniq -c | head -20
fi

for file in $sources; do
    lines=$(wc -l <"$file")
    [ "$lines" -le 1000 ] || fail "$file: $lines lines (1000 at most: name the second module)"
    awk -v f="$file" 'length($0) > 100 {print "lint: " f ":" NR ": longer than 100 columns"; bad = 1} END {exit bad}' "$file" || bad=1
    case $file in *.h) head -n 40 "$file" | grep -q '#pragma once' || fail "$file: no #pragma once" ;; esac
done

# A folder uses only folders below it (docs/architecture.md).
allowed() {
    case $1 in
    base) echo base ;;
    store) echo base store ;;
    model) echo base model ;;
    journal) echo base journal ;;
    net) echo base net ;;
    wire) echo base model net wire ;;
    sched) echo base model sched ;;
    grid) echo base model sched grid ;;
    sim) echo base model journal sched grid sim ;;
    agent) echo base store model net wire agent ;;
    controller) echo base store model journal net wire sched grid controller ;;
    cli) echo base store model journal net wire sched grid sim agent controller cli ;;
    esac
}
for folder in base store model journal net wire sched grid sim agent controller cli; do
    # cli starts the controller and the agent, and reads journals offline; it is the top.
    for used in $(grep -hoE '#include "[a-z]+/' "src/$folder"/*.[ch] 2>/dev/null | cut -d'"' -f2 | tr -d / | sort -u); do
        case " $(allowed "$folder") " in *" $used "*) ;; *) fail "src/$folder includes $used/" ;; esac
    done
done

if git grep -nE '\b(system|popen|strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|strtok|alloca)[[:space:]]*\(' -- 'src/*.[ch]'; then
    fail "calls we do not use (shells from strings, unbounded copies, unchecked parses)"
fi
# The core reads no clock, starts no thread, does no I/O.
if git grep -nE '\b(clock_gettime|time|getrandom|rand|pthread_create|fopen|open|read|write|printf|getenv)[[:space:]]*\(' -- 'src/sched/*.c' 'src/grid/*.c'; then
    fail "src/sched and src/grid are pure"
fi
# A function fits on a screen: 70 lines between its opening and closing brace.
for file in $(git ls-files 'src/*.c'); do
    awk -v f="$file" '/^\{/ {start = NR} /^\}/ {if (start && NR - start - 1 > 70) {print "lint: " f ":" start ": function of " NR - start - 1 " lines (70 at most)"; bad = 1} start = 0} END {exit bad}' "$file" || bad=1
done
# A line `! command` fails no test of bats: `refute command` does.
if git grep -nE '^[[:space:]]*! [a-z"$]' -- 'tests/e2e/*.bats' | grep -v ' || '; then
    fail "an assertion that cannot fail"
fi
# shellcheck disable=SC2046
shellcheck -S warning -e SC1007,SC2154 $(git ls-files "tools/*.sh" "bench/*.sh") .ci/run || fail "shellcheck"
[ "$bad" -eq 0 ] && echo "lint: clean"
exit "$bad"
