#!/bin/sh
# What mains adds to Slurm: from asking to the first instruction of the job, through mains beside
# sbatch on the same idle cluster, one after the other in turn; and how often 1,000 queued jobs make
# it ask squeue. Needs root (to start a Slurm on loopback); mains itself runs as nobody.
set -eu
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" -eq 0 ] || { echo "slurm_overhead: needs root to start a Slurm" >&2; exit 1; }
chmod 755 "$bench_dir"
slurm_dir=$bench_dir/slurm
"$shared_slurm/start.sh" "$slurm_dir" 2 16 4 $((20000 + $$ % 1000 * 10)) >&2
export SLURM_CONF="$slurm_dir/slurm.conf"
net=$bench_dir/net
mkdir "$net" "$bench_dir/bin"
# Slurm's commands, counted.
for name in sbatch squeue scancel scontrol srun sinfo; do
    printf '#!/bin/sh\necho %s >>%s/asked\nexec %s "$@"\n' "$name" "$net" "$(command -v $name)" >"$bench_dir/bin/$name"
    chmod 755 "$bench_dir/bin/$name"
done
mkdir "$net/state"
printf '{"executor":"slurm","slurm":{"bin_dir":"%s/bin"}}' "$bench_dir" >"$net/state/site.json"
chown -R 65534:65534 "$net"
chmod 700 "$net/state"
state=$net/state

nobody() { (cd "$net" && HOME=$net setpriv --reuid 65534 --regid 65534 --clear-groups "$@"); }
mains() {
    command=$1
    shift
    nobody "$MAINS" "$command" --state "$state" "$@"
}
ms_until() { # ms_until FILE START_NS: the job has put the time into FILE
    while ! [ -s "$1" ]; do sleep 0.02; done
    echo $((($(cat "$1") - $2) / 1000000))
}
wait_empty() {
    while [ "$(squeue -h | wc -l)" -gt 0 ] || [ "$(mains ps --quiet | wc -l)" -gt 0 ]; do sleep 0.2; done
}

mains up --detach --listen 127.0.0.1:0 >&2
printf '#!/bin/sh\ndate +%%s%%N >"$1"\n' >"$net/stamp.sh"
chmod 755 "$net/stamp.sh"
direct= through=
for i in $(seq 0 21); do
    start=$(now_ns)
    nobody "$bench_dir/bin/sbatch" -Q -o /dev/null "$net/stamp.sh" "$net/direct$i" >/dev/null
    took=$(ms_until "$net/direct$i" "$start")
    [ "$i" -eq 0 ] || direct="$direct $took" # the first warms up
    wait_empty
    start=$(now_ns)
    mains submit --quiet -- "$net/stamp.sh" "$net/through$i" >/dev/null
    took=$(ms_until "$net/through$i" "$start")
    [ "$i" -eq 0 ] || through="$through $took"
    wait_empty
done
# shellcheck disable=SC2086
sbatch_ms=$(median $direct) mains_ms=$(median $through)
figure slurm_overhead $((mains_ms - sbatch_ms)) ms "<150" "" "" "median of 21, mains $mains_ms ms, sbatch $sbatch_ms ms; mains:$through; sbatch:$direct; load $(cut -d' ' -f1 /proc/loadavg)"

printf 'name: many\narray: 0-999\nrun: sleep 30\nresources: {cpus: 4}\n' >"$net/many.yaml"
chmod 644 "$net/many.yaml"
mains submit --quiet "$net/many.yaml" >/dev/null
while [ "$(squeue -h -t running | wc -l)" -lt 8 ]; do sleep 0.2; done
sleep 5
: >"$net/asked"
sleep 20
asked=$(grep -c squeue "$net/asked" || :)
figure slurm_overhead_squeue "$(awk -v n="$asked" 'BEGIN {printf "%.2f", n / 10}')" "squeue in 2 s" "<=1" "" "" "$(mains ps --quiet --limit 0 | wc -l) jobs live; $asked in 20 s; of all Slurm's commands $(wc -l <"$net/asked")"
mains down --cancel --quiet >&2 || :
