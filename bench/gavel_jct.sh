#!/bin/sh
# Mean completion time on the public workloads of Gavel (OSDI'20): docs/quality/gavel.md.
set -eu
cd "$(dirname "$0")/.."
"$BENCH_BIN/gavel" jct "${GAVEL_DATA:-../shared/data/gavel}" "${GAVEL_SEEDS:-3}"
