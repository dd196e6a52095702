#!/bin/sh
# The same placements on 10,000, 100,000 and 1,000,000 devices: what ten times the fleet costs.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
. bench/lib.sh

before=
for devices in 10000 100000 1000000; do
    "$BENCH_BIN/place_bench" "$devices" 100000 "${PLACE_ROUNDS:-1000}" >"$bench_dir/out"
    rate=$(jq -r 'select(.name == "place").value' "$bench_dir/out")
    p99=$(jq -r 'select(.name == "place_pass_p99").value' "$bench_dir/out")
    note=$(jq -r 'select(.name == "place").note' "$bench_dir/out")
    figure "place_$devices" "$rate" 1/s "" "" "" "$note; p99 of a pass $p99 ms"
    if [ -n "$before" ]; then
        figure place_scaling "$(awk -v a="$before" -v b="$rate" 'BEGIN {printf "%.2f", a / b}')" \
            times "<2" "" "" "cost of a placement on $devices devices beside a tenth of them"
    fi
    before=$rate
done
