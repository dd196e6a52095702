#!/usr/bin/env bats
# A site that is cut off, in all ways that there are: what must not run twice never does, what may go
# on goes on, and what was used in the dark comes to the books.

load common

setup_file() {
    network_start --listen 127.0.0.2:0 --tls --site home --sandbox-off --lease "${LEASE_TEST:-9s}"
    export TOKEN
    BASE=$(dirname "$STATE")
    export BASE OTHER="$BASE/other"
    echo open >"$BASE/link"
    python3 "$BATS_TEST_DIRNAME/cases/link.py" "$(endpoint | sed 's|.*//||')" "$BASE/link" "$BASE/port" \
        >"$BASE/link.log" 2>&1 3>&- &
    echo $! >"$BASE/link.pid"
    wait_for 10 test -s "$BASE/port"
    "$MAINS" site token lab --address "127.0.0.1:$(cat "$BASE/port")" --state "$STATE" |
        sed 's/^mains join //' | xargs -I{} "$MAINS" join {} --state "$OTHER" --detach --sandbox-off
    # Only through the link: the other addresses of the token are not to be tried.
    "$MAINS" down --state "$OTHER"
    jq '.urls |= map(select(contains(":'"$(cat "$BASE/port")"'")))' "$OTHER/joined.json" >"$BASE/joined.json"
    cat "$BASE/joined.json" >"$OTHER/joined.json"
    "$MAINS" join --state "$OTHER" --detach --sandbox-off
    wait_for 20 heard lab
}
teardown_file() {
    echo open >"$BASE/link"
    "$MAINS" down --state "$OTHER" >/dev/null 2>&1 || :
    kill "$(cat "$BASE/link.pid")" 2>/dev/null || :
    network_stop
}
teardown() {
    local agent
    echo open >"$BASE/link"
    agent=$(cat "$BASE/stopped" 2>/dev/null) && kill -CONT "$agent" 2>/dev/null
    rm -f "$BASE/stopped"
    "$MAINS" cancel --all -q --state "$STATE" || :
    "$MAINS" site resume home --state "$STATE" >/dev/null
    wait_for 30 heard lab
    wait_for 60 nothing_live
}

site() { "$MAINS" site show "$1" --state "$STATE" --json | jq -r "$2"; }
heard() { [ "$(site "$1" .connected)" = true ]; }
unheard() { [ "$(site "$1" .reachable)" = false ]; }
over() { [ "$(site "$1" .lease.state)" = over ]; }
nothing_live() { [ "$("$MAINS" ps --state "$STATE" --json | jq 'length')" -eq 0 ]; }
job() { "$MAINS" show "$1" --state "$STATE" --json | jq -r "$2"; }
is() { [ "$(job "$1" "$2")" = "$3" ]; }
lab_agent() { agent_of "$(tr -dc 0-9 <"$OTHER/lock")"; }

# begin WHAT [options]: a job at lab that says ten times a second where it is, deaf to SIGTERM; it
# may go to home from then on.
begin() {
    local on=$1
    shift
    "$MAINS" site drain home --state "$STATE" >/dev/null
    JOB=$("$MAINS" submit --state "$STATE" --json --grace 1s --on-unreachable "$on" "$@" -- sh -c '
        trap "" TERM
        i=0
        while [ $i -lt '"${BEATS:-1000000}"' ]; do
            read -r up _ </proc/uptime
            echo "$MAINS_SITE $up" >>'"$BASE"'/beats.$MAINS_JOB_ID
            sleep 0.1
            i=$((i + 1))
        done' | jq -r .id)
    wait_for 20 beats lab
    "$MAINS" site resume home --state "$STATE" >/dev/null
}
beats() { grep -q "^$1 " "$BASE/beats.$JOB" 2>/dev/null; }
# The last word of lab came before the first of home.
never_twice() {
    awk '$1 == "lab" {last = $2} $1 == "home" && !first {first = $2}
         END {exit !(first && last < first)}' "$BASE/beats.$JOB"
}
count() { grep -c "^$1 " "$BASE/beats.$JOB" || :; }
is_past() { [ "$(count "$1")" -gt "$2" ]; }
grows() { wait_for 10 is_past "$1" "$(count "$1")"; } # grows SITE: it is still at it

@test "a link that is down for less than the lease changes nothing" {
    begin move
    echo down >"$BASE/link"
    sleep 3
    echo open >"$BASE/link"
    wait_for 30 heard lab
    sleep 5
    grows lab
    is "$JOB" .state running
    is "$JOB" ".attempts | length" 0
    is "$JOB" .epoch 1
    [ "$(count home)" -eq 0 ]
}

@test "down for longer, a job that waits goes on, and its end is told once" {
    BEATS=240 begin wait
    echo down >"$BASE/link"
    wait_for 30 over lab
    grows lab
    is "$JOB" .state running
    [[ $("$MAINS" why "$JOB" --state "$STATE") == *"it goes on there"* ]]
    ended_there() { [ "$(count lab)" -ge 240 ]; }
    wait_for 30 ended_there
    echo open >"$BASE/link"
    wait_for 40 is "$JOB" .state done
    is "$JOB" ".attempts | length" 1
    is "$JOB" .attempts[0].outcome exited
    [ "$(count lab)" -eq 240 ]
    [ "$(count home)" -eq 0 ]
}

@test "down for longer, a job that moves is stopped by the site, and goes on elsewhere" {
    begin move
    echo down >"$BASE/link"
    wait_for 30 unheard lab
    [[ $("$MAINS" why "$JOB" --state "$STATE") == *"its lease ends"* ]]
    wait_for 40 beats home
    never_twice
    is "$JOB" .epoch 2
    wait_for 20 is "$JOB" .attempts[0].outcome lease
    before=$(job "$JOB" .attempts[0].usage.cpu_ms)
    # What it used in the dark comes when the link is open again, and nothing else changes.
    echo open >"$BASE/link"
    wait_for 40 heard lab
    settled() { [ "$(job "$JOB" .attempts[0].usage.cpu_ms)" -gt "$before" ]; }
    wait_for 20 settled
    grows home
    is "$JOB" .state running
    is "$JOB" .epoch 2
    never_twice
    [ "$(sqlite3 "$STATE/history.db" "SELECT count(*) FROM attempts WHERE job_id = $JOB")" -eq 1 ]
    "$MAINS" cancel "$JOB" -q --state "$STATE"
    wait_for 40 is "$JOB" .state cancelled
    # Bills are the ledger: the job's sums are those of its attempts.
    [ "$(sqlite3 "$STATE/history.db" "SELECT cpu_ms, energy_mj, price_micro FROM jobs WHERE id = $JOB")" = \
        "$(sqlite3 "$STATE/history.db" "SELECT sum(cpu_ms), sum(energy_mj), sum(price_micro) FROM attempts WHERE job_id = $JOB")" ]
}

@test "what the site has to say is lost, though it hears: the same" {
    begin move
    echo up-lost >"$BASE/link"
    wait_for 40 beats home
    never_twice
}

@test "the agent is frozen: its supervisors see the lease end" {
    begin move
    agent=$(lab_agent)
    echo "$agent" >"$BASE/stopped"
    kill -STOP "$agent"
    wait_for 40 beats home
    never_twice
    kill -CONT "$agent"
    wait_for 40 heard lab
    sleep 2
    grows home
    never_twice
}

@test "the agent is killed in the dark: the same" {
    begin move
    echo down >"$BASE/link"
    sleep 1
    kill -9 "$(lab_agent)"
    wait_for 40 beats home
    never_twice
    echo open >"$BASE/link"
    wait_for 40 heard lab
    sleep 1
    grows home
    never_twice
}

@test "the agent and its parent are killed in the dark, and come back after the lease" {
    begin move
    echo down >"$BASE/link"
    parent=$(tr -dc 0-9 <"$OTHER/lock")
    agent=$(lab_agent)
    kill -9 "$parent" "$agent"
    wait_for 40 beats home
    never_twice
    echo open >"$BASE/link"
    "$MAINS" join --state "$OTHER" --detach --sandbox-off
    wait_for 40 heard lab
    sleep 1
    is "$JOB" .epoch 2
    never_twice
}

@test "the controller is killed in the dark: it counts a whole lease from its start" {
    begin move
    echo down >"$BASE/link"
    sleep 2
    kill -9 "$(controller_pid)"
    wait_for 60 beats home
    never_twice
    echo open >"$BASE/link"
    wait_for 40 heard lab
    is "$JOB" .epoch 2
    wait_for 20 is "$JOB" .attempts[0].outcome lease
}

# One that counts in a checkpoint, on SIGUSR1 and when it is told to.
saver() {
    "$MAINS" site drain home --state "$STATE" >/dev/null
    cat >"$BATS_TEST_TMPDIR/job.yaml" <<YAML
run: |
  n=\$(cat ck/n 2>/dev/null || echo 0)
  mkdir -p ck
  trap 'echo \$n >ck/n' USR1
  while :; do
      read -r up _ </proc/uptime
      echo "\$MAINS_SITE \$up \$n" >>$BASE/beats.\$MAINS_JOB_ID
      n=\$((n + 1))
      sleep 0.1 & wait \$!
  done
checkpoint: {path: ck, signal: USR1}
grace: 30s
YAML
    JOB=$("$MAINS" submit --state "$STATE" --json "$BATS_TEST_TMPDIR/job.yaml" | jq -r .id)
    wait_for 20 beats lab
    "$MAINS" site resume home --state "$STATE" >/dev/null
}

@test "a job is moved: it goes on there from the checkpoint that it was asked for" {
    saver
    wait_for 20 is_past lab 3
    run "$MAINS" move "$JOB" --to lab --state "$STATE"
    [ "$status" -eq 0 ] # it is there
    run "$MAINS" move "$JOB" --to nowhere --state "$STATE"
    [ "$status" -eq 1 ]
    [[ $output == *"no site nowhere"* ]]
    wait_for 20 "$MAINS" move "$JOB" --to home --reason "a test" --state "$STATE"
    wait_for 60 beats home
    never_twice
    is "$JOB" .epoch 2
    wait_for 20 is "$JOB" .attempts[0].outcome moved
    [ "$(awk '$1 == "home" {print $3; exit}' "$BASE/beats.$JOB")" -gt 0 ]
    [ "$(sqlite3 "$STATE/history.db" "SELECT outcome FROM attempts_readable WHERE job_id = $JOB")" = moved ]
}

@test "a site is drained, and what saves checkpoints moves" {
    saver
    moving=$JOB
    "$MAINS" site drain home --state "$STATE" >/dev/null
    stays=$("$MAINS" submit --state "$STATE" --json --grace 1s -- sleep 1000 | jq -r .id)
    wait_for 20 is "$stays" .state running
    "$MAINS" site resume home --state "$STATE" >/dev/null
    run "$MAINS" site drain lab --move --state "$STATE"
    [ "$status" -eq 0 ]
    [[ $output == *"1 job there goes on, 1 moves"* ]]
    JOB=$moving
    wait_for 60 beats home
    never_twice
    is "$stays" .state running
    "$MAINS" site resume lab --state "$STATE" >/dev/null
    run "$MAINS" move "$stays" --state "$STATE"
    [ "$status" -eq 1 ]
    [[ $output == *"saves no checkpoint"* ]]
}

@test "a lease is refused that is too short, or no time" {
    for bad in 1s 1 x 400d; do
        run "$MAINS" up --lease "$bad" --state "$BATS_TEST_TMPDIR/x"
        [ "$status" -eq 2 ]
        [[ $output == *"--lease"* ]]
    done
    run "$MAINS" submit --state "$STATE" --on-unreachable sometimes -- true
    [ "$status" -ne 0 ]
}
