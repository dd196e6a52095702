#!/usr/bin/env bats
# Checkpoints by CRIU, as far as they can be tested where no kernel at hand can do it: tests/fake/criu
# stands for it, and takes the options of the real one (tests/recorded/criu).

load common

setup_file() {
    [ "$(id -u)" -eq 0 ] || return 0
    CRIU=$(mktemp -d /var/tmp/mains-criu.XXXXXX)
    export CRIU
    cp "$BATS_TEST_DIRNAME/../fake/criu" "$CRIU/criu"
    PATH="$CRIU:$PATH" network_start --site home --tls --allow-no-sandbox
    export TOKEN OTHER="$(dirname "$STATE")/other"
}
teardown_file() {
    [ -n "${CRIU:-}" ] || return 0
    "$MAINS" down --state "$OTHER" >/dev/null 2>&1 || :
    network_stop
    rm -rf "$CRIU"
}
setup() {
    [ "$(id -u)" -eq 0 ] || skip "CRIU needs root"
}

job() { "$MAINS" show "$1" --state "$STATE" --json | jq -r "$2"; }
is() { [ "$(job "$1" "$2")" = "$3" ]; }
log_has() { "$MAINS" logs "$1" --state "$STATE" | grep -q "$2"; }
says() { "$MAINS" why "$1" --state "$STATE" | grep -q "$2"; }
home_heard() { [ "$("$MAINS" site show home --state "$STATE" --json | jq -r .connected)" = true ]; }
heard() { [ "$("$MAINS" site show lab --state "$STATE" --json | jq -r .connected)" = true ]; }

# It counts, and saves nothing: what it has written goes with its folder.
counter() {
    cat >"$BATS_TEST_TMPDIR/job.yaml" <<'YAML'
run: |
  n=$(cat n 2>/dev/null || echo 0)
  while :; do
      echo "$MAINS_SITE $n"
      n=$((n + 1))
      echo $n >n.new && mv n.new n
      sleep 0.1
  done
checkpoint: {by: criu}
sandbox: false
grace: 5s
YAML
    "$MAINS" submit --scratch --state "$STATE" -q "$BATS_TEST_TMPDIR/job.yaml"
}

@test "what cannot be is refused when it is submitted" {
    for more in 'sandbox: true' 'tasks: 2' 'checkpoint: {by: criu, signal: USR2}' 'checkpoint: {by: criu, marker: x}' \
        'checkpoint: {by: criu, portable: true}' 'checkpoint: {by: magic}'; do
        printf 'run: "true"\ncheckpoint: {by: criu}\nsandbox: false\n' | grep -v "^${more%%:*}:" >"$BATS_TEST_TMPDIR/bad.yaml"
        echo "$more" >>"$BATS_TEST_TMPDIR/bad.yaml"
        run "$MAINS" submit --state "$STATE" "$BATS_TEST_TMPDIR/bad.yaml"
        [ "$status" -ne 0 ]
        [[ $output == *checkpoint* ]]
    done
}

@test "where criu check fails the site refuses it, and why says so" {
    id=$(counter)
    wait_for 20 says "$id" 'home has refused it (checkpoint.by: criu: .*criu check'
    "$MAINS" cancel "$id" -q --state "$STATE"
}

@test "a job that saves nothing is moved by CRIU, and goes on where it was" {
    touch "$CRIU/good"
    : >"$CRIU/log"
    PATH="$CRIU:$PATH" "$MAINS" join "$("$MAINS" site token lab --address "$(endpoint | sed 's|.*//||')" --state "$STATE" |
        sed 's/^mains join //')" --state "$OTHER" --detach --allow-no-sandbox >&2
    wait_for 30 heard
    kill -9 "$(agent_pid)" # it asks when it starts
    wait_for 30 sh -c "grep -c '^check' '$CRIU/log' | grep -qx 2"
    "$MAINS" site drain home --state "$STATE" >/dev/null
    id=$(counter)
    wait_for 30 log_has "$id" '^lab 5$'
    "$MAINS" site resume home --state "$STATE" >/dev/null
    wait_for 30 home_heard
    "$MAINS" move "$id" --to home --state "$STATE"
    wait_for 60 is "$id" .epoch 2
    wait_for 60 is "$id" .state running
    # The keeper's environment is that of the first attempt: so is what the job says of itself.
    wait_for 30 sh -c "[ \"\$('$MAINS' logs $id --state '$STATE' | tail -n 1 | cut -d' ' -f2)\" -gt 5 ]"
    refute_began_anew() { "$MAINS" logs "$id" --state "$STATE" | awk '$2 == 0' | wc -l; }
    [ "$(refute_began_anew)" -le 1 ]
    is "$id" .attempts[0].outcome moved
    grep -q '^dump --tree [0-9]* --images-dir .criu.new --log-file dump.log --leave-running --file-locks --manage-cgroups=ignore$' "$CRIU/log"
    grep -q '^restore --images-dir .criu --restore-detached --restore-sibling --pidfile .criu.pid --file-locks --manage-cgroups=ignore --inherit-fd fd\[1\]:pipe\[[0-9]*\] --inherit-fd fd\[2\]:pipe\[[0-9]*\]$' "$CRIU/log"
    "$MAINS" cancel "$id" -q --state "$STATE"
    wait_for 30 is "$id" .state cancelled
    # Every option is one of the real program's.
    grep -o -- '--[a-z-]*' "$CRIU/log" | sort -u | while read -r option; do
        grep -q -- "$option\b" "$BATS_TEST_DIRNAME/../recorded/criu/help-3.17.1.txt"
    done
}

@test "a dump that fails leaves the program running, and its last checkpoint" {
    touch "$CRIU/good" "$CRIU/bad"
    mkdir "$BATS_TEST_TMPDIR/work"
    cd "$BATS_TEST_TMPDIR/work"
    keeper=$(dirname "$MAINS")/../agent/mains-criu
    [ -x "$keeper" ] || keeper=$(dirname "$MAINS")/../libexec/mains/mains-criu
    "$keeper" "$CRIU/criu" ck sh -c 'echo 1 >n; while [ ! -e go ]; do sleep 0.05; done; exit 7' 2>said 3>&- &
    pid=$!
    wait_for 10 test -e n
    kill -USR1 "$pid"
    wait_for 10 grep -q 'dump failed' said
    [ ! -e ck ]
    rm "$CRIU/bad"
    kill -USR1 "$pid"
    wait_for 10 test -e ck/complete
    grep -q . ck/core
    touch go
    code=0
    wait "$pid" || code=$?
    [ "$code" -eq 7 ]
    # Restored without the word that there is something to restore, it begins anew.
    rm go
    "$keeper" "$CRIU/criu" ck sh -c 'exit 3' || code=$?
    [ "$code" -eq 3 ]
    # A checkpoint that cannot be restored is no reason to begin anew.
    rm ck/core
    MAINS_RESTORED=1 run "$keeper" "$CRIU/criu" ck sh -c 'echo anew'
    [ "$status" -eq 125 ]
    [[ $output == *"restore failed"* && $output != *anew$'\n'* ]]
}
