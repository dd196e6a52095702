#!/usr/bin/env bats
# Tariffs over time and cuts, as a user sees them.

bats_require_minimum_version 1.5.0
load common

setup_file() {
    network_start
    SITE=$("$MAINS" nodes --state "$STATE" --json | jq -r '[.. | .site? // empty][0]')
    export SITE
}
teardown_file() { network_stop; }
setup() { TOKEN=$(cat "$STATE/admin.token"); }

mains() { MAINS_STATE=$STATE "$MAINS" "$@"; }

prices() { # prices HOUR...: 36 hours from this one on, those cheap
    local from=$(($(date +%s) / 3600 * 3600)) hour
    echo time,price
    for hour in $(seq 0 35); do
        case " $* " in *" $hour "*) echo "$((from + hour * 3600)),0.05" ;;
            *) echo "$((from + hour * 3600)),0.40" ;; esac
    done
}

@test "a job with time to spare waits for the cheap hour, says so, and one in a hurry does not" {
    prices 6 7 >"$BATS_TEST_TMPDIR/p.csv"
    mains site tariff "$SITE" "$BATS_TEST_TMPDIR/p.csv"
    printf 'run: "true"\nduration: 30m\ndeadline: 12h\nobjective: cheapest\n' >"$BATS_TEST_TMPDIR/j.yaml"
    mains plan "$BATS_TEST_TMPDIR/j.yaml" | grep -q 'instead of 0.400'
    run api POST /api/v1/jobs '{"run":"true","duration":"30m","deadline":"12h","objective":"cheapest"}'
    id=$(echo "${lines[0]}" | jq -r .id)
    mains why "$id" | grep -q 'a kWh at 0.050.*instead of 0.400.*objective: fastest starts it now'
    run api GET "/api/v1/jobs/$id"
    [ "$(echo "${lines[0]}" | jq -r .state)" = held ]
    mains run -- true
    mains cancel "$id"
}

@test "a tariff that is wrong gives one line and changes nothing" {
    before=$(mains site tariff "$SITE" --json | jq -c .rows)
    printf 'time,price\n2026-01-01T00:00:00Z,abc\n' >"$BATS_TEST_TMPDIR/bad.csv"
    run ! mains site tariff "$SITE" "$BATS_TEST_TMPDIR/bad.csv"
    [[ "$output" == *'bad.csv:2: price "abc": expected a number'* ]]
    [ "${#lines[@]}" = 1 ]
    run ! mains site tariff "$SITE" --green 3
    run ! mains site tariff nowhere --price 1
    run ! mains site shed "$SITE" --percent 25 --for 32d
    [ "$output" = 'mains: --for: expected more than 0 and at most 31 days, not "32d"' ]
    for within in 0s 60d; do
        run ! mains site shed "$SITE" --percent 25 --for 1h --within $within
        [ "$output" = "mains: --within: expected more than 0 and at most 31 days, not \"$within\"" ]
    done
    [ "$(mains site tariff "$SITE" --json | jq -c .rows)" = "$before" ]
}

@test "a cut stops what runs, which goes on afterwards" {
    run api POST /api/v1/jobs '{"run":"sleep 910041","resources":{"cpus":1}}'
    id=$(echo "${lines[0]}" | jq -r .id)
    state() { [ "$(api GET "/api/v1/jobs/$id" | head -n 1 | jq -r .state)" = "$1" ]; }
    wait_for 20 state running
    mains site shed "$SITE" --percent 100 --for 1h --within 1m
    wait_for 30 state held
    mains why "$id" | grep -q 'must draw less'
    mains site shed "$SITE" --end
    wait_for 20 state running
    mains cancel "$id"
    mains site tariff "$SITE" --clear
}
