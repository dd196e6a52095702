#!/usr/bin/env bats
# A real Slurm on loopback under a site of mains. Needs root (to start the daemons) and Debian's Slurm
# packages; skips where they are not. The network itself runs as an ordinary user.

load common.bash
load slurm.bash

PORT=${MAINS_SLURM_PORT:-27817}

setup_file() {
    slurm_place || return 0
    export STATE="$PLACE/net/state"
    slurm_start 4 "$PORT" || return 0
    mkdir "$PLACE/net"
    chown 65534:65534 "$PLACE/net"
    mains up --detach --listen 127.0.0.1:0 --executor slurm >&2
}

setup() {
    [ -z "$WHY" ] || skip "$WHY"
}

teardown_file() {
    [ -n "${PLACE:-}" ] || return 0
    [ ! -d "$PLACE/net/side" ] || side down >&2 2>/dev/null || :
    mains down --cancel >&2 2>/dev/null || :
    slurm_stop
}

# As the user nobody, on the state folder of this file.
mains() {
    (cd "$PLACE/net" && HOME="$PLACE/net" timeout 60 setpriv --reuid 65534 --regid 65534 --clear-groups \
        "$MAINS" "$1" --state "$STATE" "${@:2}" 3>&-)
}

# The same of a second site, at this machine.
side() {
    (cd "$PLACE/net" && HOME="$PLACE/net" timeout 60 setpriv --reuid 65534 --regid 65534 --clear-groups \
        "$MAINS" "$@" --state "$PLACE/net/side" 3>&-)
}

submit() { mains submit --quiet "$@"; }
# The jobs of one of ours in Slurm, ended ones too while Slurm knows them.
in_slurm() { squeue -a -h -t all -o %j | grep -c -- "-$1\.[0-9]*\$"; }
state_of() { mains show --json "$1" | jq -r .state; }
is_state() { [ "$(state_of "$1")" = "$2" ]; }

@test "nodes and devices are Slurm's" {
    run mains nodes
    [ "$status" -eq 0 ]
    [[ $output == *n1* && $output == *n4* && $output == *"16 of 16"* && $output == *"4 of 4"* ]]
}

@test "a job runs, its output and exit code come back" {
    run mains run -- sh -c 'echo "hello from $MAINS_NODE $MAINS_RANK/$MAINS_TASKS"; exit 3'
    [ "$status" -eq 3 ]
    [[ $output == *"hello from n"*" 0/1"* ]]
}

@test "words are words, whatever is in them" {
    run mains run -- printf '<%s>' "a b" '$(id)' "quote'\"" '*'
    [ "$status" -eq 0 ]
    [[ $output == *"<a b><\$(id)><quote'\"><*>"* ]]
}

@test "a gang is one job of Slurm" {
    id=$(submit --tasks 4 --cpus 8 -- sh -c 'echo "rank=$MAINS_RANK node=$MAINS_NODE_RANK at=$MAINS_LOCAL_RANK $SLURM_JOB_ID"')
    mains wait "$id"
    run mains logs "$id"
    [ "$(grep -c '^rank=' <<<"$output")" -eq 4 ]
    [[ $output == *"rank=0 node=0 at=0"* && $output == *"rank=3 node=1 at=1"* ]]
    [ "$(grep '^rank=' <<<"$output" | awk '{print $4}' | sort -u | wc -l)" -eq 1 ]
}

@test "devices are those that Slurm gave" {
    run mains run --devices 2 -- sh -c 'echo "see=$CUDA_VISIBLE_DEVICES count=$MAINS_DEVICES_COUNT"'
    [ "$status" -eq 0 ]
    [[ $output == *see=[0-9],[0-9]*count=2* ]]
}

@test "an array: every element once" {
    printf 'name: sweep\narray: 0-4\nrun: echo "element $MAINS_ARRAY_INDEX"; [ $MAINS_ARRAY_INDEX != 3 ]\n' >"$PLACE/net/sweep.yaml"
    chmod 644 "$PLACE/net/sweep.yaml"
    id=$(submit "$PLACE/net/sweep.yaml")
    run mains wait "$id"
    [ "$status" -ne 0 ]
    for i in 0 1 2 4; do
        [ "$(state_of "$id.$i")" = done ]
        [ "$(mains logs "$id.$i")" = "element $i" ]
    done
    [ "$(state_of "$id.3")" = failed ]
}

@test "a time limit" {
    run mains run --time 2s -- sleep 60
    [ "$status" -eq 124 ]
}

@test "cancel asks first" {
    id=$(submit -- sh -c 'trap "echo bye; exit 7" TERM; echo up; sleep 60 & wait')
    wait_for 20 is_state "$id" running
    wait_for 20 eval '[ "$(mains logs "$id")" = up ]'
    mains cancel "$id"
    run mains wait "$id"
    [ "$status" -eq 130 ]
    [[ $(mains logs "$id") == *bye* ]]
    wait_for 20 slurm_lacks "$id"
}

@test "the agent is killed meanwhile: nothing runs twice" {
    id=$(submit -- sh -c 'echo begin; sleep 4; echo end; exit 4')
    wait_for 20 is_state "$id" running
    kill -9 "$(agent_pid)"
    run mains wait "$id"
    [ "$status" -eq 4 ]
    [ "$(mains logs "$id")" = "$(printf 'begin\nend')" ]
    [ "$(in_slurm "$id")" -le 1 ]
}

@test "the agent is killed while jobs are submitted: each runs once" {
    ids=()
    for i in 1 2 3 4 5 6; do ids+=("$(submit -- sh -c "echo x >>$PLACE/net/once.$i")"); [ "$i" -ne 3 ] || kill -9 "$(agent_pid)"; done
    for id in "${ids[@]}"; do mains wait "$id"; done
    for i in 1 2 3 4 5 6; do [ "$(wc -l <"$PLACE/net/once.$i")" -eq 1 ]; done
}

@test "slurmctld starts anew meanwhile" {
    id=$(submit -- sh -c 'sleep 930006; echo ran; exit 5')
    wait_for 20 is_state "$id" running
    kill "$(cat "$PLACE/c/run/slurmctld.pid")"
    sleep 1
    late=$(submit -- echo late)
    wake 930006
    sleep 3
    "$PLACE/c/bin/slurmctld" -f "$SLURM_CONF" 3>&-
    run mains wait "$id"
    [ "$status" -eq 5 ]
    run mains wait "$late"
    [ "$status" -eq 0 ]
    [ "$(mains logs "$late")" = late ]
}

@test "what others run is not offered" {
    sbatch -o /dev/null --nodelist=n4 -n 16 --gres=gpu:4 --wrap 'sleep 300' >&2
    run wait_for 60 sh -c "HOME=$PLACE/net setpriv --reuid 65534 --regid 65534 --clear-groups $MAINS nodes --state $STATE | grep -q 'n4 .*0 of 0'"
    scancel --name=wrap
    [ "$status" -eq 0 ]
}

@test "a checkpoint goes through the network: the next attempt goes on from it" {
    cat >"$PLACE/net/goes-on.yaml" <<'EOF'
retries: 1
checkpoint: {path: ckpt}
run: |
  if [ "$MAINS_RESTORED" = 1 ]; then echo "from $(cat ckpt/n)"; exit 0; fi
  mkdir ckpt; echo 5 >ckpt/n; exit 3
EOF
    id=$(submit goes-on.yaml)
    mains wait "$id"
    [ "$(mains logs "$id")" = "from 5" ]
}

# The last one: the network has a site more from here on.
@test "a queue in Slurm is told: what may go elsewhere does, also what waits there" {
    mains down
    mains up --detach --listen 127.0.0.3:0 --tls --executor slurm >&2
    token=$(mains site token side | sed 's/^mains join //')
    side join "$token" --detach --cpus 1 >&2
    heard() { mains site show side --json 2>/dev/null | jq -e .connected >/dev/null; }
    wait_for 20 heard
    # All of the cluster is taken, behind the back of the network; and so is the other site, for a while.
    held=$(submit --site side -- sleep 12)
    wait_for 20 is_state "$held" running
    sbatch -o /dev/null --nodes=4 --exclusive --wrap 'sleep 300' >&2
    stuck=$(submit -- sh -c 'echo "ran at $MAINS_SITE"')
    queued() { mains why "$stuck" | grep -q 'queued at the site: Slurm job'; }
    wait_for 30 queued
    [ "$(in_slurm "$stuck")" -eq 1 ]
    # It waits for longer than was told; the other site has room, and takes it. It ran once.
    mains wait "$stuck"
    [ "$(mains logs "$stuck")" = "ran at side" ]
    [ "$(mains show --json "$stuck" | jq '.attempts | length')" -eq 2 ]
    [ "$(mains show --json "$stuck" | jq -r '.attempts[0].outcome')" = moved ]
    # What comes now goes to the free site at once, though Slurm comes first by name.
    told() { mains plan --json -- true | jq -e '.candidates[] | select(.wait_ms > 0)' >/dev/null; }
    wait_for 30 told
    id=$(submit -- sh -c 'echo "ran at $MAINS_SITE"')
    mains wait "$id"
    [ "$(mains logs "$id")" = "ran at side" ]
    side down >&2
    scancel --name=wrap
}
