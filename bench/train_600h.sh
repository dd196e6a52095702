#!/bin/sh
# What share of 600 hours on 3,000 cards becomes lasting work while nodes fail.
set -eu
"$BENCH_BIN/train_600h" "${TRAIN_SEEDS:-1000}"
