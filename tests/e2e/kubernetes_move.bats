#!/usr/bin/env bats
# Moving off a Kubernetes cluster, asked for and by lease: tests/fake/kube_api.py as `cluster`, with a
# volume that pods and agent share, and `lab` on this machine.

load common.bash
load kubernetes.bash
load moves.bash

FROM=cluster

setup_file() {
    kube_start
    network_start --tls --site lab --sandbox-off --lease 8s
    export TOKEN
    PLACE=$(dirname "$STATE")
    export PLACE CLUSTER="$PLACE/cluster/state"
    mkdir "$PLACE/cluster" "$PLACE/beats"
    kube_config >"$KUBE_DIR/config"
    jq -n --arg c "$KUBE_DIR/config" --arg p "$PLACE" '{executor: "kubernetes", kubernetes:
        {kubeconfig: $c, default_image: "debian:12", volume: {claim: "shared", path: $p}}}' >"$PLACE/site.json"
    "$MAINS" join "$("$MAINS" site token cluster --address "$(endpoint | sed 's|.*//||')" --state "$STATE" | sed 's/^mains join //')" \
        --config "$PLACE/site.json" --state "$CLUSTER" --detach >&2
    wait_for 60 heard
}
teardown_file() {
    "$MAINS" cancel --all -q --state "$STATE" || :
    "$MAINS" down --state "$CLUSTER" >/dev/null 2>&1 || :
    network_stop
    kube_stop
}
setup() { "$MAINS" site drain lab --state "$STATE" >/dev/null; }
teardown() {
    "$MAINS" cancel --all -q --state "$STATE" || :
    kill -0 "$(cluster_pid)" 2>/dev/null || "$MAINS" join --state "$CLUSTER" --detach >/dev/null
    wait_for 60 heard
    wait_for 60 nothing_live
    [ ! -e "$KUBE_DIR/invalid" ] || { cat "$KUBE_DIR/invalid" >&2; rm "$KUBE_DIR/invalid"; return 1; }
}

cluster_pid() { tr -dc 0-9 <"$CLUSTER/lock"; }
@test "a job is moved: it goes on from the checkpoint that it was asked for" {
    GRACE=30s begin --scratch
    wait_for 20 counts
    wait_for 20 "$MAINS" move "$JOB" --to lab --state "$STATE"
    wait_for 60 beats lab
    never_twice
    is .epoch 2
    wait_for 20 is .attempts[0].outcome moved
    [ "$(awk '$1 == "lab" {print $3; exit}' "$PLACE/beats/$JOB")" -gt 0 ]
}

@test "the agent and its parent are killed: guards end the pods, it goes on elsewhere, once" {
    DEAF="trap '' TERM" begin --scratch --on-unreachable move --tasks 2
    sleep 10 # longer than a lease: it is renewed
    is .epoch 1
    agent=$(agent_of "$(cluster_pid)")
    kill -9 "$(cluster_pid)" "$agent"
    wait_for 40 beats lab
    never_twice
    wait_for 20 is .attempts[0].outcome lease
    "$MAINS" join --state "$CLUSTER" --detach >/dev/null
    wait_for 60 heard
    sleep 1
    never_twice
    is .epoch 2
}
