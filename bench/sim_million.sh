#!/bin/sh
# 1,000,000 made-up jobs on 60 sites, 20 kinds of chip and 100,000 devices.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
. bench/lib.sh

jobs=${SIM_JOBS:-1000000}
# The fleet at its own pace: as many jobs as keep half of it busy; gangs up to the largest pool.
for offered in ${SIM_OFFERED:-0.5}; do
    from=$(now_ns)
    timeout "${SIM_LIMIT_S:-600}" /usr/bin/time -f %M -o "$bench_dir/rss" "$MAINS" sim --quiet --json \
        --fleet demo-100k --load seren --jobs "$jobs" --offered "$offered" >"$bench_dir/out.json" || {
        figure "sim_million" "${SIM_LIMIT_S:-600}" s "<60" "" "" "offered $offered: stopped at the limit"
        continue
    }
    to=$(now_ns)
    note=$(jq -r '"offered '"$offered"': \(.load.jobs) jobs, \(.results[0].passes) passes, \(.results[0].steps) steps, mean wait \(.results[0].wait.all.mean_ms) ms, one core"' "$bench_dir/out.json")
    figure sim_million "$(awk -v a="$from" -v b="$to" 'BEGIN {printf "%.1f", (b - a) / 1e9}')" s "<60" "" "" "$note"
    figure sim_million_memory "$(awk '{printf "%.0f", $1 / 1024}' "$bench_dir/rss")" MiB "<2048" "" "" "$note"
done
