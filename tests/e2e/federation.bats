#!/usr/bin/env bats
# 60 sites with 100,000 devices that are made up, under one controller by the real protocol: each
# joins with a token of its own, works, and the agents of ten die, hang and come back meanwhile.

load common
. "$BATS_TEST_DIRNAME/fleet.sh"

SITES=${MAINS_FLEET_SITES:-60}
NODES=${MAINS_FLEET_NODES:-209} # of 8 devices, each site
SECONDS_OF_WORK=${MAINS_FLEET_SECONDS:-10}
KINDS=$((SITES < 20 ? SITES : 20)) # of chips
ELEMENTS=$((200 / KINDS)) # 200 jobs a second, and a gang

setup_file() {
    network_start --listen 127.0.0.2:0 --tls --site home --sandbox-off
    export TOKEN FLEET="$(dirname "$STATE")/fleet"
    mkdir "$FLEET"
    fleet_join "$STATE" "$FLEET" "$SITES" "$NODES" 8 "run: 2s, spread: uniform, failures: 0.02" >&2
}
teardown_file() {
    fleet_place=$FLEET fleet_count=$SITES
    fleet_down
    "$MAINS" down --state "$STATE" || : # where a test failed jobs may live, and nobody can end them
    network_stop
}
setup() { fleet_place=$FLEET; }

are_connected() { [ "$("$MAINS" sites --state "$STATE" --json | jq '[.[] | select(.connected)] | length')" -eq "$1" ]; }
have_ended() { [ "$(metric mains_jobs_ended_total)" -ge "$1" ]; }
books() { cat "$FLEET"/s*/agent/simsite.log; } # what the sites say they ran

# One of ten, again and again until the file `working` is gone: killed, or stopped for a while.
flap() { # flap I
    local pid until=$((SECONDS + 120))
    while [ -e "$FLEET/working" ] && [ "$SECONDS" -lt "$until" ]; do
        pid=$(fleet_agent "$1") || :
        if [ -n "$pid" ] && [ "$1" -le 6 ]; then
            kill -9 "$pid" 2>/dev/null || :
            sleep 1.5
        elif [ -n "$pid" ]; then
            kill -STOP "$pid" 2>/dev/null || :
            sleep "$(($1 - 5))"
            kill -CONT "$pid" 2>/dev/null || :
            sleep 1
        fi
    done
}

# What is submitted in a second, for one call of curl: an array for each kind of chip, so that all
# sites have some, and a gang over nodes.
write_requests() {
    local pin
    pin=$(jq -r .pin "$STATE/endpoint.json")
    for i in $(seq 0 "$KINDS"); do
        if [ "$i" -eq 0 ]; then
            printf '{"name":"gang","command":["true"],"tasks":4,"resources":{"devices":8,"cpus":8,"chips":["%s"]}}' "$(fleet_chip 1)"
        else
            printf '{"name":"one","array":"0-%d","command":["true"],"resources":{"devices":1,"cpus":2,"chips":["%s"]}}' $((ELEMENTS - 1)) "$(fleet_chip "$i")"
        fi >"$FLEET/body$i"
        [ "$i" -eq 0 ] || echo next
        printf '%s\n' "url = $(endpoint)/api/v1/jobs" insecure "pinnedpubkey = sha256//$pin" \
            "header = \"Authorization: Bearer $TOKEN\"" 'header = "Content-Type: application/json"' \
            "data-binary = @$FLEET/body$i" 'write-out = "%{http_code}\n"' "output = $FLEET/answer$i"
    done >"$FLEET/requests"
}

@test "60 sites with 100,000 devices join, each with a token of its own" {
    wait_for 60 are_connected $((SITES + 1))
    [ "$(metric mains_devices)" -eq $((SITES * NODES * 8)) ]
    [ "$("$MAINS" nodes --state "$STATE" --json | jq length)" -eq $((SITES * NODES + 1)) ]
    [ "$("$MAINS" devices --state "$STATE" --site s3 --json | jq 'length')" -eq $((NODES * 8)) ]
    [ "$("$MAINS" devices --state "$STATE" --limit 50 | wc -l)" -le 53 ]
}

@test "work goes on while the agents of ten of them die and hang; each job ends once" {
    touch "$FLEET/working"
    flappers=()
    for i in $(seq $((SITES < 10 ? SITES : 10))); do
        flap "$i" 3>&- &
        flappers+=($!)
    done
    jobs=0
    write_requests
    end=$((SECONDS + SECONDS_OF_WORK))
    while [ "$SECONDS" -lt "$end" ]; do
        began=$(date +%s%N)
        # One connection, one request after the other.
        curl -sS -m 60 -K "$FLEET/requests" >"$FLEET/answers"
        if [ "$(sort "$FLEET/answers" | uniq -c | tr -s ' ')" != " $((KINDS + 1)) 201" ]; then
            cat "$FLEET/answers" "$FLEET"/answer?
            return 1
        fi
        jobs=$((jobs + KINDS * ELEMENTS + 1))
        while [ $(($(date +%s%N) - began)) -lt 1000000000 ]; do sleep 0.05; done
    done
    echo "submitted $jobs, ended meanwhile: $(metric mains_jobs_ended_total)"
    rm "$FLEET/working"
    wait "${flappers[@]}"
    wait_for 60 have_ended "$jobs"
    echo "$jobs" >"$FLEET/jobs"
    [ "$(metric mains_jobs_ended_total)" -eq "$jobs" ]
    [ "$(metric 'mains_jobs{state="running"}')" -eq 0 ]
    wait_for 30 are_connected $((SITES + 1))
}

@test "nothing ran twice, no device was given twice, no attempt was made anew" {
    jobs=$(cat "$FLEET/jobs")
    [ "$(metric mains_attempts_total)" -eq "$jobs" ]
    [ "$(books | jq -r 'select(.run) | .run' | sort -u | wc -l)" -eq "$jobs" ]
    [ "$(books | jq -r 'select(.run) | .run' | wc -l)" -eq "$jobs" ]
    [ "$(books | jq -r 'select(.ended) | .ended' | sort -u | wc -l)" -eq "$jobs" ]
    books | refute grep '"clash"'
    books | refute grep '"stop"'
}

@test "the books balance: what the network billed is what the sites ran" {
    "$MAINS" usage --by site --state "$STATE" --json >"$FLEET/billed"
    jq -n '[inputs | select(.ended) | {site: (input_filename | capture("/(?<site>s[0-9]+)/agent/").site), cpu_ms}]
        | group_by(.site) | map({site: .[0].site, cpu_ms: (map(.cpu_ms) | add)})' "$FLEET"/s*/agent/simsite.log >"$FLEET/ran"
    jq -c '.rows[0]' "$FLEET/billed"
    jq -e --slurpfile ran "$FLEET/ran" --argjson kinds "$KINDS" '([.rows[] | {site: .key, cpu_ms: .usage.cpu_ms}] | sort_by(.site)) as $billed
        | $billed == ($ran[0] | sort_by(.site)) and ($billed | length) >= $kinds' "$FLEET/billed"
    failed=$(books | jq -r 'select(.ended and .code == 1) | .ended' | wc -l)
    [ "$(metric 'mains_jobs_ended_total{state="failed"}')" -ge 1 ]
    [ "$failed" -ge 1 ]
}

@test "the journal is whole" {
    "$MAINS" journal verify --state "$STATE" --json | jq -e --argjson jobs "$(cat "$FLEET/jobs")" '.ok'
}
