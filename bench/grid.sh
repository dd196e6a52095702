#!/bin/sh
# What a step of the grid costs with 100,000 queued jobs, and how soon it is back after a crash.
set -eu
"$BENCH_BIN/grid_bench"
