#!/bin/sh
# Owners with guaranteed shares in one network, beside each alone.
set -eu
cd "$(dirname "$0")/.."
data=../shared/data
if [ ! -r "$data/philly/philly_vc_subset.csv.gz" ] || [ ! -r "$data/helios/venus_jobs.csv.gz" ]; then
    echo "owners: the traces are not at hand: see docs/quality/owners.md" >&2
    exit 0
fi
folder=$(mktemp -d "${TMPDIR:-/var/tmp}/mains-bench.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
gunzip -c "$data/philly/philly_vc_subset.csv.gz" >"$folder/philly.csv"
gunzip -c "$data/helios/venus_jobs.csv.gz" >"$folder/venus.csv"
"$BENCH_BIN/owners" "$folder/philly.csv" "$folder/venus.csv" "$data/helios/venus_2vc_sept.csv" \
    "${OWNERS_SEEDS:-3}"
