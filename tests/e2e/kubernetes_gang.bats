#!/usr/bin/env bats
# Who admits the pods of a job together: Kueue lets go a Job that it was given suspended (here the
# test does what Kueue would), Volcano is told of a PodGroup.

load common.bash
load kubernetes.bash

setup_file() { kube_start; }
teardown_file() { kube_stop; }
setup() { kube_network '{"gang": "kueue", "queue": "lab"}'; }
teardown() { network_stop; }

jobs_path() { echo "$(kube_url)/apis/batch/v1/namespaces/lent/jobs"; }
suspend() { # suspend NAME true|false
    curl -sS -m 10 -X PATCH -H 'Content-Type: application/merge-patch+json' --data-binary "{\"spec\":{\"suspend\":$2}}" "$(jobs_path)/$1" >/dev/null
}
# Its name in the cluster, once it is there.
name_of() { curl -sS -m 10 "$(jobs_path)" | jq -r '.items[].metadata.name' | grep -x -- "mains-$(cat "$STATE/agent/kubernetes.tag")-$1-$2"; }

@test "Kueue: a job waits until it is let go, and says so" {
    id=$(submit --tasks 2 -- sh -c 'echo "r$MAINS_RANK"')
    wait_for 20 name_of "$id" 1 >/dev/null
    name=$(name_of "$id" 1)
    [ "$(curl -sS -m 10 "$(jobs_path)/$name" | jq -r '.metadata.labels["kueue.x-k8s.io/queue-name"]')" = lab ]
    wait_for 30 eval 'grep -q "its queue has not admitted it" "$STATE/up.log"'
    [ "$(pods_of "$id")" -eq 0 ]
    suspend "$name" false
    mains wait "$id"
    [ "$(mains logs "$id" | sort | tr '\n' ' ')" = "r0 r1 " ]
}

@test "Kueue takes a job's place: the network starts it again" {
    id=$(submit -- sh -c 'echo begun; [ "$MAINS_EPOCH" -gt 1 ] || sleep 60; echo through')
    wait_for 20 name_of "$id" 1 >/dev/null
    suspend "$(name_of "$id" 1)" false
    wait_for 20 is_state "$id" running
    suspend "$(name_of "$id" 1)" true
    wait_for 40 name_of "$id" 2 >/dev/null
    [ -z "$(name_of "$id" 1)" ]
    suspend "$(name_of "$id" 2)" false
    mains wait "$id"
    [[ $(mains logs "$id") == *through* ]]
}

@test "Volcano is told of the group" {
    network_stop
    kube_network '{"gang": "volcano", "queue": "lab"}'
    control '{"pause": true}' >/dev/null
    id=$(submit --tasks 3 -- true)
    groups="$(kube_url)/apis/scheduling.volcano.sh/v1beta1/namespaces/lent/podgroups"
    wait_for 20 eval '[ "$(curl -sS -m 10 "$groups" | jq ".items | length")" = 1 ]'
    curl -sS -m 10 "$groups" | jq -e '.items[0].spec == {minMember: 3, queue: "lab"}' >/dev/null
    name=$(name_of "$id" 1)
    curl -sS -m 10 "$(jobs_path)/$name" | jq -e '.spec.template.spec.schedulerName == "volcano" and .spec.template.metadata.annotations["scheduling.k8s.io/group-name"] == .metadata.name' >/dev/null
    control '{"pause": false}' >/dev/null
    mains wait "$id"
}
