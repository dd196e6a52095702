#!/bin/sh
# How long gangs of 8 to 2,048 cards wait on supernodes, with and without moves.
set -eu
"$BENCH_BIN/supernode" "${SUPERNODE_SEEDS:-3}"
