#!/usr/bin/env bats
# Remotes of rclone as sources and sinks: a folder, WebDAV with a password, a read-only web server; what
# goes wrong is told in one line, and what broke goes on.

load common

setup_file() {
    network_start --sandbox-off
    WHERE="$(dirname "$STATE")"
    export WHERE
}
teardown_file() { network_stop; }

setup() {
    command -v rclone >/dev/null || skip "rclone is not installed"
    cd "$BATS_TEST_TMPDIR"
    export RCLONE_CONFIG=$PWD/rclone.conf
    printf '[disk]\ntype = alias\nremote = %s/disk\n' "$PWD" >rclone.conf
    mkdir -p disk/in/deep
    seq 100000 >disk/in/numbers
    echo one >disk/in/deep/one
}
teardown() { [ -z "${server:-}" ] || kill "$server" 2>/dev/null || :; }

artifacts() { "$MAINS" artifacts "$@" --state "$STATE"; }
# fails WORDS COMMAND...: with status 1, in one line that has these words.
fails() {
    local words=$1
    shift
    run "$@"
    [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ] && grep -qF "$words" <<<"$output" || { echo "$output" && return 1; }
}
# serve KIND FOLDER [OPTIONS]: at http://127.0.0.1:$port, until the test ends.
serve() {
    local kind=$1 folder=$2
    shift 2
    port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    rclone serve "$kind" "$folder" --addr "127.0.0.1:$port" "$@" >serve.log 2>&1 3>&- &
    server=$!
    wait_for 20 curl -s -o /dev/null "http://127.0.0.1:$port/"
}

@test "a folder of a remote is put, is an input, and what a job leaves is sent to one" {
    export TMPDIR=$PWD
    name=$(artifacts put rclone:disk:in)
    artifacts get "$name" rclone:disk:out/put
    diff -r disk/in disk/out/put
    cat >job.yaml <<'YAML'
inputs: [{from: "rclone:disk:in", to: in}, {from: "rclone:disk:in/deep/one", to: one}]
outputs: [res]
run: mkdir res; cat in/numbers >res/numbers; cat one in/deep/one >res/ones
YAML
    job=$("$MAINS" submit --state "$STATE" --json job.yaml | jq -r .id)
    "$MAINS" wait "$job" --state "$STATE"
    artifacts get "$job" rclone:disk:out/job/
    cmp disk/in/numbers disk/out/job/res/numbers
    [ "$(tr '\n' ' ' <disk/out/job/res/ones)" = "one one " ]
    jq -e '.exit_code == 0' disk/out/job.provenance.json
    # What is there stays, what differs is exchanged.
    echo mine >disk/out/job/mine
    echo xxxxxxx >disk/out/job/res/ones
    artifacts get "$job" rclone:disk:out/job
    [ "$(cat disk/out/job/mine)" = mine ]
    [ "$(tr '\n' ' ' <disk/out/job/res/ones)" = "one one " ]
    [ -z "$(find . -maxdepth 1 -name 'mains-??????')" ]
}

@test "over the network: WebDAV both ways with a password, and a web server to read from" {
    mkdir -p dav
    serve webdav dav --user me --pass secret
    printf '[dav]\ntype = webdav\nurl = http://127.0.0.1:%s\nvendor = other\nuser = me\npass = %s\n' "$port" "$(rclone obscure secret)" >>rclone.conf
    name=$(artifacts put disk/in)
    artifacts get "$name" rclone:dav:there
    diff -r disk/in dav/there
    # As long as before, and a server that tells no hashes: it is sent all the same.
    seq 100001 200000 | head -c "$(stat -c %s disk/in/numbers)" >disk/in/numbers.new
    mv disk/in/numbers.new disk/in/numbers
    artifacts get "$(artifacts put disk/in)" rclone:dav:there
    diff -r disk/in dav/there
    [ "$(artifacts put rclone:dav:there)" = "$(artifacts put dav/there)" ]
    sed -i 's/^user = me/user = you/' rclone.conf
    fails "rclone could not send it" env RCLONE_RETRIES=1 "$MAINS" artifacts get "$name" rclone:dav:there --state "$STATE"
    fails "rclone could not fetch it" env RCLONE_RETRIES=1 "$MAINS" artifacts put rclone:dav:there --state "$STATE"
    kill "$server"
    serve http disk/in
    printf '[web]\ntype = http\nurl = http://127.0.0.1:%s\n' "$port" >>rclone.conf
    [ "$(artifacts put rclone:web:deep)" = "$(artifacts put disk/in/deep)" ]
    fails "rclone could not send it" env RCLONE_RETRIES=1 "$MAINS" artifacts get "$name" rclone:web:there --state "$STATE"
}

@test "what does not work is told in one line" {
    name=$(artifacts put disk/in)
    fails "rclone could not send it: Failed to create file system" "$MAINS" artifacts get "$name" rclone:nowhere:x --state "$STATE"
    fails "rclone could not fetch it" "$MAINS" artifacts put rclone:nowhere:x --state "$STATE"
    fails "rclone could not fetch it" env RCLONE_RETRIES=1 "$MAINS" artifacts put rclone:disk:none --state "$STATE"
    fails "rclone is not installed here" env PATH="$BATS_TEST_TMPDIR" "$MAINS" artifacts get "$name" rclone:disk:x --state "$STATE"
    fails "rclone is not installed here" env PATH="$BATS_TEST_TMPDIR" "$MAINS" artifacts put rclone:disk:in --state "$STATE"
    # No bucket answers at this address, and what the environment says is all that is used.
    fails "rclone could not send it" env AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=y RCLONE_S3_ENDPOINT=http://127.0.0.1:9 \
        RCLONE_RETRIES=1 RCLONE_LOW_LEVEL_RETRIES=1 "$MAINS" artifacts get "$name" s3://bucket/x --state "$STATE"
    # Nothing of a name is an option, or a word for a shell.
    # shellcheck disable=SC2016
    fails "rclone could not fetch it" env RCLONE_RETRIES=1 "$MAINS" artifacts put 'rclone:--version' --state "$STATE"
    # shellcheck disable=SC2016
    artifacts get "$name" 'rclone:disk:a $(touch boo) "b"'
    diff -r disk/in 'disk/a $(touch boo) "b"'
    [ ! -e boo ]
    printf 'outputs: [{from: a, to: "s3://bucket/x"}]\nrun: echo >a\n' >job.yaml
    run "$MAINS" submit --state "$STATE" job.yaml
    [ "$status" -ne 0 ]
    grep -q "artifacts get" <<<"$output"
}

@test "a remote that is full says so" {
    unshare -rm mount -t tmpfs none disk 2>/dev/null || skip "no mounts here"
    head -c 3000000 /dev/urandom >big
    name=$(artifacts put big)
    full() {
        unshare -rm sh -c 'mount -t tmpfs -o size=1M none disk && exec env RCLONE_RETRIES=1 "$MAINS" artifacts get "$1" rclone:disk:x --state "$STATE"' - "$name"
    }
    fails "rclone could not send it" full
}

@test "a sending that was killed goes on: what arrived is not sent again" {
    mkdir many
    for i in 1 2 3 4 5 6; do head -c 1000000 /dev/urandom >many/$i; done
    name=$(artifacts put many)
    TMPDIR=$PWD RCLONE_BWLIMIT=512k RCLONE_TRANSFERS=1 "$MAINS" artifacts get "$name" rclone:disk:many --state "$STATE" 3>&- &
    sending=$!
    arrived() { cmp -s many/1 disk/many/1; }
    wait_for 30 arrived
    rclone=$(pgrep -P $sending rclone)
    kill -9 $sending
    gone() { refute kill -0 "$rclone" 2>/dev/null; }
    wait_for 30 gone
    [ ! -e disk/many/6 ]
    before=$(stat -c '%i %y' disk/many/1)
    artifacts get "$name" rclone:disk:many
    diff -r many disk/many
    [ "$(stat -c '%i' disk/many/1)" = "${before%% *}" ]
}
