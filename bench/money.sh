#!/bin/sh
# Money saved by flexible work that waits, or moves and pays for its data: docs/quality/money.md.
set -eu
. "$(dirname "$0")/lib.sh"
data=$(dirname "$0")/../../shared/data/grid
for year in 2020 2021 2022 2024; do
    [ -e "$data/price_$year.csv.gz" ] || { echo "money: skipped: no $data/price_$year.csv.gz" >&2; exit 0; }
    gzip -dc "$data/price_$year.csv.gz" >"$bench_dir/price_$year.csv"
done
"$BENCH_BIN/money" "$bench_dir" "$@"
