#!/bin/sh
# A site is cut off (its link passes nothing, connections stay): how long until its job runs elsewhere,
# from the checkpoint that the network holds. Lease 10 s, `on_unreachable: move`; the job says itself
# when it goes on.
set -eu
. "$(dirname "$0")/lib.sh"
network_up --listen 127.0.0.2:0 --tls --site home --sandbox-off --lease 10s
echo open >"$bench_dir/link"
python3 "$(dirname "$0")/../tests/e2e/cases/link.py" "${url#https://}" "$bench_dir/link" "$bench_dir/port" >&2 &
link=$!
while ! [ -s "$bench_dir/port" ]; do sleep 0.05; done
line=$("$MAINS" site token lab --address "127.0.0.1:$(cat "$bench_dir/port")" --state "$state")
"$MAINS" join "${line#mains join }" --state "$bench_dir/lab" --detach --sandbox-off >&2
# Through the link only.
"$MAINS" down --state "$bench_dir/lab" --quiet
jq '.urls |= map(select(endswith(":'"$(cat "$bench_dir/port")"'")))' "$bench_dir/lab/joined.json" >"$bench_dir/joined"
cat "$bench_dir/joined" >"$bench_dir/lab/joined.json"
"$MAINS" join --state "$bench_dir/lab" --detach --sandbox-off >&2
leave() {
    "$MAINS" down --state "$bench_dir/lab" --quiet || :
    kill "$link" 2>/dev/null || :
    bench_leave
}
trap leave EXIT

show() { "$MAINS" show "$1" --state "$state" --json | jq -r "$2"; }
cat >"$bench_dir/job.yaml" <<JOB
name: long
checkpoint: {path: saved}
on_unreachable: move
run: |
  echo "\$(date +%s%N) \$MAINS_SITE \${MAINS_RESTORED:-0}" >>$bench_dir/begun
  mkdir -p saved
  head -c 1000000 /dev/urandom >saved/new && mv saved/new saved/state
  sleep 600
JOB
times=
for _ in 1 2 3 4 5; do
    rm -f "$bench_dir/begun"
    echo open >"$bench_dir/link"
    until [ "$("$MAINS" site show lab --state "$state" --json | jq .connected)" = true ]; do sleep 0.2; done
    "$MAINS" site drain home --state "$state" >/dev/null
    job=$("$MAINS" submit --quiet --state "$state" "$bench_dir/job.yaml")
    until [ -n "$(show "$job" '.checkpoint.manifest // ""')" ]; do sleep 0.2; done
    "$MAINS" site resume home --state "$state" >/dev/null
    sleep 2
    echo down >"$bench_dir/link"
    cut=$(now_ns)
    until grep -q ' home 1$' "$bench_dir/begun"; do sleep 0.05; done
    times="$times $(awk -v a="$cut" '/ home / {printf "%.2f", ($1 - a) / 1e9}' "$bench_dir/begun")"
    "$MAINS" cancel --quiet --state "$state" "$job"
    "$MAINS" wait --quiet --state "$state" "$job" >/dev/null 2>&1 || :
done
# shellcheck disable=SC2086
figure failover "$(median $times)" s "<15" "" "" "lease 10 s, a checkpoint of 1 MB in the network; runs:$times; load $(cut -d' ' -f1 /proc/loadavg)"
