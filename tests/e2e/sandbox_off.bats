# Where the operator allowed jobs without a sandbox: what still holds.

load common

setup_file() {
    [ "$(id -u)" -eq 0 ] || skip "needs root: tenants are kept apart by uids"
    network_start --allow-no-sandbox --cpus 4
    export MAINS_STATE=$STATE
    DIR=$(dirname "$STATE")
    "$MAINS" token create --tenant red 2>/dev/null >"$DIR/token.red"
    export TOKEN DIR
}

teardown_file() { network_stop; }

as_red() { MAINS_TOKEN=$(cat "$DIR/token.red") "$MAINS" "$@"; }
no_process() { ! pgrep -f "$1" >/dev/null; }
is_running() { [ "$("$MAINS" show --json "$1" | jq -r .state)" = running ]; }

@test "a job outside the sandbox has its tenant's uid, no capability, and cannot read the state folder" {
    run as_red run --scratch --no-sandbox -- sh -c "exec 2>&1; id -u; grep CapEff /proc/self/status; cat $STATE/admin.token $STATE/tokens.json; ls $STATE; \
        cat /proc/$(agent_pid)/environ; kill -9 $(agent_pid) $(up_pid)"
    echo "$output"
    [ "$(head -n 1 <<<"$output")" -ge 61184 ]
    [[ "$output" == *"CapEff:"*"0000000000000000"* ]]
    [[ "$output" != *mains_* ]]
    [[ "$output" != *'"hash"'* ]]
    [ "$(grep -c 'ermission denied\|not permitted' <<<"$output")" -ge 5 ]
    kill -0 "$(agent_pid)"
}

@test "its work folder can be named from the root down" {
    [ "$(as_red run --scratch --no-sandbox -- sh -c 'echo own >f; cat "$PWD/f"')" = own ]
}

@test "nothing outlives an attempt outside the sandbox either" {
    mark=8$$ # of this run: another may go on beside it
    text='trap "" TERM HUP INT; (setsid sh -c "trap \"\" TERM HUP; sleep 800001 & sleep 800002" >/dev/null 2>&1 &)
        python3 -c "
import os,sys
if os.fork(): sys.exit()
os.setsid()
if os.fork(): sys.exit()
for fd in range(64):
    try: os.close(fd)
    except OSError: pass
os.execvpe(\"sleep\", [\"sleep\", \"800003\"], {\"PATH\": \"/usr/bin:/bin\"})"
        nohup sleep 800004 >/dev/null 2>&1 & sleep 0.3'
    text=${text//80000/$mark}
    as_red run -q --scratch --no-sandbox -- sh -c "$text"
    wait_for 5 no_process "sleep $mark"
    id=$(as_red submit -q --scratch --no-sandbox --grace 200ms -- sh -c "$text; sleep ${mark}5")
    wait_for 10 is_running "$id"
    wait_for 10 pgrep -xf "sleep ${mark}5" >/dev/null
    as_red cancel -q "$id"
    wait_for 10 no_process "sleep $mark"
}

@test "memory and disk limits hold outside the sandbox" {
    [ -d /sys/fs/cgroup/memory ] || grep -q memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null || skip "no memory cgroup here"
    run as_red run -q --scratch --no-sandbox --memory 64M -- python3 -c 'x = bytearray(400 << 20)'
    [ "$status" -eq 137 ]
    run as_red run --scratch --no-sandbox --disk 32M -- sh -c 'exec head -c 300M /dev/zero >big'
    [ "$status" -ne 0 ]
    [[ "$output" == *disk* ]]
}
