#!/bin/sh
# Durable events a second, 8 writers, grouped by themselves.
set -eu
. "$(dirname "$0")/lib.sh"
"$BENCH_BIN/journal_bench" "$bench_dir"
