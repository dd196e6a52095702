#!/bin/sh
# Resident memory of the controller with 100,000 queued jobs: alike, and each with its own spec.
set -eu
. "$(dirname "$0")/lib.sh"
printf '{"name":"bench","command":["true"],"begin":"2099-01-01T00:00:00Z","resources":{"cpus":1,"memory":"100M"}}' >"$bench_dir/job.json"
for kind in alike distinct; do
    network_up
    if [ "$kind" = distinct ]; then set -- --vary; else set --; fi
    "$BENCH_BIN/submit_bench" --url "$url" --token-file "$token_file" --clients 64 --jobs 100000 \
        --body "$bench_dir/job.json" "$@" >/dev/null
    pid=$(jq -r .pid "$state/endpoint.json")
    figure "controller_memory_$kind" "$(awk '/^VmRSS/ {print $2 / 1024}' "/proc/$pid/status")" MiB "<200" "" "" "100,000 queued jobs; peak $(awk '/^VmHWM/ {print $2 / 1024}' "/proc/$pid/status") MiB"
    network_down
    rm -rf "$state"
done
