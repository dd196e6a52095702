#!/usr/bin/env bats
# As kubernetes.bats, with trouble: an API server that refuses, loses answers or is away, and an
# agent that is killed. Each job runs once, whatever happens.

load common.bash
load kubernetes.bash

setup_file() { kube_start --page 1 --watch-s 5 && kube_network; }
teardown_file() {
    network_stop
    kube_stop
}

kill_agent() {
    local old
    old=$(agent_pid)
    kill -9 "$old"
    wait_for 20 eval '[ -n "$(agent_pid)" ] && [ "$(agent_pid)" != '"$old"' ]'
}

@test "refusals that pass: asked again, as the server says" {
    control '{"fault": {"match": "^POST .*/jobs", "status": 429, "retry_after": 2, "count": 1}}' >/dev/null
    control '{"fault": {"match": "^POST .*/jobs", "status": 500, "count": 1}}' >/dev/null
    run mains run --scratch -- echo through
    [ "$status" -eq 0 ]
    [[ $output == *through* ]]
}

@test "a quota that is used up is waited for" {
    control '{"fault": {"match": "^POST .*/jobs", "status": 403, "count": 2, "reason": "Forbidden", "message": "jobs.batch is forbidden: exceeded quota: team, requested: count/jobs.batch=1"}}' >/dev/null
    run mains run --scratch -- echo room
    [ "$status" -eq 0 ]
}

@test "what is not allowed is said, once and clearly" {
    control '{"fault": {"match": "^POST .*/jobs", "status": 403, "count": 1, "reason": "Forbidden", "message": "jobs.batch is forbidden: User \"x\" cannot create resource \"jobs\""}}' >/dev/null
    run mains run --scratch -- echo never
    [ "$status" -ne 0 ]
    [[ $output == *"the Job is refused"*"cannot create resource"* ]]
}

@test "an answer that is lost: the job runs once" {
    control '{"fault": {"match": "^POST .*/jobs", "reset": "after", "count": 1}}' >/dev/null
    id=$(submit -- sh -c 'echo once; exit 5')
    run mains wait "$id"
    [ "$status" -eq 5 ]
    [ "$(mains logs "$id")" = once ]
    [ "$(starts_of "$id")" -eq 1 ]
}

@test "connections that are cut, and a slow server" {
    control '{"fault": {"match": "^(GET|PATCH|POST) ", "reset": "before", "count": 4}}' >/dev/null
    control '{"fault": {"match": "^POST ", "delay": 2, "count": 2}}' >/dev/null
    id=$(submit --tasks 2 -- sh -c 'echo "r$MAINS_RANK"; sleep 1')
    run mains wait "$id"
    [ "$status" -eq 0 ]
    [ "$(mains logs "$id" | sort | tr '\n' ' ')" = "r0 r1 " ]
    [ "$(starts_of "$id")" -eq 2 ]
}

@test "places in watches that are too old" {
    id=$(submit -- sh -c 'sleep 3; echo seen; exit 4')
    wait_for 20 is_state "$id" running
    control '{"compact": true}' >/dev/null
    run mains wait "$id"
    [ "$status" -eq 4 ]
    [ "$(mains logs "$id")" = seen ]
}

@test "the agent is killed meanwhile: nothing runs twice, no line is lost or doubled" {
    id=$(submit -- sh -c 'for i in 1 2 3 4 5 6 7 8 9; do echo "line $i"; sleep 0.5; done; exit 6')
    wait_for 20 is_state "$id" running
    wait_for 20 eval '[[ $(mains logs "$id") == *"line 2"* ]]'
    kill_agent
    run mains wait "$id"
    [ "$status" -eq 6 ]
    [ "$(mains logs "$id")" = "$(for i in 1 2 3 4 5 6 7 8 9; do echo "line $i"; done)" ]
    [ "$(starts_of "$id")" -eq 1 ]
}

@test "the agent is killed while jobs are submitted: each runs once" {
    ids=()
    for i in 1 2 3 4 5 6; do
        ids+=("$(submit -- sh -c "echo x >>$KUBE_DIR/once.$i")")
        [ "$i" -ne 3 ] || kill_agent
    done
    for id in "${ids[@]}"; do mains wait "$id"; done
    for i in 1 2 3 4 5 6; do [ "$(wc -l <"$KUBE_DIR/once.$i")" -eq 1 ]; done
}

@test "the API server is away, and jobs end meanwhile" {
    long=$(submit -- sh -c 'echo begin; sleep 8; echo end; exit 3')
    wait_for 20 is_state "$long" running
    control '{"away": 12}' >/dev/null
    late=$(submit -- echo late)
    run mains wait "$long"
    [ "$status" -eq 3 ]
    [ "$(mains logs "$long")" = "$(printf 'begin\nend')" ]
    run mains wait "$late"
    [ "$status" -eq 0 ]
    [ "$(mains logs "$late")" = late ]
    [ "$(starts_of "$long")" -eq 1 ]
}

@test "a job that somebody deletes at the site" {
    id=$(submit -- sleep 60)
    wait_for 20 is_state "$id" running
    control "{\"delete_job\": \"-$id-1\"}" >/dev/null
    run mains wait "$id"
    [ "$status" -ne 0 ]
    [[ $(mains show "$id") == *"deleted at the site"* ]]
}

@test "what belongs to no attempt is taken away" {
    tag=$(cat "$STATE/agent/kubernetes.tag")
    id=$(submit -- true)
    mains wait "$id"
    [ 201 = "$(curl -sS -m 10 -o /dev/null -w '%{http_code}' -X POST --data-binary '{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"mains-'"$tag"'-999-1","labels":{"mains.local/agent":"'"$tag"'","mains.local/job":"999","mains.local/epoch":"1"}},"spec":{"completions":1,"parallelism":1,"completionMode":"Indexed","suspend":true,"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"main","image":"x","command":["sleep","60"]}]}}}}' \
        "$(kube_url)/apis/batch/v1/namespaces/lent/jobs")" ]
    wait_for 20 eval '[[ $(control "{}" | jq -c .jobs) != *"-999-1"* ]]'
}
