#!/usr/bin/env bats
# A site of mains before a Kubernetes API server: tests/fake/kube_api.py, which runs what pods say
# as local processes and checks every object that is made against the published OpenAPI.

load common.bash
load kubernetes.bash

setup_file() { kube_start && kube_network '{"image_wait": "3s"}'; }
teardown_file() {
    network_stop
    kube_stop
}

# Nothing that was made was refused by the schema, and nothing stays behind.
teardown() { [ ! -e "$KUBE_DIR/invalid" ] || { cat "$KUBE_DIR/invalid" >&2; rm "$KUBE_DIR/invalid"; return 1; }; }

@test "nodes and devices are the cluster's" {
    run mains nodes
    [ "$status" -eq 0 ]
    [[ $output == *k1* && $output == *k2* && $output == *"8 of 8"* && $output == *"4 of 4"* ]]
}

@test "a job runs, its output and exit code come back" {
    run mains run --scratch -- sh -c 'echo "hello from $MAINS_NODE $MAINS_RANK/$MAINS_TASKS"; echo oops >&2; exit 3'
    [ "$status" -eq 3 ]
    [[ $output == *"hello from mains-"*" 0/1"* && $output == *oops* ]]
}

@test "words are words, whatever is in them" {
    run mains run --scratch -- printf '<%s>' "a b" '$(id)' '$(MAINS_RANK)' '$$x' "quote'\"" '*'
    [ "$status" -eq 0 ]
    [[ $output == *"<a b><\$(id)><\$(MAINS_RANK)><\$\$x><quote'\"><*>"* ]]
}

@test "nothing of a job stays in the cluster" {
    id=$(submit -- true)
    mains wait "$id"
    wait_for 20 eval '[ "$(pods_of "$id")" = 0 ]'
    [[ $(control '{}' | jq -c .jobs) != *"-$id-"* ]]
}

@test "a gang has its ranks, and addresses to meet" {
    id=$(submit --tasks 4 --cpus 4 -- sh -c 'echo "rank=$MAINS_RANK/$WORLD_SIZE node=$MAINS_NODE at=$MASTER_ADDR"')
    mains wait "$id"
    run mains logs "$id"
    [ "$(grep -c '^rank=' <<<"$output")" -eq 4 ]
    [ "$(grep -o 'rank=[0-9]/4' <<<"$output" | sort -u | wc -l)" -eq 4 ]
    [[ $output == *"rank=3/4 node=mains-"*"-$id-1-3 at=mains-"*"-$id-1-0.mains-"* ]]
    [ "$(starts_of "$id")" -eq 4 ]
}

@test "one of a gang fails: all of it ends, and says which" {
    id=$(submit --tasks 3 -- sh -c '[ "$MAINS_RANK" != 1 ] || exit 9; sleep 60')
    run mains wait "$id"
    [ "$status" -eq 9 ]
    [[ $(mains show "$id") == *"task 1: exit status 9"* ]]
}

@test "an array: every element once" {
    printf 'name: sweep\narray: 0-4\nrun: echo "element $MAINS_ARRAY_INDEX"; [ $MAINS_ARRAY_INDEX != 3 ]\n' >"$KUBE_DIR/sweep.yaml"
    id=$(submit "$KUBE_DIR/sweep.yaml")
    run mains wait "$id"
    [ "$status" -ne 0 ]
    for i in 0 1 2 4; do [ "$(mains logs "$id.$i")" = "element $i" ]; done
    [ "$(state_of "$id.3")" = failed ]
    [ "$(state_of "$id.4")" = done ]
}

@test "secrets are in a Secret and nowhere else" {
    printf 'run: echo "got $KEY"\nsecrets: { KEY: { env: THE_KEY } }\n' >"$KUBE_DIR/secret.yaml"
    id=$(THE_KEY=hunter2 submit "$KUBE_DIR/secret.yaml")
    mains wait "$id"
[ "$(mains logs "$id")" = "got hunter2" ]
    wait_for 20 eval '[ "$(control "{}" | jq -c .secrets)" = "[]" ]'
}

@test "setup comes first, in the same place" {
    printf 'setup: echo "set up"; echo x >made\nrun: cat made; echo "ran $0"\nname: two\n' >"$KUBE_DIR/two.yaml"
    id=$(submit "$KUBE_DIR/two.yaml")
    mains wait "$id"
    [ "$(mains logs "$id")" = "$(printf 'set up\nx\nran two')" ]
}

@test "what needs a shared volume is refused, and says so" {
    printf 'outputs: [ a.txt ]\nrun: echo no\n' >"$KUBE_DIR/out.yaml"
    id=$(submit "$KUBE_DIR/out.yaml")
    run mains wait "$id"
    [ "$status" -ne 0 ]
    [[ $(mains show "$id") == *"need a volume"* ]]
}

@test "devices are asked for by the plugin's name" {
    run mains run --scratch --devices 2 -- sh -c 'echo "count=$MAINS_DEVICES_COUNT list=$MAINS_DEVICES"'
    [ "$status" -eq 0 ]
    [[ $output == *"count=2 list=0,1"* ]]
}

@test "a time limit" {
    run mains run --scratch --time 2s -- sleep 60
    [ "$status" -eq 124 ]
}

@test "cancel asks first" {
    id=$(submit -- sh -c 'trap "echo bye; exit 7" TERM; echo up; while :; do sleep 0.1; done')
    wait_for 20 is_state "$id" running
    wait_for 20 eval '[ "$(mains logs "$id")" = up ]'
    mains cancel "$id"
    run mains wait "$id"
    [ "$status" -eq 130 ]
    [[ $(mains logs "$id") == *bye* ]]
    [ "$(pods_of "$id")" -eq 0 ]
}

@test "memory: the job that takes too much is told so" {
    id=$(submit --memory 64M -- python3 -c 'x = bytearray(300 << 20); import time; time.sleep(60)')
    run mains wait "$id"
    [ "$status" -ne 0 ]
    [[ $(mains show "$id") == *"out of memory"* ]]
}

@test "an image that does not come" {
    printf 'image: missing/none:1\nrun: echo no\n' >"$KUBE_DIR/image.yaml"
    id=$(submit "$KUBE_DIR/image.yaml")
    run mains wait "$id"
    [ "$status" -ne 0 ]
    [[ $(mains show "$id") == *"ImagePull"*"missing/none:1"* ]]
}

@test "a command that is not there" {
    id=$(submit -- /no/such/program)
    run mains wait "$id"
    [ "$status" -ne 0 ]
    [[ $(mains show "$id") == *"cannot start"*"/no/such/program"* ]]
}

@test "logs -f follows" {
    id=$(submit -- sh -c 'echo one; until [ -e '"$KUBE_DIR"'/go ]; do sleep 0.1; done; echo two')
    mains logs -f "$id" >"$KUBE_DIR/followed" 3>&- &
    wait_for 30 grep -q one "$KUBE_DIR/followed"
    touch "$KUBE_DIR/go"
    wait $!
    [ "$(cat "$KUBE_DIR/followed")" = "$(printf 'one\ntwo')" ]
}

@test "what others use, and a node that is cordoned, are not offered" {
    control '{"add_node": "k9", "cpu": "6", "devices": 2}' >/dev/null
    wait_for 30 eval 'mains nodes | grep -q "k9 .*6 of 6.*2 of 2"'
    control '{"foreign": {"node": "k9", "cpu": "2500m", "devices": 1}}' >/dev/null
    wait_for 40 eval 'mains nodes --json | jq -e ".[] | select(.name == \"k9\") | .cpus == 3" >/dev/null || mains nodes | grep -q "k9 .*3 of 3.*1 of"'
    control '{"node": "k9", "cordon": true}' >/dev/null
    wait_for 30 eval 'mains nodes | grep -q "k9 .*0 of 0"'
}

@test "nothing is asked job by job" {
    before=$(control '{}' | jq '.requests["GET jobs"] + .requests["GET pods"]')
    ids=() began=$SECONDS
    for i in 1 2 3 4 5 6; do ids+=("$(submit -- sleep 3)"); done
    for id in "${ids[@]}"; do mains wait "$id"; done
    # One log a pod, and now and then a list: never the state of one job.
    after=$(control '{}' | jq '.requests["GET jobs"] + .requests["GET pods"]')
    [ $((after - before)) -le $((18 + (SECONDS - began) / 2)) ]
}

@test "why it waits is said, too, where only an event tells it" {
    control '{"quota": "exceeded quota: compute, requested: cpu=1, used: cpu=8, limited: cpu=8"}' >/dev/null
    id=$(submit -- echo ran)
    says() { mains why "$id" | grep -q "queued at the site: FailedCreate: .*exceeded quota: compute"; }
    run wait_for 20 says
    # And it counts as the site's own queue, from five seconds on.
    site=$(mains sites --json | jq -r '.[0].name')
    queue() { mains site show "$site" --json | jq -e '.freight.waits[0] | .pending == 1 and .wait_ms >= 5000' >/dev/null; }
    [ "$status" -ne 0 ] || run wait_for 20 queue
    control '{"quota": ""}' >/dev/null
    [ "$status" -eq 0 ]
    mains wait "$id"
    [ "$(mains logs "$id")" = ran ]
}
