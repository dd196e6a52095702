#!/bin/sh
# The store: a checkpoint put, put again with 5 % changed, and got back; beside rsync and zstd.
# STORE_MIB (256) says how large. Peers sync what they wrote, as the store does.
set -eu
. "$(dirname "$0")/lib.sh"
mib=${STORE_MIB:-256}
bench=$BENCH_BIN/store_bench
cd "$bench_dir"

ms() { # ms COMMAND...: how long it took
    begin=$(now_ns); "$@" >&2; end=$(now_ns)
    awk -v a="$begin" -v b="$end" 'BEGIN {printf "%.1f", (b - a) / 1e6}'
}
speed() { awk -v m="$mib" -v t="$1" 'BEGIN {printf "%.1f", m * 1048.576 / t}'; } # MB/s

zstd_synced() { zstd -q -f -1 -T1 weights -o weights.zst && sync weights.zst; }

"$bench" make weights "$mib" 1
cat weights >/dev/null
puts= copies= packs= gets=
for turn in 1 2 3; do # in turn, so that a busy machine is busy for all
    rm -rf "store$turn" copy weights.zst out
    line=$("$bench" put "store$turn" weights)
    puts="$puts ${line%% *}"
    id=$(echo "$line" | cut -d' ' -f2)
    copies="$copies $(ms rsync --fsync weights copy)"
    packs="$packs $(ms zstd_synced)"
    gets="$gets $("$bench" get "store$turn" "$id" out)"
    cmp weights out/weights
    [ "$turn" = 1 ] || rm -rf "store$turn"
done
# shellcheck disable=SC2086
{
    put=$(speed "$(median $puts)") copy=$(speed "$(median $copies)")
    pack=$(speed "$(median $packs)") get=$(speed "$(median $gets)")
}
"$bench" edit weights 2
cat weights >/dev/null
line=$("$bench" put store1 weights)
again=$(speed "${line%% *}")
moved=$(echo "$line" | awk '{printf "%.2f", 100 * $5 / $3}')
id=$(echo "$line" | cut -d' ' -f2)
rm -rf out
"$bench" get store1 "$id" out >&2
cmp weights out/weights
delta=$(speed "$(ms rsync --fsync --no-whole-file --inplace weights copy)")
hash=$("$bench" hash)

figure store_put "$put" MB/s "" "rsync --fsync" "$copy" "$mib MiB of float32 weights, new to the store; cut, named, zstd -1, synced; one thread; median of 3"
figure store_put_zstd "$put" MB/s "" "zstd -1 -T1, synced" "$pack" "the same put beside a file packed whole"
figure store_get "$get" MB/s "" "rsync --fsync" "$copy" "every chunk checked; synced"
figure store_version "$moved" % "<10" "" "" "bytes of chunks and manifest for a version with 5 % changed in 8 places, of the file's"
figure store_version_put "$again" MB/s "" "rsync --no-whole-file --inplace --fsync" "$delta" "that version's put, of the whole file's bytes; rsync had the old version"
figure store_hash "$(echo "$hash" | cut -d' ' -f1)" MB/s "" "SHA-256 (nettle)" "$(echo "$hash" | cut -d' ' -f2)" "BLAKE2b-256 over 128 KiB, CPU time of one thread"
figure store_hash_many "$(echo "$hash" | cut -d' ' -f3)" MB/s "" "SHA-256 (nettle)" "$(echo "$hash" | cut -d' ' -f2)" "BLAKE2b-256 of 32 chunks side by side, CPU time of one thread"
