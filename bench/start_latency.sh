#!/bin/sh
# Submit to the first instruction of the job on an idle network, p50 and p99; beside sbatch.
set -eu
. "$(dirname "$0")/lib.sh"

peer= p50=
if slurm_up; then
    # The job prints when it began; the submitter knows when it asked.
    printf '#!/bin/sh\ndate +%%s%%N\n' >"$bench_dir/stamp.sh"
    lat=
    for i in $(seq 15); do
        start=$(now_ns)
        sbatch -Q -o "$bench_dir/stamp.$i" "$bench_dir/stamp.sh" >/dev/null
        while ! [ -s "$bench_dir/stamp.$i" ]; do sleep 0.02; done
        lat="$lat $((($(cat "$bench_dir/stamp.$i") - start) / 1000))"
    done
    # shellcheck disable=SC2086
    p50=$(awk -v us="$(median $lat)" 'BEGIN {printf "%.1f", us / 1000}')
    peer="sbatch, p50"
    "$shared_slurm/stop.sh" "$slurm_dir" >&2 2>/dev/null || :
fi
network_up --allow-no-sandbox
for kind in sandboxed plain; do
    if [ "$kind" = plain ]; then set -- --no-sandbox; else set --; fi
    one=$("$BENCH_BIN/latency_bench" --url "$url" --token-file "$token_file" --jobs 200 "$@")
    figure "start_latency_${kind}_p50" "$(echo "$one" | jq .p50_ms)" ms "<10" "$peer" "$p50" "200 jobs, one at a time"
    figure "start_latency_${kind}_p99" "$(echo "$one" | jq .p99_ms)" ms "<50" "" "" ""
done
