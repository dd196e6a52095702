#!/usr/bin/env bats
# A site that is heard for some seconds now and then, over a thin link that is there in its windows only.
# (Its minutes are seconds here.) What ended in the dark is heard in the order in which it cannot wait,
# and what does not fit into one window goes on in the next where it broke.

load common
load lab.bash

PERIOD=12
WINDOW=5

setup_file() {
    lab_need
    lab_start --cert-life 1h
    lab_site edge --cpus 9 --config "$(lab_windows edge $PERIOD $WINDOW)"
    lab_rate edge 800kbit
    lab_follow edge $PERIOD $WINDOW
}
teardown_file() { lab_stop; }

# at_edge NAME GO KILOBYTES [JQ of more keys]: ends when GO is there, and leaves so much
at_edge() {
    local body="while [ ! -e $LAB_DIR/$2 ]; do sleep 0.1; done" more='{}'
    [ "$3" -eq 0 ] || {
        body="head -c ${3}000 /dev/urandom >o; $body"
        more='{outputs: ["o"]}'
    }
    lab_submit "$body" "{name: \"$1\", where: {sites: {allow: [\"edge\"]}}} + $more + ${4:-{\}}"
}
all_run() { [ "$(lab_mains ps --json --limit 0 | jq '[.[] | select(.state == "running")] | length')" -eq "$1" ]; }
over() { grep -qs '^end' "$STAMPS/$1.1.0"; } # over JOB
in_books() { [ "$(sqlite3 -readonly "$STATE/history.db" 'SELECT count(*) FROM jobs')" -eq "$1" ]; }
carried() { lab_in edge ip -s -j link show "wl$(lab_number edge)" | jq '.[0].stats64.tx.bytes'; }

@test "what ended in the dark is heard in its order: reports, then results by class, deadline and age; a big one over several windows" {
    soon=$(date -u -d '+1 hour' +%Y-%m-%dT%H:%M:%SZ)
    late=$(date -u -d '+9 hours' +%Y-%m-%dT%H:%M:%SZ)
    # In an order that is none of those that count.
    big=$(at_edge big go1 1000 '{class: "low"}')
    at_edge second go2 50
    late=$(at_edge late go1 50 "{deadline: \"$late\"}")
    first=$(at_edge first go1 50)
    at_edge report go2 0 '{class: "low"}'
    at_edge soon go2 50 "{deadline: \"$soon\"}"
    at_edge urgent go2 50 '{class: "urgent"}'
    wait_for 40 all_run 7
    wait_for 20 lab_in_window $PERIOD $WINDOW
    wait_for 20 lab_out_of_window $PERIOD $WINDOW
    touch "$LAB_DIR/go1"
    # They end one after the other, and all in the dark.
    for id in "$big" "$late" "$first"; do wait_for 20 over "$id"; done
    sleep 0.3
    touch "$LAB_DIR/go2"
    began=$(date +%s%3N)
    before=$(carried)
    wait_for 90 lab_quiet || {
        lab_mains ps
        tail -n 40 "$(lab_state edge)/up.log"
        false
    }
    sent=$(($(carried) - before))
    wait_for 20 in_books 7
    order=$(sqlite3 -readonly "$STATE/history.db" "SELECT group_concat(job_name, ' ') FROM (SELECT job_name FROM attempts ORDER BY released_ms)")
    took=$(($(date +%s%3N) - began))
    echo "order: $order; $sent bytes in $took ms"
    [ "$order" = "report urgent soon late first second big" ]
    [ "$took" -gt $((2 * PERIOD * 1000)) ] # more than one window carries
    # 1.25 MB of results; a window that closes costs two chunks on their way at most.
    [ "$sent" -lt $((1500000 + (took / PERIOD / 1000 + 1) * 2 * 131072)) ]
    [ "$(sqlite3 -readonly "$STATE/history.db" 'SELECT max(epoch) FROM attempts')" -eq 1 ]
    [ "$(sqlite3 -readonly "$STATE/history.db" 'SELECT count(*) FROM jobs WHERE state = "done"')" -eq 7 ]
    big=$(sqlite3 -readonly "$STATE/history.db" "SELECT id FROM jobs WHERE name = 'big'")
    [ "$(lab_mains artifacts ls "$big" --json | jq '.artifacts[0].bytes')" -eq 1000000 ]
}
