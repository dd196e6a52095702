#!/usr/bin/env bats
# What the network may do to a site, all of it at once, each to a site of its own:
#   brief   cut for less than a session lasts      cut     cut for longer
#   mute    what it says is lost                   deaf    what it is told is lost
#   lossy   30 % of all packets are lost           far     2 s there and back, for good
#   broken  cut, and its agent is killed           clock   its clock is set an hour ahead, then back
# and in a second round the controller is killed while they are cut off, and its own clock is set.
# Jobs that may not move are where they were, whatever it takes; those that may go elsewhere when, and
# only when, the lease is surely over. None runs twice, no exit and no usage is lost.
# MAINS_ROUNDS says how often (1).

load common
load lab.bash

SITES="brief cut mute deaf lossy far broken clock"

setup_file() {
    lab_need
    export LAB_CLOCKS=1
    lab_start --lease 15s
    lab_need_nft
    for name in brief cut mute deaf lossy broken clock; do lab_site "$name" --cpus 6; done
    lab_far far --cpus 6
    lab_shape far latency 1000
}
teardown_file() { lab_stop; }

at() { # at SITE BODY: a job that runs there, and only there
    lab_submit "$2" "{name: \"$1\", where: {sites: {allow: [\"$1\"]}}}"
}
until_file() { echo "while [ ! -e $LAB_DIR/$1 ]; do sleep 0.1; done"; }
elsewhere() { lab_mains show --json "$1" | jq -e '.epoch == 2 and .state == "running"' >/dev/null; }
running() { lab_is "$1" running; }
# ended ID CODE: once, as it should
ended_once() {
    lab_mains show --json "$1" | jq -e --argjson code "$2" \
        '.exit_code == $code and (.attempts | length == 1) and .attempts[0].outcome == "exited"' >/dev/null && return
    lab_mains show "$1"
    return 1
}

every_fault() {
    declare -gA short long late mover
    rm -f "$LAB_DIR/dark" "$LAB_DIR/light"
    for name in $SITES; do
        mover[$name]=$(lab_submit "while [ ! -e $LAB_DIR/light ]; do read -r up rest </proc/uptime; echo \"tick \$up\" >>\"\$s\"; sleep 0.2; done; exit 4" \
            "{name: \"$name\", on_unreachable: \"move\", where: {sites: {allow: [\"$name\", \"hub\"]}}}")
        short[$name]=$(at "$name" "$(until_file dark); exit 3")
        long[$name]=$(at "$name" 'i=0; while [ $i -lt 25 ]; do echo "step $i"; sleep 1; i=$((i + 1)); done; exit 5')
    done
    for name in $SITES; do wait_for 60 running "${long[$name]}"; wait_for 60 running "${mover[$name]}"; done
    lab_mains site resume hub
    for name in brief cut broken; do lab_cut "$name"; done
    lab_drop mute out 100
    lab_drop deaf in 100
    lab_drop lossy both 30
    lab_clock clock 3600
    for name in $SITES; do late[$name]=$(at "$name" 'exit 7'); done
    kill -9 "$(lab_agent_pid broken)"
    touch "$LAB_DIR/dark"
    sleep 4
    lab_mend brief
    for name in cut mute deaf broken; do wait_for 60 lab_alone "$name"; done
    lab_clock clock 0
    for name in cut mute deaf broken; do wait_for 90 elsewhere "${mover[$name]}"; done
    touch "$LAB_DIR/light"
    # The short ones have ended meanwhile, and nobody could tell.
    for name in cut mute broken; do lab_is "${short[$name]}" running; done
    for name in cut broken; do lab_mend "$name"; done
    lab_pass mute
    lab_pass deaf
    wait_for 120 lab_quiet || { lab_mains ps; lab_mains sites; false; }
    lab_pass lossy
    for name in $SITES; do
        echo "$name"
        ended_once "${short[$name]}" 3
        ended_once "${long[$name]}" 5
        ended_once "${late[$name]}" 7
        [ "$(lab_mains logs "${long[$name]}" | wc -l)" -eq 25 ]
        sites=$(lab_mains show --json "${mover[$name]}" | jq -c '[.exit_code, (.attempts | map([.site, .outcome]))]')
        case $name in
        cut | mute | deaf | broken) [ "$sites" = "[4,[[\"$name\",\"lease\"],[\"hub\",\"exited\"]]]" ] ;;
        # Its session broke off, perhaps for as long as a lease: then it moved, as it said it may.
        lossy) lab_is "${mover[lossy]}" failed ;;
        *) [ "$sites" = "[4,[[\"$name\",\"exited\"]]]" ] ;;
        esac || { echo "$sites"; false; }
    done
    lab_mains site drain hub
}

@test "every fault at once: what runs runs on or, where it may, elsewhere; what ends in the dark is told later" {
    for round in $(seq "${MAINS_ROUNDS:-1}"); do every_fault; done
}

@test "30 % loss and 2 s there and back: work goes on all the while" {
    # The session of neither broke off so often that nothing was done.
    lab_drop lossy both 30
    for name in lossy far; do
        id=$(at "$name" 'echo out; exit 6')
        run timeout 90 nsenter --net="/run/netns/mains-$LAB-ctl" -- "$MAINS" wait --state "$STATE" "$id"
        [ "$status" -eq 6 ]
        [ "$(lab_mains logs "$id")" = out ]
    done
    lab_pass lossy
    # A far site's line holds still for a while, one way and the other, then is torn.
    id=$(at far 'sleep 12; exit 8')
    wait_for 60 running "$id"
    lab_shape far stall up
    sleep 3
    lab_shape far stall down
    sleep 3
    lab_shape far go
    lab_shape far reset
    run timeout 90 nsenter --net="/run/netns/mains-$LAB-ctl" -- "$MAINS" wait --state "$STATE" "$id"
    [ "$status" -eq 8 ]
    ended_once "$id" 8
}

@test "the controller is killed while sites are cut off" {
    declare -gA short long
    for name in cut mute broken brief; do
        short[$name]=$(at "$name" "$(until_file gone); exit 3")
        long[$name]=$(at "$name" 'sleep 14; exit 5')
    done
    for name in cut mute broken brief; do wait_for 60 running "${long[$name]}"; done
    lab_cut cut
    lab_cut broken
    lab_drop mute out 100
    kill -9 "$(lab_controller_pid)"
    touch "$LAB_DIR/gone"
    kill -9 "$(lab_agent_pid broken)"
    sleep 5
    wait_for 30 lab_connected brief
    kill -9 "$(lab_controller_pid)"
    lab_mend cut
    lab_mend broken
    lab_pass mute
    wait_for 90 lab_quiet || { lab_mains ps; lab_mains sites; false; }
    for name in cut mute broken brief; do
        ended_once "${short[$name]}" 3
        ended_once "${long[$name]}" 5
    done
}

@test "the controller's clock is set an hour ahead and an hour back: nobody is billed for it" {
    id=$(at brief 'sleep 8; exit 4')
    wait_for 60 running "$id"
    lab_clock ctl 3600
    sleep 2
    lab_clock ctl -3600
    # A site that comes anew still gets in: its certificate is no later than its network.
    kill -9 "$(lab_agent_pid brief)"
    wait_for 60 lab_quiet
    lab_clock ctl 0
    ended_once "$id" 4
    lab_mains show --json "$id" | jq -e '.usage.wall_ms | . >= 7500 and . < 60000' >/dev/null
    wait_for 30 lab_connected brief
    id=$(at brief 'exit 9')
    run lab_mains wait "$id"
    [ "$status" -eq 9 ]
}

@test "the books say what the jobs stamped" {
    lab_books
    [ "$(lab_mains ledger disputes --json | jq length)" -eq 0 ]
    lab_mains down >&2
    "$MAINS" journal verify --state "$STATE"
}
