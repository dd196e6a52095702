#!/bin/sh
# A checkpoint to the network's store over TLS on loopback, and a second version of it with 5 % changed; beside rsync, which
# writes the same disk, synced: over ssh, which protects what it carries as TLS does (where there is an sshd), and to a daemon
# on loopback, in the clear. STAGING_MIB (1024) says how large.
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
sshd=
trap 'kill "$daemon" $sshd 2>/dev/null || :; bench_leave' EXIT
until [ -s port ]; do sleep 0.1; done
copy() { rsync --fsync "$@" weights "rsync://127.0.0.1:$(cat port)/to/weights$turn"; }

# An sshd of our own, with keys of its own. As root it wants its folder.
ssh_up() {
    program=$(command -v sshd || command -v /usr/sbin/sshd) || return 1
    [ "$(id -u)" -ne 0 ] || mkdir -p /run/sshd
    ssh-keygen -q -t ed25519 -N '' -f host_key
    ssh-keygen -q -t ed25519 -N '' -f user_key
    ssh_port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$program" -D -f /dev/null -p "$ssh_port" -o ListenAddress=127.0.0.1 -h "$bench_dir/host_key" -o PidFile=none \
        -o UsePAM=no -o StrictModes=no -o AuthorizedKeysFile="$bench_dir/user_key.pub" 2>sshd.log &
    sshd=$!
    way="ssh -p $ssh_port -i $bench_dir/user_key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    for _ in $(seq 50); do
        if $way 127.0.0.1 true 2>/dev/null; then return 0; fi
        sleep 0.1
    done
    return 1
}
guarded() { rsync --fsync -e "$way" "$@" weights "127.0.0.1:$bench_dir/to/guarded$turn"; }
has_ssh=
if ssh_up; then has_ssh=1; else echo "staging: no sshd here: rsync over ssh is left out" >&2; fi

"$bench" make weights "$mib" 1
puts= copies= guards=
for turn in 1 2 3; do # in turn, so that a busy machine is busy for all; each of another content
    "$bench" make weights "$mib" "$turn"
    export XDG_CACHE_HOME="$bench_dir/cache$turn" # what is removed now slows what is made next
    cat weights >/dev/null
    puts="$puts $(timed put)"
    copies="$copies $(timed copy)"
    [ -z "$has_ssh" ] || guards="$guards $(timed guarded)"
done
"$bench" edit weights 9
cat weights >/dev/null
again=$(timed put)
cp said put.json
moved=$(jq '100 * .carried / .bytes * 1000 | round / 1000' put.json)
delta=$(timed copy --no-whole-file --inplace)
guarded_delta=
[ -z "$has_ssh" ] || guarded_delta=$(speed "$(timed guarded --no-whole-file --inplace)")
export XDG_CACHE_HOME="$bench_dir/cache"
back=$(timed get)
cmp weights got/weights
# shellcheck disable=SC2086
{ up=$(speed "$(median $puts)") peer=$(speed "$(median $copies)"); }
secure=
# shellcheck disable=SC2086
[ -z "$has_ssh" ] || secure=$(speed "$(median $guards)")

note="$mib MiB of float32 weights, new to the store: cut, named, packed, over TLS, checked, synced; median of 3"
if [ -n "$has_ssh" ]; then
    figure staging "$up" MB/s ">=0.6x" "rsync over ssh, --fsync" "$secure" "$note"
    figure staging_plain "$up" MB/s "" "rsync daemon, --fsync, in the clear" "$peer" "the same"
else
    figure staging "$up" MB/s ">=0.6x" "rsync daemon, --fsync, in the clear" "$peer" "$note"
fi
figure staging_bytes "$moved" % "<10" "" "" "on the wire for a version with 5 % changed in 8 places, of its bytes"
figure staging_again "$(speed "$again")" MB/s "" "rsync over ssh, --no-whole-file --inplace" "$guarded_delta" "that version, of the whole file's bytes"
figure staging_again_plain "$(speed "$again")" MB/s "" "rsync daemon, --no-whole-file --inplace" "$(speed "$delta")" "the same"
figure staging_back "$(speed "$back")" MB/s "" "rsync over ssh, --fsync" "$secure" "fetched into an empty cache, checked, laid out"
