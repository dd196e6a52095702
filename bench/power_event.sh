#!/bin/sh
# "25 % less within 30 s for 3 h", ten times in a loaded week.
set -eu
"$BENCH_BIN/power_event" "${POWER_SEEDS:-10}"
