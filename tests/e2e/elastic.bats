#!/usr/bin/env bats
# Elastic jobs grow into what is idle and shrink for who waits, and go on from what they saved;
# gangs with spare nodes go on without the node that is closed under them.

load common
. "$BATS_TEST_DIRNAME/fleet.sh"

setup_file() {
    network_start --listen 127.0.0.2:0 --tls --sandbox-off --cpus 4 --site home
    export TOKEN WHERE="$(dirname "$STATE")"
    mkdir -m 777 "$WHERE/once"
    cat >"$WHERE/train.yaml" <<'JOB'
name: train
tasks: 1
elastic: {max: 4, hold: 1s}
resources: {cpus: 1}
checkpoint: {path: step, signal: USR1}
grace: 5s
run: |
  # Rank 0 counts and saves each step; the others stand by. Two runs at once would meet at $ONCE.
  [ "$MAINS_RANK" = 0 ] || exec sleep 600
  mkdir "$ONCE/train" || { echo "runs twice"; exit 3; }
  trap 'rmdir "$ONCE/train"; exit 143' TERM
  trap : USR1
  step=$(cat step 2>/dev/null || echo 0)
  echo "width $MAINS_TASKS from step $step"
  while [ ! -e "$ONCE/stop" ]; do
    step=$((step + 1))
    echo $step >step.new && mv step.new step
    sleep 0.1
  done
  echo "ended at step $step"
  rmdir "$ONCE/train"
JOB
}
teardown_file() {
    fleet_place=$WHERE fleet_count=1 fleet_down 2>/dev/null || :
    network_stop
}

show() { "$MAINS" show "$1" --state "$STATE" --json; }
is() { [ "$(show "$1" | jq -r .state)" = "$2" ]; }
width() { show "$1" | jq '[.allocation.parts[]?.tasks] | add // 0'; }
runs_on() { is "$1" running && [ "$(width "$1")" = "$2" ]; }
hog() { "$MAINS" submit -q --state "$STATE" --cpus "$1" -- sleep 600; }
# Its shell stands with its traps at that width, and it has counted: what is asked of it now it hears.
begun() { "$MAINS" logs --state "$STATE" "$1" | grep -q "^width $2 from" && sleep 1; }
says() { "$MAINS" why --state "$STATE" "$1" | grep -q "$2"; }
steps() { "$MAINS" logs --state "$STATE" "$1" | grep -c "$2"; }

@test "what cannot go on is not elastic, in one line" {
    printf 'run: sleep 1\ntasks: 2\nelastic: {max: 4}\n' >"$WHERE/bad.yaml"
    run "$MAINS" submit --state "$STATE" "$WHERE/bad.yaml"
    [ "$status" -ne 0 ]
    [ "${#lines[@]}" -eq 1 ]
    grep -q 'elastic: expected checkpoint.path: from there it goes on at its new width' <<<"$output"
    printf 'run: sleep 1\nspares: 1\n' >"$WHERE/bad.yaml"
    run "$MAINS" submit --state "$STATE" "$WHERE/bad.yaml"
    [ "$status" -ne 0 ]
    grep -q 'spares: expected checkpoint.path' <<<"$output"
    id=$("$MAINS" submit -q --state "$STATE" -- true)
    run "$MAINS" resize --state "$STATE" "$id" --tasks 2
    [ "$status" -ne 0 ]
    run "$MAINS" resize --state "$STATE" "$id" --tasks many
    [ "$status" -ne 0 ]
    grep -q 'expected --tasks N, or --tasks auto' <<<"$output"
}

@test "a job grows when the machine is idle, shrinks when another comes, and its progress is kept" {
    hog=$(hog 3)
    wait_for 30 is "$hog" running
    id=$("$MAINS" submit -q --state "$STATE" --env=ONCE="$WHERE/once" "$WHERE/train.yaml")
    wait_for 30 runs_on "$id" 1
    wait_for 30 begun "$id" 1
    run "$MAINS" cancel --state "$STATE" "$hog"
    wait_for 60 runs_on "$id" 4
    wait_for 30 begun "$id" 4
    says "$id" 'on 4 of 1 to 4 tasks'
    hog=$(hog 2)
    wait_for 60 runs_on "$id" 2
    wait_for 30 begun "$id" 2
    wait_for 30 is "$hog" running
    # As its user wants, whatever is idle.
    "$MAINS" resize --state "$STATE" "$id" --tasks 1
    wait_for 30 runs_on "$id" 1
    says "$id" 'no more than 1 as its user wants'
    run "$MAINS" show --state "$STATE" "$id"
    grep -q '^width  *1 of 1 to 4 tasks, no more than 1$' <<<"$output"
    run "$MAINS" resize --state "$STATE" "$id" --tasks 9
    [ "$status" -ne 0 ]
    grep -q 'runs on 1 to 4 tasks' <<<"$output"
    touch "$WHERE/once/stop"
    "$MAINS" wait --state "$STATE" "$id"
    "$MAINS" cancel --state "$STATE" "$hog"
    "$MAINS" logs --state "$STATE" "$id" | tee "$BATS_TEST_TMPDIR/log"
    [ "$(grep -o '^width [0-9]*' "$BATS_TEST_TMPDIR/log" | tr '\n' ' ')" = "width 1 width 4 width 2 width 1 " ]
    # Each begins where the one before had saved.
    grep -o 'step [0-9]*' "$BATS_TEST_TMPDIR/log" | awk '$2 < last || (NR > 1 && !$2) { bad = 1 } { last = $2 } END { exit bad || last < 10 }'
    show "$id" | jq -c '[.attempts[].outcome], .exit_code'
    [ "$(show "$id" | jq -c '[.attempts[].outcome]')" = '["resized","resized","resized","exited"]' ]
}

spares() { show "$1" | jq '.allocation.spares // [] | length'; }

@test "a gang with a spare node goes on without the node that is closed" {
    mkdir "$WHERE/fleet"
    fleet_join "$STATE" "$WHERE" 1 4 8 "run: 10m"
    cat >"$WHERE/long.yaml" <<'JOB'
name: long
tasks: 2
spares: 1
where: {sites: {allow: [s1]}}
resources: {cpus: 8, devices: 8}
checkpoint: {path: state, signal: USR1}
run: train
JOB
    id=$("$MAINS" submit -q --state "$STATE" "$WHERE/long.yaml")
    wait_for 60 runs_on "$id" 2
    [ "$(spares "$id")" -eq 1 ]
    says "$id" 'on 2 tasks with 1 spare node'
    node=$(show "$id" | jq -r '.allocation.parts[0].node')
    spare=$(show "$id" | jq -r '.allocation.spares[0]')
    run "$MAINS" show --state "$STATE" "$id"
    grep -q "^spares  *$spare\$" <<<"$output"
    "$MAINS" site cordon-node --state "$STATE" s1 "$node" --reason "ECC errors"
    attempt_2() { show "$id" | jq -e '.epoch == 2 and .state == "running"' >/dev/null; }
    wait_for 60 attempt_2
    [ "$(width "$id")" -eq 2 ]
    [ "$(show "$id" | jq --arg n "$node" '[.allocation.parts[].node | select(. == $n)] | length')" -eq 0 ]
    resized() { [ "$(show "$id" | jq -c '[.attempts[].outcome]')" = '["resized"]' ]; } # once it is in the history
    wait_for 20 resized
    # The node that was free stands by now.
    [ "$(spares "$id")" -eq 1 ]
    # Held and billed with it: 3 nodes of 8 devices while it ran on 2.
    [ "$(show "$id" | jq '.attempts[0].usage | .device_milli_ms / .wall_ms')" -eq 24000 ]
    "$MAINS" cancel --state "$STATE" "$id"
}
