#!/bin/sh
# The bare HTTP server, one core: answers at once, and late in batches. The ceiling of `submit`.
set -eu
. "$(dirname "$0")/lib.sh"
"$BENCH_BIN/http_bench" --seconds 3
