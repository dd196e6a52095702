#!/usr/bin/env bats
# A site that joined as others do, holds a real certificate, and lies. What it says of itself counts
# as far as it can be true; what it says of others counts nothing; and nobody else is disturbed.

load common

setup_file() {
    network_start --listen 127.0.0.2:0 --tls --site home --sandbox-off
    EVIL=$(dirname "$STATE")/evil GOOD=$(dirname "$STATE")/good
    export TOKEN EVIL GOOD
    "$MAINS" join "$(token good --owner honest)" --state "$GOOD" --detach --sandbox-off --cpus 4 >&2 3>&-
    # The agent is sent home; its key and certificate stay.
    "$MAINS" join "$(token evil --owner crook)" --state "$EVIL" --detach --sandbox-off >&2 3>&-
    wait_for 20 connected good
    wait_for 20 connected evil
    "$MAINS" down --state "$EVIL" >&2
}
teardown_file() {
    "$MAINS" down --state "$GOOD" >/dev/null 2>&1 || :
    network_stop
}

token() { "$MAINS" site token "$@" --state "$STATE" | sed 's/^mains join //'; }
evil() { timeout 120 python3 "$BATS_TEST_DIRNAME/hostile.py" "$(endpoint)" "$EVIL/site.crt" "$EVIL/site.key" evil "$@"; }
show() { "$MAINS" show "$1" --state "$STATE" --json; }
is() { [ "$(show "$1" | jq -r .state)" = "$2" ]; }
said() { grep -c "$1" "$STATE/up.log"; }
memory_mib() { awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$(controller_pid)/status"; }
works() { timeout 20 "$MAINS" run -q --state "$STATE" --site good --scratch -- true; }

setup() {
    pid=$(controller_pid)
}
teardown() {
    # Whatever it tried: the controller is the same process, and small; the others work on.
    [ "$(controller_pid)" = "$pid" ]
    [ "$(memory_mib)" -lt 400 ]
    connected good
    works
}

@test "what it says of another site's job is refused and logged, whatever it is" {
    id=$("$MAINS" submit -q --state "$STATE" --site good --scratch -- sh -c 'sleep 930002; exit 4')
    wait_for 20 is "$id" running
    run evil forge "$id"
    echo "$output"
    [ "$status" -eq 0 ]
    is "$id" running
    [ "$(said "is refused: another site runs it")" -ge 1 ]
    wake 930002
    run "$MAINS" wait --state "$STATE" "$id"
    [ "$status" -eq 4 ]
    [ "$(show "$id" | jq -c '[(.attempts | length), .epoch, .attempts[0].site]')" = '[1,1,"good"]' ]
    [ "$(show "$id" | jq .usage.energy_mj)" -lt 100000000 ]
}

@test "it cannot speak as another site, nor bring another's inventory" {
    before=$("$MAINS" nodes --state "$STATE" --json | jq -c '(.nodes? // .) | map([.site, .name]) | map(select(.[0] != "evil"))')
    run evil others good home
    echo "$output"
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 6 ]
    # Nor is it whose it says it is.
    [ "$("$MAINS" site show evil --state "$STATE" --json | jq -r .owner)" = crook ]
    refute grep -qE ' 200$' <<<"$output"
    [ "$("$MAINS" nodes --state "$STATE" --json | jq -c '(.nodes? // .) | map([.site, .name]) | map(select(.[0] != "evil"))')" = "$before" ]
}

@test "its forged reports fill neither the journal nor the log" {
    id=$("$MAINS" submit -q --state "$STATE" --site good --scratch -- sleep 300)
    wait_for 20 is "$id" running
    seq_before=$(api GET /api/v1/journal/status | head -n 1 | jq .last_seq)
    log_before=$(stat -c %s "$STATE/up.log")
    run evil flood "$id" 100000
    echo "$output"
    is "$id" running
    [ $(($(api GET /api/v1/journal/status | head -n 1 | jq .last_seq) - seq_before)) -lt 200 ]
    [ $(($(stat -c %s "$STATE/up.log") - log_before)) -lt 100000 ]
    "$MAINS" cancel -q --state "$STATE" "$id"
}

@test "frames that are too large, too deep or no frames" {
    run evil frames
    echo "$output"
    [ "$status" -eq 0 ]
    for name in "a line of 5 MiB" "a body of 33 MiB" "a million levels" "not JSON" "no UTF-8" "a number too large"; do
        refute grep -qE "^$name: 200" <<<"$output"
    done
    [[ $output == *"a length that lies: "* ]]
}

@test "inventories and HELLOs of absurd size" {
    run evil inventories
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(grep -c ': ' <<<"$output")" -eq 11 ]
    refute grep -qE ': 200$' <<<"$output"
}

@test "an inventory that changes without end is slowed down" {
    size_before=$(du -k "$STATE"/journal.db* | awk '{s += $1} END {print s}')
    run evil churn 36
    echo "$output"
    [ "$status" -eq 0 ]
    jq -e '."200" > 5 and ."429" > 5' <<<"$output"
    [ $(($(du -k "$STATE"/journal.db* | awk '{s += $1} END {print s}') - size_before)) -lt 60000 ]
}

@test "it claims more than was possible: the bound is counted, both figures are kept" {
    evil lie huge >"$BATS_TEST_TMPDIR/evil" 3>&- &
    wait_for 20 connected evil
    id=$("$MAINS" submit -q --state "$STATE" --site evil --scratch -- true)
    run "$MAINS" wait --state "$STATE" "$id"
    echo "$output"
    [ "$status" -eq 0 ]
    wait
    cat "$BATS_TEST_TMPDIR/evil"
    # Said five times, booked once.
    [ "$(sqlite3 -readonly "$STATE/history.db" "SELECT count(*) FROM attempts WHERE job_id = $id")" -eq 1 ]
    "$MAINS" ledger disputes --state "$STATE" --site evil
    rows=$("$MAINS" ledger disputes --state "$STATE" --site evil --json)
    echo "$rows"
    [ "$(jq -r 'map(.what) | sort | join(" ")' <<<"$rows")" = "cpu devices energy order time" ]
    jq -e --arg id "$id" 'all(.job == $id and .owner == "crook" and .claimed > .counted)' <<<"$rows" >/dev/null
    # 4 CPUs for some seconds, not 4 million years; some hundred joules.
    show "$id" | jq -e '.usage | .cpu_ms < 400000 and .energy_mj < 40000000 and .price_micro < 1000000' >/dev/null
    [ "$(sqlite3 -readonly "$STATE/history.db" "SELECT sum(claimed > 1000000000000) FROM disputes WHERE job_id = $id")" -ge 3 ]
    [ "$(said "is not possible: see .mains ledger disputes")" -ge 1 ]
}

@test "who tells the truth is not disputed" {
    works
    "$MAINS" ledger disputes --state "$STATE" --json | jq -e 'all(.site == "evil")' >/dev/null
    # A tenant sees its own only.
    "$MAINS" token create --tenant red --state "$STATE" 2>/dev/null >"$BATS_TEST_TMPDIR/red"
    run "$MAINS" ledger disputes --token-file "$BATS_TEST_TMPDIR/red" --state "$STATE"
    echo "$output"
    [[ $output == *"Nothing is in dispute"* ]]
}

@test "receipts: what is forged, foreign, replayed or altered is refused, logged and listed" {
    command -v openssl >/dev/null || skip "no openssl to sign with"
    pin=$(jq -r .pin "$STATE/endpoint.json")
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$BATS_TEST_TMPDIR/own.key" 2>/dev/null
    evil receipts "$pin" "$BATS_TEST_TMPDIR/own.key" >"$BATS_TEST_TMPDIR/evil" 2>&1 3>&- &
    wait_for 20 connected evil
    declare -A job
    for how in forged stolen nonsense foreign replayed altered bare; do
        job[$how]=$("$MAINS" submit -q --state "$STATE" --site evil --scratch --name "$how" -- true)
        "$MAINS" wait --state "$STATE" "${job[$how]}"
    done
    wait
    cat "$BATS_TEST_TMPDIR/evil"
    listed() { "$MAINS" ledger receipts --state "$STATE" --job "${job[$1]}" --json | jq -r '.[].verdict'; }
    [ "$(listed forged)" = forged ] # the text is another than was signed
    [ "$(listed stolen)" = forged ] # signed well, by a key that is not the site's
    [ "$(listed nonsense)" = forged ]
    [ "$(listed foreign)" = foreign ]
    [ "$(listed replayed)" = replayed ]
    [ "$(listed altered)" = altered ]
    [ "$(listed bare)" = unsigned ]
    kept=$("$MAINS" journal export --state "$STATE" | grep -c '"receipt"')
    [ "$kept" -ge 6 ]
    [ "$kept" -lt 50 ] # not the two thousand that came with an end that was refused
    rows=$("$MAINS" ledger disputes --state "$STATE" --site evil --json | jq 'map(select(.what == "receipt"))')
    [ "$(jq -r 'map(.site_receipt) | sort | join(" ")' <<<"$rows")" = "altered foreign forged forged forged replayed" ]
    jq -e 'all(.network_receipt == "holds")' <<<"$rows" >/dev/null
    [ "$(grep -c 'its receipt of job .* is refused' "$STATE/up.log")" -eq 6 ] # however much else it said
    [ "$("$MAINS" ledger receipts --state "$STATE" --job "${job[forged]}" --json |
        "$MAINS" ledger verify /dev/stdin --state "$STATE" --json | jq -r '.[0] | [.site_receipt, .network_receipt] | join(" ")')" = "forged holds" ]
}

@test "receipts of who is honest hold on both sides, to whoever looks" {
    id=$("$MAINS" submit -q --state "$STATE" --site good --scratch -- true)
    "$MAINS" wait --state "$STATE" "$id"
    kept() { "$MAINS" ledger receipts --state "$GOOD" --job "$id" --json | jq -e 'length == 1 and .[0].network_receipt' >/dev/null; }
    wait_for 10 kept
    "$MAINS" ledger receipts --state "$STATE" --job "$id" --json >"$BATS_TEST_TMPDIR/network"
    "$MAINS" ledger receipts --state "$GOOD" --job "$id" --json >"$BATS_TEST_TMPDIR/site"
    [ "$(jq -S '.[0] | [.site_receipt, .network_receipt]' "$BATS_TEST_TMPDIR/network")" = \
        "$(jq -S '.[0] | [.site_receipt, .network_receipt]' "$BATS_TEST_TMPDIR/site")" ]
    # By its own key and its network's at the site; by its own and its members' at the network; with
    # keys that were handed over, elsewhere.
    "$MAINS" ledger verify "$BATS_TEST_TMPDIR/network" --state "$GOOD"
    "$MAINS" ledger verify "$BATS_TEST_TMPDIR/site" --state "$STATE"
    "$MAINS" ledger verify "$BATS_TEST_TMPDIR/site" --state /nonexistent --network-key "$(jq -r .pin "$STATE/endpoint.json")"
    refute "$MAINS" ledger verify "$BATS_TEST_TMPDIR/site" --state /nonexistent --network-key wrong
    refute "$MAINS" ledger verify "$BATS_TEST_TMPDIR/site" --state "$EVIL" # another site's key
    # One figure changed, whose signature is it; another site's name; another job's.
    sed 's/ cpu_ms=/ cpu_ms=1/' "$BATS_TEST_TMPDIR/site" >"$BATS_TEST_TMPDIR/more"
    refute "$MAINS" ledger verify "$BATS_TEST_TMPDIR/more" --state "$GOOD"
    jq '.[0].epoch = 2' "$BATS_TEST_TMPDIR/site" >"$BATS_TEST_TMPDIR/again"
    run "$MAINS" ledger verify "$BATS_TEST_TMPDIR/again" --state "$GOOD" --json
    [ "$(jq -r '.[0].site_receipt' <<<"$output")" = replayed ]
    # The network's machine has no key of its own and signs nothing.
    id=$("$MAINS" submit -q --state "$STATE" --site home --scratch -- true)
    "$MAINS" wait --state "$STATE" "$id"
    [ "$("$MAINS" ledger receipts --state "$STATE" --job "$id" --json | jq -r '.[].verdict')" = unsigned ]
}

@test "connections that say little keep nobody out" {
    evil slow 200 15 >"$BATS_TEST_TMPDIR/slow" 3>&- &
    slow_pid=$!
    wait_for 20 grep -q held "$BATS_TEST_TMPDIR/slow"
    for i in 1 2 3 4 5; do
        begin=$(date +%s%N)
        works
        echo "$((($(date +%s%N) - begin) / 1000000)) ms"
    done
    connected good
    wait "$slow_pid"
}

@test "the journal is whole, and says the same when it is replayed" {
    port=$(endpoint | sed "s/.*://")
    "$MAINS" down --state "$STATE"
    "$MAINS" journal verify --state "$STATE"
    books() { sqlite3 -readonly "$STATE/history.db" 'SELECT * FROM disputes ORDER BY 1, 2, 3; SELECT * FROM receipts ORDER BY 1, 2' | md5sum; }
    before=$(books)
    "$MAINS" history rebuild --state "$STATE"
    [ "$(books)" = "$before" ] # signatures too
    "$MAINS" up --detach --state "$STATE" --listen "127.0.0.2:$port" --tls --site home --sandbox-off >&2 3>&-
    pid=$(controller_pid)
    wait_for 30 connected good
}
