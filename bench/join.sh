#!/bin/sh
# A bare machine to the first job on its site: what the two commands take, token and join, until a
# job that was asked for has run there. The site runs its jobs on this machine.
set -eu
. "$(dirname "$0")/lib.sh"
network_up --listen 127.0.0.2:0 --tls --site home
times=
for i in 1 2 3 4 5; do
    start=$(now_ns)
    line=$("$MAINS" site token "lab$i" --state "$state")
    # The line is what is pasted there: `mains join TOKEN`.
    "$MAINS" join "${line#mains join }" --state "$bench_dir/lab$i" --detach >&2
    "$MAINS" run --state "$state" --site "lab$i" -- true
    end=$(now_ns)
    times="$times $(awk -v a="$start" -v b="$end" 'BEGIN {printf "%.2f", (b - a) / 1e9}')"
    "$MAINS" down --state "$bench_dir/lab$i" --quiet >&2
done
# shellcheck disable=SC2086
figure join "$(median $times)" s "<60" "" "" "two commands, then a job; runs:$times; load $(cut -d' ' -f1 /proc/loadavg)"
