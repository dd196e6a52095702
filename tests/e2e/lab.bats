#!/usr/bin/env bats
# Three sites in networks of their own: `lab`, `campus` (a real Slurm where it is installed) and `edge`,
# which is heard by a plan of contacts only: its link is up in these windows and at no other time. 300 mixed jobs go over them: each ends once, as it
# should, and the books say what the jobs themselves stamped.

load common
load lab.bash

setup_file() {
    lab_need
    lab_start --cert-life 1h
    lab_site lab --cpus 6
    lab_site edge --cpus 3 --config "$(lab_windows edge 19 7)"
    lab_rate edge 20mbit
    lab_follow edge 19 7
    if lab_has_slurm && lab_campus campus; then :; else
        echo "# campus: no Slurm here, so it is one more machine" >&3
        lab_site campus --cpus 4
    fi
}
teardown_file() { lab_stop; }

@test "300 mixed jobs over three sites: each ends once, as it should" {
    # 1-100: an array; 101-160: a sweep of 5 x 12; both anywhere.
    lab_job 'sleep 0.$((MAINS_ARRAY_INDEX % 4))' '{name: "array", array: {range: "0-99"}}' >"$LAB_DIR/array.json"
    lab_job '[ -n "$MAINS_PARAM_A$MAINS_PARAM_B" ]' '{name: "sweep", array: {a: [1,2,3,4,5], b: [range(12)]}}' >"$LAB_DIR/sweep.json"
    array=$(lab_mains submit --quiet "$LAB_DIR/array.json")
    sweep=$(lab_mains submit --quiet "$LAB_DIR/sweep.json")
    # 30 gangs of 3; 20 that fail, 20 that do well when they are tried again, 10 that are cancelled.
    for i in $(seq 30); do lab_job 'sleep 0.2' '{name: "gang", tasks: 3}'; done >"$LAB_DIR/list"
    for i in $(seq 20); do lab_job "exit $((i + 2))" '{name: "fails"}'; done >>"$LAB_DIR/list"
    for i in $(seq 20); do lab_job '[ "$MAINS_ATTEMPT" -gt 1 ]' '{name: "again", retries: 1}'; done >>"$LAB_DIR/list"
    # 10 at each of the sites.
    for i in $(seq 30); do
        site=$(sed -n "$((i % 3 + 1))p" <<<$'lab\nedge\ncampus')
        lab_job "[ \"\$MAINS_SITE\" = $site ]" "{name: \"at-$site\", where: {sites: {allow: [\"$site\"]}}}"
    done >>"$LAB_DIR/list"
    jq -c . "$LAB_DIR/list" >"$LAB_DIR/batch"
    [ "$(lab_batch "$LAB_DIR/batch" | wc -l)" -eq 100 ]
    # 15 pairs: the second after the first was well.
    for i in $(seq 15); do
        first=$(lab_submit 'sleep 0.1' '{name: "first"}')
        lab_submit "grep -q '^end' $STAMPS/$first.1.0" "{name: \"second\", after: [\"$first\"]}"
    done >"$LAB_DIR/seconds"
    long=()
    for i in $(seq 10); do long+=("$(lab_submit 'sleep 600' '{name: "cancelled"}')"); done
    sleep 2
    lab_mains cancel -q "${long[@]}"
    wait_for 240 lab_quiet || {
        lab_mains ps
        for id in $(lab_mains ps -q | head -n 5); do lab_mains why "$id" || :; done
        lab_mains sites
        false
    }
    count() { sqlite3 -readonly "$STATE/history.db" "SELECT count(*) FROM jobs WHERE $1"; }
    all_there() { [ "$(count 1)" -eq 300 ]; }
    wait_for 10 all_there
    [ "$(count "name = 'array' AND state = 'done'")" -eq 100 ]
    [ "$(count "name = 'sweep' AND state = 'done'")" -eq 60 ]
    [ "$(count "name = 'gang' AND state = 'done'")" -eq 30 ]
    [ "$(count "name = 'fails' AND state = 'failed' AND attempts = 1")" -eq 20 ]
    [ "$(count "name = 'again' AND state = 'done' AND attempts = 2")" -eq 20 ]
    [ "$(count "name LIKE 'at-%' AND state = 'done'")" -eq 30 ]
    [ "$(count "name IN ('first', 'second') AND state = 'done'")" -eq 30 ]
    [ "$(count "name = 'cancelled' AND state = 'cancelled'")" -eq 10 ]
}

@test "work went to each of them" {
    for site in lab edge campus; do
        [ "$(sqlite3 -readonly "$STATE/history.db" "SELECT count(*) FROM attempts WHERE site = '$site' AND outcome = 0")" -ge 10 ]
    done
}

@test "the books say what the jobs stamped; nothing is in dispute" {
    lab_books
    [ "$(lab_mains ledger disputes --json | jq length)" -eq 0 ]
}

@test "the plan was kept: what edge runs began in its windows, and was told in them" {
    # By the network's clock, three seconds late at most: a round trip, and a commit on a busy machine.
    [ "$(sqlite3 -readonly "$STATE/history.db" "SELECT count(*) FROM attempts WHERE site = 'edge'
        AND (granted_ms % 19000 > 10000 OR released_ms % 19000 > 10000)")" -eq 0 ]
    lab_mains site show edge | grep -q 'heard .*7s every 19s'
}

@test "nothing is held any more, at any site" {
    lab_mains nodes --json | jq -e '(.nodes? // .) | all(.jobs_count? // .jobs == 0)' >/dev/null
    kept_none() { [ -z "$(ls "$(lab_state "$1")/agent/ended")" ]; } # edge is told so in a window
    for site in lab edge; do wait_for 30 kept_none "$site"; done
    queue=$LAB_DIR/sites/campus/slurm/slurm.conf
    free() { local jobs; jobs=$(SLURM_CONF=$queue lab_in campus squeue -h -o %i) && [ -z "$jobs" ]; }
    [ ! -e "$queue" ] || wait_for 30 free
}

@test "the journal is whole" {
    lab_mains down >&2
    "$MAINS" journal verify --state "$STATE"
}
