#!/bin/sh
# Placements in the core: 100,000 devices at 60 sites, 20 kinds of chip, 100,000 jobs queued.
set -eu
"$BENCH_BIN/place_bench"
