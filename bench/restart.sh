#!/bin/sh
# kill -9 with 100,000 queued jobs, start, first correct answer; and the memory they take.
set -eu
. "$(dirname "$0")/lib.sh"
printf '{"name":"bench","command":["true"],"begin":"2099-01-01T00:00:00Z","resources":{"cpus":1,"memory":"100M"}}' >"$bench_dir/job.json"
network_up
"$BENCH_BIN/submit_bench" --url "$url" --token-file "$token_file" --clients 64 --jobs 100000 \
    --body "$bench_dir/job.json" --vary >/dev/null
pid=$(jq -r .pid "$state/endpoint.json")
rss=$(awk '/^VmRSS/ {print $2 / 1024}' "/proc/$pid/status")
times=
for _ in 1 2 3 4 5; do
    # The whole tree at once, so that nothing restarts it but us.
    kill -9 "$(cat "$state/lock")" "$pid" 2>/dev/null || :
    while kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
    start=$(now_ns)
    "$MAINS" up --detach --state "$state" --listen 127.0.0.1:0 >&2 &
    up=$!
    while :; do
        url=$(jq -r .url "$state/endpoint.json" 2>/dev/null || :)
        count=$(metric mains_jobs 2>/dev/null || echo 0)
        [ "${count:-0}" -ge 100000 ] && break
        sleep 0.01
    done
    end=$(now_ns)
    wait "$up"
    times="$times $(awk -v a="$start" -v b="$end" 'BEGIN {printf "%.3f", (b - a) / 1e9}')"
    pid=$(jq -r .pid "$state/endpoint.json")
done
after=$(awk '/^VmRSS/ {print $2 / 1024}' "/proc/$pid/status")
# shellcheck disable=SC2086
figure restart "$(median $times)" s "<2" "" "" "100,000 queued jobs, each a spec of its own; runs:$times"
figure restart_memory "$after" MiB "<200" "" "" "resident after that restart; $rss MiB before it"
