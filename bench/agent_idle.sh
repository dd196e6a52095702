#!/bin/sh
# CPU of controller and agent while 50 jobs sleep, over 20 s.
set -eu
. "$(dirname "$0")/lib.sh"
network_up --cpus 64
printf '{"name":"sleep","command":["sleep","600"],"resources":{"cpus":1,"memory":"8M"}}' >"$bench_dir/job.json"
"$BENCH_BIN/submit_bench" --url "$url" --token-file "$token_file" --clients 4 --jobs 50 --body "$bench_dir/job.json" >/dev/null
while [ "$(metric 'mains_jobs{state="running"}')" -lt 50 ]; do sleep 0.1; done
sleep 2

# CPU ticks of every process of the tree that is ours: parent, controller, agent, spawner, supervisors.
ticks() {
    for stat in /proc/[0-9]*/stat; do
        exe=$(readlink "${stat%stat}exe" 2>/dev/null || :)
        [ "$exe" = "$MAINS" ] || continue
        sed 's/.*) //' "$stat" 2>/dev/null | awk '{print $12 + $13}'
    done | awk '{s += $1} END {print s + 0}'
}
before=$(ticks)
sleep 20
after=$(ticks)
percent=$(awk -v t=$((after - before)) -v hz="$(getconf CLK_TCK)" 'BEGIN {printf "%.2f", t / hz / 20 * 100}')
figure agent_idle "$percent" "% of a core" "<1" "" "" "parent, controller, agent, spawner and 50 supervisors, 20 s"
