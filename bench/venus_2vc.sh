#!/bin/sh
# Two clusters of Helios Venus replayed, nothing stopped: docs/quality/venus_2vc.md.
set -eu
cd "$(dirname "$0")/.."
"$BENCH_BIN/venus_2vc"
