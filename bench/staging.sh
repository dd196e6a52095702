#!/bin/sh
# A checkpoint to the network's store over TLS on loopback, and a second version of it with 5 % changed; beside an rsync
# daemon on loopback, which writes the same disk, synced, and has no TLS to do. STAGING_MIB (1024) says how large.
set -eu
. "$(dirname "$0")/lib.sh"
mib=${STAGING_MIB:-1024}
bench=$BENCH_BIN/store_bench
network_up --tls
cd "$bench_dir"

speed() { awk -v m="$mib" -v t="$1" 'BEGIN {printf "%.1f", m * 1048.576 / t}'; } # MB/s
timed() { # timed COMMAND...: ms on stdout, its output in `said`
    begin=$(now_ns); "$@" >said; end=$(now_ns)
    awk -v a="$begin" -v b="$end" 'BEGIN {printf "%.1f", (b - a) / 1e6}'
}
turn=0
put() { "$MAINS" artifacts put weights --state "$state" --json; }
get() { rm -rf got; "$MAINS" artifacts get "store:$(jq -r .manifest put.json)" got --state "$state"; }

cat >rsyncd.conf <<EOF
port = 0
use chroot = no
pid file = $bench_dir/rsyncd.pid
uid = $(id -u)
gid = $(id -g)
[to]
path = $bench_dir/to
read only = no
EOF
mkdir -p to
# A daemon on standard input, as inetd has it, behind a port of the kernel's choice.
cat >daemon.py <<'EOF'
import socket, subprocess, sys
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
while True:
    c, _ = s.accept()
    subprocess.Popen(["rsync", "--daemon", "--config=rsyncd.conf"], stdin=c, stdout=c)
    c.close()
EOF
python3 daemon.py >port &
daemon=$!
trap 'kill "$daemon" 2>/dev/null || :; bench_leave' EXIT
until [ -s port ]; do sleep 0.1; done
copy() { rsync --fsync "$@" weights "rsync://127.0.0.1:$(cat port)/to/weights$turn"; }

"$bench" make weights "$mib" 1
puts= copies=
for turn in 1 2 3; do # in turn, so that a busy machine is busy for all; each of another content
    "$bench" make weights "$mib" "$turn"
    export XDG_CACHE_HOME="$bench_dir/cache$turn" # what is removed now slows what is made next
    cat weights >/dev/null
    puts="$puts $(timed put)"
    copies="$copies $(timed copy)"
done
"$bench" edit weights 9
cat weights >/dev/null
again=$(timed put)
cp said put.json
moved=$(jq '100 * .carried / .bytes * 1000 | round / 1000' put.json)
delta=$(timed copy --no-whole-file --inplace)
export XDG_CACHE_HOME="$bench_dir/cache"
back=$(timed get)
cmp weights got/weights
# shellcheck disable=SC2086
{ up=$(speed "$(median $puts)") peer=$(speed "$(median $copies)"); }

figure staging "$up" MB/s ">=0.6x" "rsync daemon, --fsync, no TLS" "$peer" "$mib MiB of float32 weights, new to the store: cut, named, packed, over TLS, checked, synced; median of 3"
figure staging_bytes "$moved" % "<10" "" "" "on the wire for a version with 5 % changed in 8 places, of its bytes"
figure staging_again "$(speed "$again")" MB/s "" "rsync --no-whole-file --inplace" "$(speed "$delta")" "that version, of the whole file's bytes"
figure staging_back "$(speed "$back")" MB/s "" "rsync daemon, --fsync, no TLS" "$peer" "fetched into an empty cache, checked, laid out"
