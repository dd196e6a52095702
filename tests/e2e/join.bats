#!/usr/bin/env bats
# A second site on this machine joins over TLS, by a token; works, dies, comes back, is removed.

load common

setup_file() {
    network_start --listen 127.0.0.2:0 --tls --cert-life 30s --site home --sandbox-off
    export TOKEN OTHER="$(dirname "$STATE")/other"
}
teardown_file() {
    "$MAINS" down --state "$OTHER" >/dev/null 2>&1 || :
    network_stop
}

token() { # token SITE [options]: the token alone
    "$MAINS" site token "$@" --state "$STATE" | sed 's/^mains join //'
}
other_agent() { agent_of "$(tr -dc 0-9 <"$OTHER/lock")"; }
is_gone() { ! connected "$1"; }

@test "what is no token, is cut off, or is for another controller is told in one line" {
    good=$(token lab2)
    for bad in hello "${good%?}" "${good}x" "mainsjoin1."; do
        run "$MAINS" join "$bad" --state "$BATS_TEST_TMPDIR/x"
        [ "$status" -eq 1 ]
        [ "${#lines[@]}" -eq 1 ]
        [[ $output == *"join token"* ]]
    done
    body=$(cut -d. -f2 <<<"$good" | tr '_-' '/+')
    while [ $((${#body} % 4)) -ne 0 ]; do body=$body=; done
    json=$(base64 -d <<<"$body" | jq -cj --arg pin "$(head -c 32 /dev/zero | base64)" '.pin=$pin')
    other=mainsjoin1.$(printf %s "$json" | base64 -w0 | tr '/+' '_-' | tr -d =).$(printf %s "$json" | sha256sum | cut -c1-8)
    run "$MAINS" join "$other" --state "$BATS_TEST_TMPDIR/x"
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == *"another controller"* ]]
    [ ! -e "$BATS_TEST_TMPDIR/x/joined.json" ]
}

@test "a token that expired is refused" {
    late=$(token late --expires 1s)
    sleep 1.1
    run "$MAINS" join "$late" --state "$BATS_TEST_TMPDIR/x"
    [ "$status" -eq 1 ]
    [[ $output == *"has expired"* ]]
}

@test "a site joins, and a job is placed there" {
    lab=$(token lab2 --owner physics)
    printf %s "$lab" >"$(dirname "$STATE")/used"
    "$MAINS" join "$lab" --state "$OTHER" --detach --sandbox-off
    wait_for 10 connected lab2
    [ "$(stat -c %a "$OTHER/site.key" "$STATE/ca.key" | sort -u)" = 600 ]
    run "$MAINS" run --state "$STATE" --site lab2 -- sh -c 'echo "ran at $MAINS_SITE"'
    [ "$status" -eq 0 ]
    [[ $output == *"ran at lab2"* ]]
}

@test "a token is good once" {
    run "$MAINS" join "$(cat "$(dirname "$STATE")/used")" --state "$BATS_TEST_TMPDIR/x"
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == *"was used already"* ]]
}

@test "a site speaks for itself only" {
    url=$(endpoint)/api/v1/site-session/reports
    pin="sha256//$(jq -r .pin "$STATE/endpoint.json")"
    tls=(-sk --pinnedpubkey "$pin" -m 10 -o /dev/null -w '%{http_code}')
    as_lab2=(--cert "$OTHER/site.crt" --key "$OTHER/site.key")
    [ "$(curl "${tls[@]}" "${as_lab2[@]}" -X POST "$url?site=home")" = 403 ]
    [ "$(curl "${tls[@]}" "${as_lab2[@]}" -X POST "$url?site=lab2")" = 200 ]
    [ "$(curl "${tls[@]}" "${as_lab2[@]}" "$(endpoint)/api/v1/jobs")" = 403 ]
    [ "$(curl "${tls[@]}" -X POST "$url?site=lab2")" = 401 ]
    # Nor does the local site's token speak for one that has a key.
    [ "$(curl "${tls[@]}" -H "Authorization: Bearer $(cat "$STATE/site.token")" -X POST "$url?site=lab2")" = 403 ]
}

@test "its certificate is renewed before it ends" {
    before=$(sha256sum <"$OTHER/site.crt")
    renewed() { [ "$before" != "$(sha256sum <"$OTHER/site.crt")" ]; }
    wait_for 40 renewed
    connected lab2
}

@test "its agent is killed and started again; the job goes on" {
    job=$("$MAINS" submit --state "$STATE" --site lab2 --json -- sh -c 'sleep 930004; exit 0' | jq -r .id)
    is_running() { "$MAINS" show "$job" --state "$STATE" --json | jq -e '.state == "running"' >/dev/null; }
    wait_for 10 is_running
    agent=$(other_agent)
    kill -9 "$agent"
    another() { is_other "$(other_agent)" "$agent" && connected lab2; }
    wait_for 30 another
    wake 930004
    run "$MAINS" wait "$job" --state "$STATE"
    [ "$status" -eq 0 ]
    [ "$("$MAINS" show "$job" --state "$STATE" --json | jq '.attempts | length')" -eq 1 ]
}

@test "drain lets no new work there; resume does" {
    "$MAINS" site drain lab2 --state "$STATE"
    job=$("$MAINS" submit --state "$STATE" --site lab2 --json -- true | jq -r .id)
    sleep 0.5
    [ "$("$MAINS" show "$job" --state "$STATE" --json | jq -r .state)" = queued ]
    "$MAINS" site resume lab2 --state "$STATE"
    "$MAINS" wait "$job" --state "$STATE"
}

@test "down stops it, join without a token starts it again" {
    "$MAINS" down --state "$OTHER"
    wait_for 10 is_gone lab2
    "$MAINS" join --state "$OTHER" --detach --sandbox-off
    wait_for 10 connected lab2
}

@test "a removed site cannot come back, but with a new token" {
    "$MAINS" site remove lab2 --state "$STATE"
    wait_for 10 is_gone lab2
    pin="sha256//$(jq -r .pin "$STATE/endpoint.json")"
    run curl -sk --pinnedpubkey "$pin" --cert "$OTHER/site.crt" --key "$OTHER/site.key" -m 10 \
        -X POST "$(endpoint)/api/v1/site-session/reports?site=lab2"
    [[ $output == *"was removed"* ]]
    sleep 1
    is_gone lab2
    "$MAINS" down --state "$OTHER"
    "$MAINS" join "$(token lab2)" --state "$OTHER" --detach --sandbox-off
    wait_for 10 connected lab2
    "$MAINS" run --state "$STATE" --site lab2 -- true
}


# The last one: it ends the network.
@test "down --cancel does not wait for what is at a site that is not heard, and says so" {
    "$MAINS" site drain home --state "$STATE"
    job=$("$MAINS" submit --scratch -q --state "$STATE" -- sleep 1000)
    running() { [ "$("$MAINS" show "$job" --state "$STATE" --json | jq -r .state)" = running ]; }
    wait_for 20 running
    "$MAINS" down --state "$OTHER"
    unheard() { [ "$("$MAINS" site show lab2 --state "$STATE" --json | jq -r .reachable)" = false ]; }
    wait_for 20 unheard
    run timeout 25 "$MAINS" down --cancel --state "$STATE"
    [ "$status" -eq 0 ]
    [[ $output == *"1 job at sites that are not heard (lab2)"* ]]
    pgrep -f "sleep 1000" | xargs -r -n1 sh -c 'grep -qz "^MAINS_SITE=lab2$" /proc/$0/environ && kill -9 $0 || :'
}
