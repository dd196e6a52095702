#!/bin/sh
# 111,549 jobs of Philly through the scheduler, on 200 nodes of 8.
set -eu
cd "$(dirname "$0")/.."
# shellcheck source=bench/lib.sh
. bench/lib.sh

trace=../shared/data/philly/philly_jobs.csv.gz
if [ ! -r "$trace" ]; then
    figure sim_philly "" s "" "" "" "the trace is not at hand: see docs/simulator.md"
    exit 0
fi
cat >"$bench_dir/fleet.yaml" <<'FLEET'
sites:
  - name: philly
    pools:
      - { name: gpu, nodes: 200, cpus: 64, memory: 512Gi, devices: 8, chip: v100-sxm2-32g }
FLEET
from=$(now_ns)
"$MAINS" sim --quiet --json --fleet "$bench_dir/fleet.yaml" --trace "$trace" >"$bench_dir/out.json"
to=$(now_ns)
figure sim_philly "$(awk -v a="$from" -v b="$to" 'BEGIN {printf "%.2f", (b - a) / 1e9}')" s "<5" "" "" \
    "$(jq -r '"\(.load.jobs) jobs, \(.results[0].passes) passes, mean wait \(.results[0].wait.all.mean_ms / 1000 | floor) s, one core"' "$bench_dir/out.json")"
