#!/bin/sh
# Jobs a second through one controller onto 60 sites with 100,000 devices, each from its submit until
# its site says that it runs. Sites are made up (executor sim), all else is real: a process, a token
# and a TLS session each.
set -eu
. "$(dirname "$0")/lib.sh"
sites=${SITES:-60} jobs=${JOBS:-6000}
network_up --listen 127.0.0.2:0 --tls
mkdir "$bench_dir/fleet"
fleet_join "$state" "$bench_dir/fleet" "$sites" 209 8 "run: 1h"
while [ "$(metric mains_site_sessions)" -le "$sites" ]; do sleep 0.2; done
# One body a site, and one a kind of chip that leaves the site to the scheduler.
for i in $(seq "$sites"); do
    printf '{"name":"to-s%s","command":["true"],"where":{"sites":{"allow":["s%s"]}},"resources":{"cpus":1,"devices":1}}\n' "$i" "$i"
    printf '{"name":"free","command":["true"],"resources":{"cpus":1,"devices":1,"chips":["%s"]}}\n' "$(fleet_chip "$i")"
done >"$bench_dir/bodies"
running= submits= p99=
for _ in 1 2 3; do
    one=$("$BENCH_BIN/federated_bench" --url "$url" --pin "$pin" --token-file "$token_file" --clients 16 \
        --jobs "$jobs" --bodies "$bench_dir/bodies")
    running="$running $(echo "$one" | jq .running_rate)"
    submits="$submits $(echo "$one" | jq .submit_rate)"
    p99="$p99 $(echo "$one" | jq .p99_ms)"
done
# shellcheck disable=SC2086
figure federated_submit "$(median $running)" jobs/s ">=500" "" "" "$sites sites, 100,320 devices, $jobs jobs each run, submit to running; runs:$running; load $(cut -d' ' -f1 /proc/loadavg); Slurm federation advises < 1/s, MultiKueue was seen at 1.3/s"
# shellcheck disable=SC2086
figure federated_submit_answers "$(median $submits)" jobs/s "" "" "" "durable answers over TLS, 16 clients; p99 of one, ms:$p99"
