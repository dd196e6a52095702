#!/bin/sh
# Placement by expected fill on Alibaba's openb lists, beside FGD, BestFit and an upper bound.
set -eu
cd "$(dirname "$0")/.."
data=../shared/data/openb
if [ ! -r "$data/openb_node_list_gpu_node.csv" ]; then
    echo "openb_fill: the lists are not at hand: see docs/quality/openb_fill.md" >&2
    exit 0
fi
"$BENCH_BIN/openb_fill" "$data" "${OPENB_SEEDS:-10}" "${OPENB_PERCENT:-100}"
