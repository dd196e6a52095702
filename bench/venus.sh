#!/bin/sh
# All of Helios Venus on one pool, lengths not known: docs/quality/venus_philly.md.
set -eu
cd "$(dirname "$0")/.."
"$BENCH_BIN/venus_philly" venus
