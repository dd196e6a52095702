#!/usr/bin/env bats
# The API with a real agent behind it: what tests/unit/controller/api_test.c cannot show.

bats_require_minimum_version 1.5.0
load common

setup_file() { network_start; }
teardown_file() { network_stop; }
setup() { TOKEN=$(cat "$STATE/admin.token"); }

submit() { # submit BODY: the id
    api POST /api/v1/jobs "$1" | head -n 1 | jq -r .id
}

@test "files of the state folder are the owner's alone" {
    for file in admin.token site.token tokens.json secret.key journal.db history.db endpoint.json; do
        run stat -c %a "$STATE/$file"
        [ "$output" = 600 ] || { echo "$file: $output"; false; }
    done
    run stat -c %a "$STATE"
    [ "$output" = 700 ]
    refute grep -q "$(cat "$STATE/admin.token")" "$STATE/tokens.json"
}

@test "a job runs, its log and outputs are read over HTTP" {
    id=$(submit '{"name":"out","run":"echo to-stdout; echo to-stderr >&2; mkdir -p d; printf 12345 > d/f.txt","outputs":["d/f.txt"]}')
    run api GET "/api/v1/jobs/$id/wait?timeout_s=50"
    [ "${lines[-1]}" = 200 ]
    [ "$(echo "${lines[0]}" | jq -r '.state, .exit_code, .final' | paste -sd' ')" = "done 0 true" ]
    run api GET "/api/v1/jobs/$id/logs"
    [ "${lines[0]}" = to-stdout ]
    run api GET "/api/v1/jobs/$id/logs?stream=stderr&follow=1"
    [ "${lines[0]}" = to-stderr ]
    run api GET "/api/v1/jobs/$id/outputs"
    [ "$(echo "${lines[0]}" | jq -r '.outputs[] | select(.path | endswith("f.txt")) | .bytes')" = 5 ]
    path=$(echo "${lines[0]}" | jq -r '.outputs[] | select(.path | endswith("f.txt")) | .path')
    run api GET "/api/v1/jobs/$id/outputs/$path"
    [ "${lines[0]}" = 12345 ]
}

@test "a follower gets the log as it is written, to its end" {
    id=$(submit '{"name":"slow","run":"for i in 1 2 3; do echo line $i; sleep 0.2; done"}')
    run api GET "/api/v1/jobs/$id/logs?follow=1"
    [ "$(printf '%s\n' "${lines[@]}" | grep -c '^line')" = 3 ]
}

@test "paths that leave the outputs are not found" {
    id=$(submit '{"name":"esc","run":"ln -s /etc out; echo x > f","outputs":["f","out"]}')
    api GET "/api/v1/jobs/$id/wait?timeout_s=50" >/dev/null
    for path in ../spec.json ..%2f..%2f..%2fadmin.token out/passwd /etc/passwd; do
        run api GET "/api/v1/jobs/$id/outputs/$path" '' --path-as-is
        [ "${lines[-1]}" -ge 400 ] || { echo "$path: ${lines[*]}"; false; }
    done
}

@test "events tell a job's way and are resumed where a client stopped" {
    id=$(submit '{"name":"told","run":"true"}')
    api GET "/api/v1/jobs/$id/wait?timeout_s=50" >/dev/null
    told() { # told SECONDS: of its end, in so much time
        limit=$1
        all=$(timeout "$limit" curl -sN -H "Authorization: Bearer $TOKEN" "$(endpoint)/api/v1/events?after=0" || :)
        echo "$all" | sed -n 's/^data: //p' | jq -e "select(.id==\"$id\" and .state==\"done\")" >/dev/null
    }
    told 3 || told 20
    [ "$limit" -ge 20 ] || limit=8
    states=$(echo "$all" | sed -n 's/^data: //p' | jq -r "select(.id==\"$id\") | .state" | paste -sd' ')
    [ "$states" = "queued starting running done" ] || { echo "$states"; false; }
    seq=$(echo "$all" | sed -n 's/^id: //p' | sed -n 2p)
    rest=$(timeout "$limit" curl -sN -H "Authorization: Bearer $TOKEN" -H "Last-Event-ID: $seq" "$(endpoint)/api/v1/events" || :)
    [ "$(echo "$rest" | sed -n 's/^id: //p' | head -n 1)" -gt "$seq" ]
    [ "$(echo "$all" | tail -n 3)" = "$(echo "$rest" | tail -n 3)" ]
}

@test "a revoked token is refused at once" {
    created=$(api POST /api/v1/tokens '{"role":"tenant","tenant":"acme"}' | head -n 1)
    TOKEN=$(echo "$created" | jq -r .token)
    run api GET /api/v1/whoami
    [ "$(echo "${lines[0]}" | jq -r .tenant)" = acme ]
    TOKEN=$(cat "$STATE/admin.token")
    api DELETE "/api/v1/tokens/$(echo "$created" | jq -r .id)" >/dev/null
    TOKEN=$(echo "$created" | jq -r .token)
    run api GET /api/v1/whoami
    [ "${lines[-1]}" = 401 ]
}

@test "the history is readable with sqlite3, and the same when made again from the journal" {
    command -v sqlite3 >/dev/null || skip "no sqlite3 here"
    id=$(submit '{"name":"kept","run":"exit 4"}')
    api GET "/api/v1/jobs/$id/wait?timeout_s=50" >/dev/null
    query="SELECT id, name, state, exit_code FROM jobs_readable WHERE id = $id"
    [ "$(sqlite3 -readonly "$STATE/history.db" "$query")" = "$id|kept|failed|4" ]
    before=$(sqlite3 -readonly "$STATE/history.db" 'SELECT * FROM jobs ORDER BY id; SELECT * FROM attempts ORDER BY job_id, epoch')
    "$MAINS" down --state "$STATE" --cancel >&2
    "$MAINS" history rebuild --state "$STATE" >&2
    after=$(sqlite3 -readonly "$STATE/history.db" 'SELECT * FROM jobs ORDER BY id; SELECT * FROM attempts ORDER BY job_id, epoch')
    [ "$before" = "$after" ]
    network_start
}
