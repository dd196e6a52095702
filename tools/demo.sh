#!/bin/sh
# A network on this machine, a molecular-dynamics job and a sweep of it, what came out and what it
# took. Starts all of it, and stops it on every way out.
set -eu

cd "$(dirname "$0")/.."
build=${MAINS_BUILD:-build/release}
mains=$build/src/cli/mains
out=build/demo

[ -x "$mains" ] || { echo "demo: $mains is not built: run make" >&2; exit 1; }
for need in lmp mpirun; do
    command -v "$need" >/dev/null || { echo "demo: $need is missing: run make deps" >&2; exit 1; }
done

mkdir -p "$out"
MAINS_STATE=$(mktemp -d "${TMPDIR:-/tmp}/mains-demo.XXXXXX")
export MAINS_STATE
unset MAINS_URL MAINS_TOKEN MAINS_TOKEN_FILE || true

finish() {
    code=$?
    trap - EXIT INT TERM HUP
    "$mains" down --quiet --cancel || "$mains" down --quiet || true
    if [ "$code" -ne 0 ] && [ -s "$MAINS_STATE/up.log" ]; then
        echo "demo: the end of the network's log:" >&2
        tail -n 20 "$MAINS_STATE/up.log" >&2
    fi
    rm -rf "$MAINS_STATE"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say() {
    printf '\n== %s\n' "$*"
}

begun=$(date +%s)
say "A network on this machine"
"$mains" up --detach --listen 127.0.0.1:0
"$mains" nodes

say "LAMMPS: 32,000 atoms melt, two MPI ranks, live"
"$mains" run examples/melt/melt.yaml

say "The same at eight temperatures: an array"
id=$("$mains" submit --quiet examples/melt/sweep.yaml)
"$mains" wait "$id" || {
    for i in 0 1 2 3 4 5 6 7; do
        "$mains" logs --stderr --tail 2K "$id.$i" >&2 || true
    done
    exit 1
}

say "Results"
for i in 0 1 2 3 4 5 6 7; do
    "$mains" outputs --print "$id.$i" result.csv | if [ "$i" = 0 ]; then cat; else tail -n +2; fi
done >"$out/sweep.csv"
awk -F, '{ printf "%14s %14s %14s %14s\n", $1, $2, $3, $4 }' "$out/sweep.csv"

say "What it took"
"$mains" usage --by job

say "Pressure of the liquid over its temperature (also $out/sweep.svg)"
"$mains" plot --x temperature --y pressure --sort --title "Lennard-Jones liquid, density 0.8442" \
    --svg "$out/sweep.svg" "$out/sweep.csv"
"$mains" plot --quiet --x temperature --y energy --sort \
    --title "Lennard-Jones liquid, density 0.8442" --svg "$out/energy.svg" "$out/sweep.csv"

say "Done in $(($(date +%s) - begun)) s; stopping the network"
