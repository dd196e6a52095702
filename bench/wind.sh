#!/bin/sh
# The share of a site's power that its own wind covers: docs/quality/wind.md.
set -eu
. "$(dirname "$0")/lib.sh"
data=$(dirname "$0")/../../shared/data/grid
name=wind_solar_gb_fr_2020_30min.csv
[ -e "$data/$name.gz" ] || { echo "wind: skipped: no $data/$name.gz" >&2; exit 0; }
gzip -dc "$data/$name.gz" >"$bench_dir/$name"
"$BENCH_BIN/wind" "$bench_dir"
