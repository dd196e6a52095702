#!/bin/sh
# Makespan of a batch on the public workloads of Gavel (OSDI'20): docs/quality/gavel.md.
set -eu
cd "$(dirname "$0")/.."
"$BENCH_BIN/gavel" makespan "${GAVEL_DATA:-../shared/data/gavel}" "${GAVEL_SEEDS:-3}"
