#!/usr/bin/env bats
# A site must draw less: what runs stands still in place, and goes on without having lost anything.

bats_require_minimum_version 1.5.0
load common

setup_file() {
    network_start
    SITE=$("$MAINS" nodes --state "$STATE" --json | jq -r '[.. | .site? // empty][0]')
    export SITE
}
teardown_file() { network_stop; }
setup() { TOKEN=$(cat "$STATE/admin.token"); }
teardown() {
    mains site shed "$SITE" --end >/dev/null 2>&1 || :
    mains site tariff "$SITE" --clear >/dev/null 2>&1 || :
    mains cancel --all -q || : # what a test that failed has left
}

mains() { MAINS_STATE=$STATE "$MAINS" "$@"; }
job() { api GET "/api/v1/jobs/$1" | head -n 1; }
is() { [ "$(job "$1" | jq -r "$2")" = "$3" ]; } # is JOB FILTER VALUE
mark() { echo $((910000000 + RANDOM * 1000 + RANDOM % 1000)); }

# A job of three processes that counts in tenths of a second, to NUMBER; prints its id.
count() { # count MARK NUMBER [more of the spec]
    mains submit --name count - <<JOB | grep -o '[0-9]\+' | head -n 1
run: |
  sleep $1 &
  (sleep $1 & wait) &
  for n in \$(seq $2); do echo \$n; sleep 0.1; done
  kill %1 %2
  echo counted
resources: {cpus: 1}
${3-}
JOB
}
counted() { mains logs "$1" | grep -c '^[0-9]'; }
counts() { [ "$(counted "$1")" -gt "$2" ]; } # counts JOB NUMBER: further than that
stands() { # it does not count for half a second
    local before
    before=$(counted "$1")
    sleep 0.5
    [ "$(counted "$1")" = "$before" ]
}
less_power() { mains site tariff "$SITE" --json | jq -e '.draw_mw <= .limit_mw' >/dev/null; }
hold() { # hold JOB: it counts, then it stands
    wait_for 20 counts "$1" 2
    mains site shed "$SITE" --percent 25 --for 1h --within 1m
    wait_for 20 less_power
    wait_for 20 is "$1" .suspended true
    wait_for 20 stands "$1"
}
left() { pgrep -f "sleep $1"; }

@test "a cut holds work still where it is, says so, and it goes on from where it stood" {
    id=$(count "$(mark)" 100)
    hold "$id"
    is "$id" .state running
    is "$id" .suspended true
    job "$id" | jq -r .reason | grep -q '^suspended: site .* must draw 25.0 % less'
    mains why "$id" | grep -q 'suspended'
    mains ps | grep "^$id " | grep -q 'running.*suspended'
    mains site shed "$SITE" --end
    wait_for 20 is "$id" .suspended false
    wait_for 40 is "$id" .state done
    is "$id" .epoch 1
    [ "$(counted "$id")" = 100 ]
    mains logs "$id" | grep -q '^counted'
}

@test "its time limit does not run while it stands" {
    id=$(count "$(mark)" 3000 'duration: 15s')
    hold "$id"
    sleep 15
    is "$id" .state running
    mains site shed "$SITE" --end
    wait_for 40 is "$id" .state failed
    is "$id" .outcome time_limit
    [ "$(counted "$id")" -gt 15 ]
}

@test "killed while it stands: controller and agent find it so, and it goes on" {
    m=$(mark)
    id=$(count "$m" 3000)
    hold "$id"
    before=$(counted "$id")
    kill -9 "$(agent_pid)" "$(controller_pid)"
    wait_for 60 is "$id" .suspended true
    wait_for 60 less_power
    same() { [ "$(counted "$id")" = "$before" ]; }
    wait_for 60 same # its site is heard again
    stands "$id"
    same
    kill -9 "$(agent_pid)"
    mains site shed "$SITE" --end # nobody is there to be told
    wait_for 60 counts "$id" "$before"
    is "$id" .epoch 1
    mains cancel "$id"
    wait_for 20 is "$id" .state cancelled
}

@test "cancelled while it stands: it ends, and nothing is left of it" {
    m=$(mark)
    id=$(count "$m" 3000)
    hold "$id"
    mains cancel "$id"
    wait_for 20 is "$id" .state cancelled
    refute left "$m"
}

@test "its supervisor is killed while it stands: nothing is left standing" {
    m=$(mark)
    id=$(count "$m" 3000 'requeue_on_loss: false')
    hold "$id"
    kill -9 "$(awk 'NR == 1 {print $1}' "$STATE/agent/attempts/$id.1/run")"
    wait_for 30 is "$id" .state failed
    wait_for 20 refute left "$m"
}
