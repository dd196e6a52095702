# What goes wrong on a machine: said in a clear line, nothing that was answered is lost, and it goes
# on when the cause is gone. Each test has a network of its own.

load common

setup() {
    DIR=$(mktemp -d /var/tmp/mains-e2e.XXXXXX)
    export STATE=$DIR/state MAINS_STATE=$DIR/state
}

teardown() {
    "$MAINS" down --state "$STATE" --cancel >/dev/null 2>&1 || :
    ! mountpoint -q "$DIR/disk" || { "$MAINS" down --state "$DIR/disk/state" --cancel >/dev/null 2>&1; umount -l "$DIR/disk"; }
    rm -rf "$DIR"
}

# go [options]: start on $STATE.
go() { network_start "$@" 2>&1; }
# fails WORDS COMMAND...: not 0, one line on stderr that holds WORDS (a regular expression).
fails() {
    local says=$1
    shift
    run --separate-stderr "$@"
    echo "$stderr"
    [ "$status" -ne 0 ] && [[ "$stderr" =~ $says ]] && [ "$(wc -l <<<"$stderr")" -eq 1 ]
}
state_of() { "$MAINS" show --json "$1" 2>/dev/null | jq -r .state; }
is() { [ "$(state_of "$1")" = "$2" ]; }
alive() { kill -0 "$1" 2>/dev/null; }
gone() { ! alive "$1"; }
supervisor_of() { awk 'NR == 1 {print $1}' "$STATE/agent/attempts/$1.$2/run"; }
killed() { # killed PID...: and really gone
    kill -9 "$@"
    for pid in "$@"; do wait_for 5 gone "$pid"; done
}

bats_require_minimum_version 1.5.0

@test "a second up on the same state says who holds it, and where" {
    go
    fails "held by process $(up_pid) .*$(endpoint)" "$MAINS" up --detach --state "$STATE"
    fails "held by process $(up_pid)" "$MAINS" up --state "$STATE"
    "$MAINS" run -q -- true
}

@test "a port in use is said, and the other network is left alone" {
    go
    port=$(endpoint | sed 's/.*://')
    run --separate-stderr "$MAINS" up --state "$DIR/other" --listen "127.0.0.1:$port"
    echo "$stderr"
    [ "$status" -ne 0 ]
    [[ "$stderr" == *"$port"*"ddress already in use"* || "$stderr" == *"$port"*"in use"* ]]
    "$MAINS" run -q -- true
}

@test "down where nothing runs says so; down twice is fine" {
    run "$MAINS" down --state "$DIR/never"
    echo "$output"
    [ -n "$output" ]
    [ "${#lines[@]}" -eq 1 ]
    [ ! -e "$DIR/never" ]
    go
    "$MAINS" down
    run "$MAINS" down
    [ -n "$output" ]
    [ "${#lines[@]}" -eq 1 ]
    fails 'no network runs' "$MAINS" ps
}

@test "output that is followed from the moment of the submit is all there" {
    go
    python3 - "$(endpoint)" "$(cat "$STATE/admin.token")" <<'EOF'
import http.client, json, sys
headers = {"Authorization": "Bearer " + sys.argv[2]}
client = http.client.HTTPConnection(sys.argv[1].split("/")[2], timeout=20)
for i in range(60):
    client.request("POST", "/api/v1/jobs", '{"run":"echo %d"}' % i, headers)
    job = json.loads(client.getresponse().read())["id"]
    client.request("GET", "/api/v1/jobs/%s/logs?follow=1" % job, headers=headers)
    log = client.getresponse().read()
    assert log == b"%d\n" % i, "job %s: %r" % (job, log)
EOF
}

@test "a state folder that cannot be written is refused, saying so" {
    [ "$(id -u)" -eq 0 ] || skip "needs root: mounts a read-only file system"
    go && id=$("$MAINS" submit -q -- sleep 0.1) && "$MAINS" wait -q "$id"
    "$MAINS" down
    mount --bind "$STATE" "$STATE" && mount -o remount,ro,bind "$STATE" || skip "cannot mount here"
    run --separate-stderr "$MAINS" up --detach --state "$STATE" --listen 127.0.0.1:0
    umount "$STATE"
    echo "$stderr"
    [ "$status" -ne 0 ]
    [[ "$stderr" == *[Rr]ead-only* ]]
    go
    is "$id" done
}

@test "a full disk: 503 while it lasts, all that was answered 201 is there, and it recovers by itself" {
    [ "$(id -u)" -eq 0 ] || skip "needs root: mounts a small file system"
    mkdir "$DIR/disk"
    mount -t tmpfs -o size=24m none "$DIR/disk" || skip "cannot mount here"
    export STATE=$DIR/disk/state MAINS_STATE=$DIR/disk/state
    go
    TOKEN=$(cat "$STATE/admin.token")
    head -c 64M /dev/zero >"$DIR/disk/ballast" 2>/dev/null || :
    notes=$(printf 'x%.0s' $(seq 4000))
    : >"$DIR/answered"
    refused=0
    for i in $(seq 400); do
        answer=$(api POST /api/v1/jobs "{\"run\":\"true\",\"begin\":\"1d\",\"notes\":\"$notes\",\"name\":\"n$i\"}" -H "Idempotency-Key: full-$i") || continue
        case $(tail -n 1 <<<"$answer") in
        201) head -n 1 <<<"$answer" | jq -r .id >>"$DIR/answered" ;;
        503) refused=$((refused + 1)) && said=$(head -n 1 <<<"$answer") ;;
        *) echo "$answer" && false ;;
        esac
        [ "$refused" -lt 3 ] || break
    done
    echo "$(wc -l <"$DIR/answered") answered, then: $said"
    [ "$refused" -ge 3 ]
    [ "$(jq -r .error.code <<<"$said")" = journal_unwritable ]
    jq -r .error.message <<<"$said" | grep -qiE 'full|space'
    # It goes on answering what changes nothing, and says how it is.
    [ "$(api GET /api/v1/whoami | tail -n 1)" = 200 ]
    [ "$(api GET /readyz | tail -n 1)" = 503 ]
    [ "$(api GET /api/v1/journal/status | head -n 1 | jq .writable)" = false ]
    # Killed in the middle of it, it loses nothing either.
    kill -9 "$(controller_pid)"
    rm "$DIR/disk/ballast"
    ready() { [ "$(api GET /readyz 2>/dev/null | tail -n 1)" = 200 ]; }
    wait_for 20 ready
    [ "$(api POST /api/v1/jobs '{"run":"true","begin":"1d"}' | tail -n 1)" = 201 ]
    while read -r id; do [ "$(api GET "/api/v1/jobs/$id" | tail -n 1)" = 200 ]; done <"$DIR/answered"
    "$MAINS" down
    "$MAINS" journal verify
}

@test "a full disk that gets room again needs no restart" {
    [ "$(id -u)" -eq 0 ] || skip "needs root: mounts a small file system"
    mkdir "$DIR/disk"
    mount -t tmpfs -o size=24m none "$DIR/disk" || skip "cannot mount here"
    export STATE=$DIR/disk/state MAINS_STATE=$DIR/disk/state
    go
    TOKEN=$(cat "$STATE/admin.token") pid=$(controller_pid)
    running=$("$MAINS" submit -q --scratch -- sh -c 'sleep 930003; exit 7')
    wait_for 10 is "$running" running
    head -c 64M /dev/zero >"$DIR/disk/ballast" 2>/dev/null || :
    notes=$(printf 'x%.0s' $(seq 4000))
    for i in $(seq 400); do
        status=$(api POST /api/v1/jobs "{\"run\":\"true\",\"begin\":\"1d\",\"notes\":\"$notes\"}" | tail -n 1)
        [ "$status" = 201 ] || break
    done
    [ "$status" = 503 ]
    wake 930003
    sleep 1 # the job ends on the full disk
    rm "$DIR/disk/ballast"
    writable() { [ "$(api GET /api/v1/journal/status | head -n 1 | jq .writable)" = true ]; }
    wait_for 10 writable
    [ "$(controller_pid)" = "$pid" ]
    wait_for 20 is "$running" failed
    [ "$("$MAINS" show --json "$running" | jq .exit_code)" -eq 7 ]
}

@test "a damaged page of the journal: named, refused, nothing overwritten" {
    go
    for i in $(seq 30); do "$MAINS" submit -q --begin 1d --name "keep-$i" -- true >/dev/null; done
    "$MAINS" down
    sqlite3 "$STATE/journal.db" 'PRAGMA wal_checkpoint(TRUNCATE)' >/dev/null
    cp "$STATE/journal.db" "$DIR/good"
    python3 - "$STATE/journal.db" <<'EOF'
import sys
with open(sys.argv[1], "r+b") as file:
    data = file.read()
    at = -1
    while (at := data.find(b"keep-17", at + 1)) >= 0:  # the record, and the snapshots that hold it
        file.seek(at)
        file.write(b"\xff" * 7)
EOF
    sum=$(sha256sum <"$STATE/journal.db")
    run --separate-stderr "$MAINS" up --detach --listen 127.0.0.1:0
    echo "$stderr"
    [ "$status" -ne 0 ]
    [[ "$stderr" == *journal.db*record* ]]
    fails 'record [0-9]+' "$MAINS" journal verify
    [ "$(sha256sum <"$STATE/journal.db")" = "$sum" ]
    # The good one back in its place, all is there.
    cp "$DIR/good" "$STATE/journal.db"
    go
    [ "$("$MAINS" ps --json | jq length)" -eq 30 ]
}

@test "a torn last commit is cut off; what was before it stays" {
    go
    for i in $(seq 20); do "$MAINS" submit -q --begin 1d -- true >/dev/null; done
    killed "$(up_pid)" "$(controller_pid)" "$(agent_pid)"
    [ -s "$STATE/journal.db-wal" ]
    truncate -s -100 "$STATE/journal.db-wal"
    go
    left=$("$MAINS" ps --json | jq length)
    echo "$left of 20"
    [ "$left" -ge 19 ]
    "$MAINS" submit -q --begin 1d -- true >/dev/null
    "$MAINS" down
    "$MAINS" journal verify
}

@test "history.db deleted or damaged: made again from the journal" {
    go
    "$MAINS" run -q -- sh -c 'exit 3' || [ $? -eq 3 ]
    "$MAINS" down
    rm -f "$STATE"/history.db*
    go
    counted() { [ "$("$MAINS" ps -a --json | jq '[.[] | select(.exit_code == 3)] | length')" -eq 1 ]; }
    wait_for 10 counted
    "$MAINS" down
    head -c 65536 /dev/urandom >"$STATE/history.db"
    rm -f "$STATE"/history.db-*
    go
    wait_for 10 counted
    "$MAINS" down
    # One page of it: said, and mended by hand.
    head -c 4096 /dev/urandom | dd of="$STATE/history.db" bs=1 seek=8192 conv=notrunc status=none
    "$MAINS" history rebuild
    go
    wait_for 10 counted
}

@test "endpoint.json lost or garbled: said, and there again after a start; doctor tells of tokens that others may read" {
    go
    cp "$STATE/endpoint.json" "$DIR/endpoint"
    echo '{"url": 5' >"$STATE/endpoint.json"
    fails . "$MAINS" ps
    rm "$STATE/endpoint.json"
    fails . "$MAINS" ps
    cp "$DIR/endpoint" "$STATE/endpoint.json"
    "$MAINS" down
    rm -f "$STATE/endpoint.json"
    go
    "$MAINS" run -q -- true
    "$MAINS" down
    chmod 644 "$STATE/tokens.json"
    run "$MAINS" doctor
    [ "$status" -eq 1 ]
    [[ "$output" == *tokens.json*"others can read it: chmod 600"* ]]
    chmod 600 "$STATE/tokens.json"
    echo '[{' >"$STATE/tokens.json"
    run --separate-stderr "$MAINS" up --detach --listen 127.0.0.1:0
    echo "$stderr"
    [ "$status" -ne 0 ]
    [[ "$stderr" == *tokens.json* ]]
    [ "$(cat "$STATE/tokens.json")" = '[{' ]
}

@test "the agent is killed while a job runs: the job goes on, and its exit is not lost" {
    go
    id=$("$MAINS" submit -q --scratch -- sh -c 'sleep 930007; exit 5')
    short=$("$MAINS" submit -q --scratch -- sh -c 'sleep 600')
    wait_for 10 is "$id" running
    wait_for 10 is "$short" running
    agent=$(agent_pid) supervisor=$(supervisor_of "$id" 1)
    killed "$agent"
    alive "$supervisor"
    wake 930007
    wait_for 20 is "$id" failed
    [ "$("$MAINS" show --json "$id" | jq -c '[.exit_code, (.attempts | length)]')" = '[5,1]' ]
    is "$short" running
    "$MAINS" cancel -q "$short"
    wait_for 10 is "$short" cancelled
}

@test "the supervisor is killed: its job dies with it, is called lost, and runs again" {
    go
    id=$("$MAINS" submit -q --scratch -- sh -c '[ $MAINS_ATTEMPT -gt 1 ] || { (setsid sleep 910001 &); sleep 910002; }')
    wait_for 10 is "$id" running
    wait_for 10 pgrep -xf 'sleep 910001' >/dev/null
    kill -9 "$(supervisor_of "$id" 1)"
    no_process() { ! pgrep -f 'sleep 91000'; }
    wait_for 10 no_process
    wait_for 20 is "$id" done
    [ "$("$MAINS" show --json "$id" | jq -c '[.attempts[].outcome]')" = '["lost","exited"]' ]
    # And not again where that was not wanted.
    echo '{"run": "sleep 910003", "requeue_on_loss": false}' >"$DIR/once.json"
    id=$("$MAINS" submit -q "$DIR/once.json")
    wait_for 10 is "$id" running
    kill -9 "$(supervisor_of "$id" 1)"
    wait_for 20 is "$id" failed
}

@test "the whole tree is killed, up too: jobs run on, and the next up takes their ends" {
    go
    id=$("$MAINS" submit -q --scratch -- sh -c 'exec 2>&-; sleep 930008; echo out; exit 9')
    over=$("$MAINS" submit -q --scratch -- sh -c 'sleep 0.5; exit 4')
    long=$("$MAINS" submit -q --scratch -- sleep 600)
    queued=$("$MAINS" submit -q --begin 1d -- true)
    wait_for 10 is "$long" running
    wait_for 10 is "$id" running
    supervisor=$(supervisor_of "$long" 1)
    killed "$(up_pid)" "$(controller_pid)" "$(agent_pid)"
    alive "$supervisor"
    wake 930008
    sleep 1 # it ends while nobody is there
    go
    is "$long" running
    alive "$supervisor"
    wait_for 20 is "$id" failed
    wait_for 20 is "$over" failed
    [ "$("$MAINS" show --json "$id" | jq -c '[.exit_code, .epoch]')" = '[9,1]' ]
    [ "$("$MAINS" show --json "$over" | jq -c '[.exit_code, .epoch]')" = '[4,1]' ]
    [ "$("$MAINS" logs "$id")" = out ]
    is "$queued" held
}

@test "down leaves jobs running, and down --cancel leaves nothing" {
    go
    id=$("$MAINS" submit -q --scratch -- sh -c 'sleep 920001')
    wait_for 10 is "$id" running
    "$MAINS" down
    pgrep -f 'sleep 920001' >/dev/null
    go
    is "$id" running
    "$MAINS" down --cancel
    refute pgrep -f 'sleep 920001'
    go # what its end left here is told again, and forgotten then
    nothing() { [ -z "$(ls "$STATE/agent/ended" 2>/dev/null)" ]; }
    wait_for 10 nothing
}

@test "the spawner is killed: the agent makes another, and jobs start again" {
    go
    wait_for 5 pgrep -P "$(agent_pid)" >/dev/null
    kill -9 "$(pgrep -P "$(agent_pid)" | head -n 1)"
    run timeout 30 "$MAINS" run --scratch -- echo still
    [[ "$output" == *still* ]]
}

@test "the local tokens' files deleted: made again at the next start; tokens.json keeps the others" {
    go
    "$MAINS" token create --tenant red 2>/dev/null >"$DIR/red"
    "$MAINS" down
    rm "$STATE/admin.token" "$STATE/site.token"
    go
    "$MAINS" run -q -- true
    [ "$(stat -c %a "$STATE/admin.token")" = 600 ]
    MAINS_TOKEN=$(cat "$DIR/red") "$MAINS" ps
}

@test "a site that was renamed is not heard again, and gets no work" {
    go --site before
    "$MAINS" run -q --scratch -- true
    "$MAINS" down
    go --site after
    [ "$("$MAINS" sites --json | jq -c '(.sites? // .) | map({(.name): .reachable}) | add')" = '{"before":false,"after":true}' ]
    for i in 1 2 3 4; do "$MAINS" run -q --scratch -- true; done
    "$MAINS" down
    # A key of site.json that is misspelt is not passed over.
    echo '{"tarif": {"currency": "EUR"}}' >"$STATE/site.json"
    run timeout 30 "$MAINS" up --listen 127.0.0.1:0
    [[ "$output" == *"site.json: tarif: unknown key"* ]]
}
