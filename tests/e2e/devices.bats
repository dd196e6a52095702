#!/usr/bin/env bats
# Devices that come, turn sick, get well and go, as a vendor's tool (made up) and the kernel's log
# tell it. In a mount namespace with a /dev of its own: needs root.

load common

setup_file() {
    [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null || skip "needs root and mount namespaces"
    BASE=$(mktemp -d /var/tmp/mains-e2e.XXXXXX)
    STATE=$BASE/state
    export BASE STATE
    mkdir "$BASE/dev" "$BASE/tools"
    cat >"$BASE/up" <<END
mount -t tmpfs tmpfs $BASE/dev
cd $BASE/dev
mknod -m 666 null c 1 3; mknod -m 666 zero c 1 5; mknod -m 666 full c 1 7
mknod -m 666 random c 1 8; mknod -m 666 urandom c 1 9; mknod -m 666 tty c 5 0
mkdir pts shm; mount --bind /dev/pts pts; mount -t tmpfs tmpfs shm
ln -s /proc/self/fd fd; ln -s fd/0 stdin; ln -s fd/1 stdout; ln -s fd/2 stderr
mkfifo kmsg
cd /
mount --rbind $BASE/dev /dev
PATH=$BASE/tools:\$PATH exec "$MAINS" up --detach --state "$STATE" --listen 127.0.0.2:0 --tls --sandbox-off
END
    unshare -m --propagation private sh "$BASE/up" >&2
}
teardown_file() {
    [ -n "${BASE:-}" ] || return 0
    if [ -s "$BASE/lab.pid" ]; then kill "$(cat "$BASE/lab.pid")" 2>/dev/null || :; fi
    network_stop
}

UUID=GPU-11111111-2222-3333-4444-555555555555
tool() { # tool ECC TEMPERATURE: what nvidia-smi prints from now on
    printf '#!/bin/sh\necho "0, %s, NVIDIA H100 80GB HBM3, 00000000:3B:00.0, 535.1, 81559, %s, 70.1, %s, Disabled"\n' \
        "$UUID" "$2" "$1" >"$BASE/tools/.new"
    chmod 755 "$BASE/tools/.new"
    mv "$BASE/tools/.new" "$BASE/tools/nvidia-smi"
}
dev() { echo "/proc/$(agent_pid)/root/dev"; }
device_is() { # device_is STATE [TEXT]
    "$MAINS" devices --state "$STATE" --json |
        jq -e --arg s "$1" --arg t "${2-}" 'length == 1 and .[0].state == $s and ((.[0].health_text // "") | contains($t))' >/dev/null
}
state_of() { "$MAINS" show "$1" --state "$STATE" --json | jq -r .state; }
is_running() { [ "$(state_of "$1")" = running ]; }

@test "a device that comes is there within seconds" {
    [ "$("$MAINS" devices --state "$STATE" --json | jq length)" -eq 0 ]
    tool 0 40
    touch "$(dev)/nvidia0"
    wait_for 10 device_is ready
    "$MAINS" run --state "$STATE" --devices 1 -- true
}

@test "one that turns sick says why and gets no work; what runs goes on" {
    runs=$("$MAINS" submit --state "$STATE" --devices 0.5 --json -- sleep 300 | jq -r .id)
    wait_for 20 is_running "$runs"
    tool 7 40
    wait_for 60 device_is sick "7 uncorrected ECC errors"
    job=$("$MAINS" submit --state "$STATE" --devices 0.5 --json -- true | jq -r .id)
    run "$MAINS" why "$job" --state "$STATE"
    [[ $output == *"cordoned, sick or gone"* ]]
    is_running "$runs"
    "$MAINS" cancel "$runs" --state "$STATE"
    # Well again: watched for three looks, then the job starts.
    tool 0 40
    wait_for 150 device_is ready
    "$MAINS" wait "$job" --state "$STATE"
}

@test "too hot" {
    tool 0 99
    wait_for 60 device_is sick "temperature 99 C"
    tool 0 50
    wait_for 150 device_is ready
}

@test "the kernel tells of a fault that the tool does not know" {
    exec 9<>"$(dev)/kmsg"
    echo "4,1021,17200113,-;NVRM: Xid (PCI:0000:3b:00): 31, pid=1, MMU Fault" >&9
    echo "4,1021,17200114,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus." >&9
    wait_for 60 device_is sick "XID 79: fallen off the bus"
    exec 9>&-
}

@test "one that goes is told as gone" {
    rm "$(dev)/nvidia0"
    wait_for 60 device_is sick "no longer there"
}

lab_is() { "$MAINS" nodes --state "$STATE" --json | jq -e --arg s "$1" '.[] | select(.site == "lab") | .state == $s' >/dev/null; }

@test "a node without space cordons itself, and comes back; what an operator cordoned stays so" {
    token=$("$MAINS" site token lab --state "$STATE" | sed 's/^mains join //')
    mkdir "$BASE/lab"
    # A state folder that is small: on a file system of its own, in a namespace of its own.
    unshare -m --propagation private sh -c 'mount -t tmpfs -o size=64m tmpfs "$1"; echo $$ >"$2"; exec "$3" join "$4" --state "$1" --sandbox-off' \
        sh "$BASE/lab" "$BASE/lab.pid" "$MAINS" "$token" >"$BASE/lab.log" 2>&1 3>&- &
    wait_for 20 lab_is ready
    lab=/proc/$(cat "$BASE/lab.pid")/root$BASE/lab
    head -c 52M /dev/zero >"$lab/ballast"
    wait_for 60 lab_is cordoned
    "$MAINS" nodes --state "$STATE" --json | jq -e '.[] | select(.site == "lab").reason == "unhealthy: no space is left on its disk"'
    rm "$lab/ballast"
    wait_for 150 lab_is ready
    node=$("$MAINS" nodes --state "$STATE" --json | jq -r '.[] | select(.site == "lab").name')
    "$MAINS" site cordon-node lab "$node" --reason dust --state "$STATE"
    agent() { agent_of "$(cat "$BASE/lab.pid")"; }
    before=$(agent)
    kill "$before" # the next one says anew that it is well
    another() { is_other "$(agent)" "$before" && connected lab; }
    wait_for 30 another
    sleep 2
    lab_is cordoned
}
