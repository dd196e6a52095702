#!/bin/sh
# `true` jobs a second, from the first submit to the last recorded end: sandboxed, and not; beside
# Slurm. The three take turns, so that what else the machine does meets them alike.
set -eu
. "$(dirname "$0")/lib.sh"

slurm_rate() {
    printf '#!/bin/sh\ntrue\n' >"$bench_dir/true.sh"
    count=300
    start=$(now_ns)
    for client in 1 2 3 4 5 6 7 8; do
        (for _ in $(seq $((count / 8))); do sbatch -Q -o /dev/null "$bench_dir/true.sh" >/dev/null; done) &
        : "$client"
    done
    wait
    while [ "$(squeue -h -t PENDING,RUNNING,COMPLETING | wc -l)" -gt 0 ]; do sleep 0.1; done
    rate $((count / 8 * 8)) "$start" "$(now_ns)"
}

mains_rate() { # mains_rate SANDBOX JOBS
    network_up --allow-no-sandbox --cpus 16 --memory 16G # as the Slurm beside it
    printf '{"name":"true","command":["/bin/true"],"sandbox":%s,"resources":{"cpus":1,"memory":"16M"}}' "$1" >"$bench_dir/job.json"
    start=$(now_ns)
    "$BENCH_BIN/submit_bench" --url "$url" --token-file "$token_file" --clients 8 --jobs "$2" \
        --body "$bench_dir/job.json" >/dev/null
    while [ "$(metric mains_jobs_ended_total)" -lt "$2" ]; do sleep 0.02; done
    end=$(now_ns)
    failed=$(metric 'mains_jobs_ended_total{state="failed"}')
    [ "${failed:-0}" -eq 0 ] || echo "run_true: $failed jobs failed" >&2
    rate "$2" "$start" "$end"
    network_down
    rm -rf "$state"
}

peer= slurm= boxed= plain=
if slurm_up; then peer="Slurm, true jobs"; fi
for _ in 1 2 3; do
    [ -z "$peer" ] || slurm="$slurm $(slurm_rate)"
    boxed="$boxed $(mains_rate true 1500)"
    plain="$plain $(mains_rate false 3000)"
done
peer_rate=
# shellcheck disable=SC2086
[ -z "$peer" ] || peer_rate=$(median $slurm)
# shellcheck disable=SC2086
figure run_true_sandboxed "$(median $boxed)" jobs/s ">=5x" "$peer" "$peer_rate" "runs:$boxed; Slurm:$slurm"
# shellcheck disable=SC2086
figure run_true_plain "$(median $plain)" jobs/s ">=12x" "$peer" "$peer_rate" "runs:$plain; Slurm:$slurm"
