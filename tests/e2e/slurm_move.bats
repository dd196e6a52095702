#!/usr/bin/env bats
# Moving off a real Slurm, asked for and by lease. Needs root (to start the daemons) and Debian's Slurm
# packages; skips where they are not. `campus` is the Slurm, `lab` another site on this machine.

load common.bash
load slurm.bash
load moves.bash

FROM=campus

PORT=${MAINS_SLURM_MOVE_PORT:-27917}

setup_file() {
    slurm_place || return 0
    export CAMPUS="$PLACE/campus/state"
    slurm_start 2 "$PORT" || return 0
    mkdir "$PLACE/beats" "$PLACE/campus"
    chmod 1777 "$PLACE/beats"
    chown 65534:65534 "$PLACE/campus"
    network_start --tls --site lab --sandbox-off --lease 8s
    export TOKEN
    campus join "$("$MAINS" site token campus --address "$(endpoint | sed 's|.*//||')" --state "$STATE" | sed 's/^mains join //')" \
        --executor slurm --detach >&2
    wait_for 60 heard
}
teardown_file() {
    [ -n "${PLACE:-}" ] || return 0
    "$MAINS" cancel --all -q --state "$STATE" || :
    campus down >/dev/null 2>&1 || :
    network_stop
    slurm_stop
}
setup() {
    [ -z "$WHY" ] || skip "$WHY"
    "$MAINS" site drain lab --state "$STATE" >/dev/null
}
teardown() {
    [ -z "$WHY" ] || return 0
    "$MAINS" cancel --all -q --state "$STATE" || :
    agent_is_there || campus join --executor slurm --detach >/dev/null
    wait_for 60 heard
    wait_for 60 nothing_live
}

# As the user nobody, on the state folder of campus.
campus() {
    (cd "$PLACE/campus" && HOME=$PLACE/campus timeout 60 setpriv --reuid 65534 --regid 65534 --clear-groups \
        "$MAINS" "$1" "${@:2}" --state "$CAMPUS" 3>&-)
}
campus_pid() { tr -dc 0-9 <"$CAMPUS/lock"; }
campus_agent() { agent_of "$(campus_pid)"; }
agent_is_there() { kill -0 "$(campus_pid)" 2>/dev/null; }
# Processes of the job at campus, on whatever node.
none_alive() { ! pgrep -f "attempts/$JOB\.1/script/run" >/dev/null; }
@test "a job is moved off Slurm: it goes on from the checkpoint that it was asked for" {
    GRACE=30s SAVING=3 begin # longer than from one look at Slurm's queue to the next
    wait_for 20 counts
    wait_for 20 "$MAINS" move "$JOB" --to lab --reason "a test" --state "$STATE"
    wait_for 60 beats lab
    never_twice
    is .epoch 2
    wait_for 20 is .attempts[0].outcome moved
    [ "$(awk '$1 == "lab" {print $3; exit}' "$PLACE/beats/$JOB")" -gt 0 ]
    wait_for 20 slurm_lacks "$JOB"
}

@test "the agent and its parent are killed: the guard ends the job, it goes on elsewhere, once" {
    DEAF="trap '' TERM" begin --on-unreachable move
    sleep 10 # longer than a lease: it is renewed
    is .epoch 1
    kill -9 "$(campus_pid)" "$(campus_agent)"
    wait_for 40 beats lab
    never_twice
    is .epoch 2
    wait_for 20 is .attempts[0].outcome lease
    campus join --executor slurm --detach >/dev/null
    wait_for 60 heard
    sleep 1
    never_twice
    is .state running
    is .epoch 2
}

@test "a gang over two nodes, Slurm's own controller away: every rank ends" {
    DEAF="trap '' TERM" begin --on-unreachable move --tasks 4 --cpus 8
    all_four() { [ "$(awk '{print $4}' "$PLACE/beats/$JOB" | sort -u | wc -l)" -eq 4 ]; }
    wait_for 30 all_four
    kill -9 "$(campus_pid)" "$(campus_agent)"
    kill -STOP "$(cat "$PLACE/c/run/slurmctld.pid")"
    echo stopped >"$PLACE/ctld"
    run wait_for 60 none_alive
    kill -CONT "$(cat "$PLACE/c/run/slurmctld.pid")"
    [ "$status" -eq 0 ]
}

@test "drained with --move, what saves checkpoints leaves" {
    begin
    run "$MAINS" site drain campus --move --state "$STATE"
    [ "$status" -eq 0 ]
    wait_for 60 beats lab
    never_twice
    "$MAINS" site resume campus --state "$STATE" >/dev/null
}

@test "a job that waits in Slurm's queue when the lease ends never begins there" {
    sbatch -o /dev/null --exclusive -N 2 --wrap 'sleep 300' >&2
    wait_for 20 sh -c '[ "$(squeue -h -t running -n wrap -o %i | wc -l)" -eq 1 ]'
    JOB=$("$MAINS" submit --state "$STATE" --json --on-unreachable move -- \
        sh -c "echo \$MAINS_SITE 0 >>$PLACE/beats/\$MAINS_JOB_ID" | jq -r .id)
    wait_for 30 sh -c "squeue -h -t pending -o %j | grep -q -- '-$JOB\.'"
    kill -9 "$(campus_pid)" "$(campus_agent)"
    "$MAINS" site resume lab --state "$STATE" >/dev/null
    wait_for 40 is .state done
    scancel --name=wrap
    campus join --executor slurm --detach >/dev/null
    wait_for 60 heard
    wait_for 30 sh -c "! squeue -h -o %j | grep -q -- '-$JOB\.'"
    [ "$(cat "$PLACE/beats/$JOB")" = "lab 0" ]
}
