#!/bin/sh
# Durable submits a second over HTTP, one job a request, beside sbatch (8 in parallel, held).
set -eu
. "$(dirname "$0")/lib.sh"

sbatch_rate() { # 8 clients, 50 held jobs each
    printf '#!/bin/sh\ntrue\n' >"$bench_dir/true.sh"
    start=$(now_ns)
    for client in 1 2 3 4 5 6 7 8; do
        (for _ in $(seq 50); do sbatch -Q --hold -o /dev/null "$bench_dir/true.sh" >/dev/null; done) &
        : "$client"
    done
    wait
    end=$(now_ns)
    rate 400 "$start" "$end"
    scancel --state=PENDING -u "$(id -un)" >/dev/null 2>&1 || :
}

peer= peer_rate=
if slurm_up; then
    sbatch_rate >/dev/null
    peer_rate=$(median "$(sbatch_rate)" "$(sbatch_rate)" "$(sbatch_rate)")
    peer="sbatch --hold, 8 clients"
fi
printf '{"name":"bench","command":["true"],"begin":"2099-01-01T00:00:00Z","resources":{"cpus":1,"memory":"100M"}}' >"$bench_dir/job.json"
for clients in 8 64; do
    rates=
    for _ in 1 2 3; do
        network_up
        one=$("$BENCH_BIN/submit_bench" --url "$url" --token-file "$token_file" --clients "$clients" \
            --jobs 40000 --body "$bench_dir/job.json")
        rates="$rates $(echo "$one" | jq -r .rate)"
        network_down
        rm -rf "$state"
    done
    # shellcheck disable=SC2086
    value=$(median $rates)
    figure "submit_${clients}_clients" "$value" jobs/s ">=20x" "$peer" "$peer_rate" "runs:$rates; 40,000 held jobs each"
    [ "$clients" -ne 64 ] || figure "submit_64_clients_absolute" "$value" jobs/s ">=15000" "" "" ""
done
