# What a job may not do: to other tenants, to the network's own files and processes, to the machine,
# and to its neighbours. Everything runs through `mains up` as root, which drops each tenant's jobs
# to a uid of its own.

load common

setup_file() {
    [ "$(id -u)" -eq 0 ] || skip "needs root: tenants are kept apart by uids"
    network_start --cpus 4
    export MAINS_STATE=$STATE
    DIR=$(dirname "$STATE")
    local role
    cp "$STATE/admin.token" "$DIR/token.admin"
    for role in red blue; do "$MAINS" token create --tenant "$role" 2>/dev/null >"$DIR/token.$role"; done
    export TOKEN DIR
}

teardown_file() { network_stop; }

# as TENANT ARGUMENTS...: a command of mains with that tenant's token.
as() {
    local who=$1
    shift
    MAINS_TOKEN=$(cat "$DIR/token.$who") "$MAINS" "$@"
}

# job TENANT JSON: submit, print the id.
job() {
    curl -sS -m 20 -H "Authorization: Bearer $(cat "$DIR/token.$1")" --data-binary "$2" \
        "$(endpoint)/api/v1/jobs" | jq -er '.id // error(.error.message)'
}

# shell TEXT [JSON]: a job's body that runs TEXT.
shell() { jq -cn --arg run "$1" --argjson more "${2:-{\}}" '{run: $run} + $more'; }

# ask TENANT PATH: what the API says to that tenant.
ask() { curl -sS -m 60 -H "Authorization: Bearer $(cat "$DIR/token.$1")" "$(endpoint)/api/v1$2"; }

# ended JOB [SECONDS]: waits so long at most.
ended() { ask admin "/jobs/$1/wait?timeout_s=${2:-15}" | jq -e '.state | IN("done", "failed", "cancelled")' >/dev/null; }
field() { ask admin "/jobs/$1" | jq -r "$2"; }

# said TENANT TEXT [JSON]: run TEXT as a job, print what it wrote.
said() {
    local id
    id=$(job "$1" "$(shell "$2" "${3-}")")
    ended "$id" || return
    ask admin "/jobs/$id/logs?stream=stdout"
}

started() { [ "$(field "$1" .state)" = running ]; }
no_process() { ! pgrep -f "$1" >/dev/null; }

@test "a job sees neither the state folder nor the tokens, homes or work folders of others" {
    neighbour=$(job blue "$(shell 'echo blue-treasure >treasure; sleep 600')")
    wait_for 10 started "$neighbour"
    work=$STATE/agent/attempts/$neighbour.1/work
    wait_for 10 grep -qs blue-treasure "$work/treasure"
    for who in red admin; do
        out=$(said "$who" "cat $STATE/admin.token $STATE/tokens.json $STATE/journal.db $work/treasure /root/.bashrc \
            /proc/1/root$STATE/admin.token /proc/self/cwd/../../../admin.token ../treasure 2>&1; ls -a /root /home /var /mnt /run 2>&1; ls -d $STATE 2>&1")
        echo "$out"
        [[ "$out" != *treasure$'\n'* || "$out" == *"No such file"* ]]
        refute grep -qE 'mains_[A-Za-z0-9_-]{20}|blue-treasure|"hash"' <<<"$out"
        refute grep -qxE "$STATE" <<<"$out"
    done
    "$MAINS" cancel -q "$neighbour"
}

@test "each tenant has a uid of its own, no capability, no way to gain one, and no other process to see" {
    neighbour=$(job blue "$(shell 'sleep 611')")
    wait_for 10 started "$neighbour"
    red=$(said red 'id -u; grep -E "^(Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs)" /proc/self/status; ps -e -o args 2>/dev/null || cat /proc/[0-9]*/cmdline')
    blue=$(said blue 'id -u')
    echo "$red"
    [ "$(head -n 1 <<<"$red")" != "$blue" ]
    [ "$(head -n 1 <<<"$red")" -ge 61184 ]
    grep -q 'NoNewPrivs:.1' <<<"$red"
    refute grep -E '^Cap(Prm|Eff|Bnd|Amb):.*[1-9a-f]' <<<"$red"
    refute grep -q 'sleep 611' <<<"$red"
    refute grep -qE 'mains (controller|agent|up)' <<<"$red"
    "$MAINS" cancel -q "$neighbour"
}

@test "no process of the network, nor its environment, memory or descriptors, can be reached; signals neither" {
    up=$(up_pid) controller=$(controller_pid) agent=$(agent_pid)
    for who in red admin; do
        out=$(said "$who" "for p in $up $controller $agent 1; do kill -9 \$p 2>&1; cat /proc/\$p/environ 2>&1 | tr '\\0' '\\n' | grep -a MAINS_STATE; \
            head -c 64 /proc/\$p/mem 2>/dev/null; ls /proc/\$p/fd 2>/dev/null; done; kill -9 -1; echo still")
        echo "$who: $out"
        refute grep -q 'MAINS_STATE=' <<<"$out"
    done
    kill -0 "$up" && kill -0 "$controller" && kill -0 "$agent"
}

@test "the system cannot be changed from a job: neither files nor kernel settings, even by root's own" {
    core=$(cat /proc/sys/kernel/core_pattern)
    for who in red admin; do
        out=$(said "$who" 'for f in /etc/mains-test /usr/bin/mains-test /mains-test /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/self/attr/none /sys/kernel/uevent_helper; do
            (echo x >>$f) 2>/dev/null && echo "wrote $f"; done; mount -t tmpfs none /mnt 2>/dev/null && echo mounted; mknod /tmp/disk b 8 0 2>/dev/null && echo mknod; echo end')
        echo "$who: $out"
        [ "$out" = end ]
    done
    [ "$(cat /proc/sys/kernel/core_pattern)" = "$core" ]
    [ ! -e /etc/mains-test ] && [ ! -e /usr/bin/mains-test ]
}

@test "nothing outlives an attempt: double forks, new sessions, ignored signals, daemons" {
    mark=7$$ # of this run: another may go on beside it
    text='trap "" TERM HUP INT; (setsid sh -c "trap \"\" TERM HUP; sleep 700001 & sleep 700002" >/dev/null 2>&1 &)
        python3 -c "
import os,sys,signal
if os.fork(): sys.exit()
os.setsid()
if os.fork(): sys.exit()
for s in range(1, 65):
    try: signal.signal(s, signal.SIG_IGN)
    except (OSError, ValueError): pass
for fd in range(64):
    try: os.close(fd)
    except OSError: pass
os.chdir(\"/\"); os.execvp(\"sleep\", [\"sleep\", \"700003\"])"
        nohup sleep 700004 >/dev/null 2>&1 &
        sleep 0.3'
    text=${text//70000/$mark}
    for who in red admin; do
        id=$(job "$who" "$(shell "$text")")
        ended "$id" 10
        [ "$(field "$id" .state)" = done ]
        wait_for 5 no_process "sleep $mark"
        # And when it is cancelled in the middle, deaf to SIGTERM.
        id=$(job "$who" "$(shell "$text; sleep ${mark}5" '{"grace":"200ms"}')")
        wait_for 10 started "$id"
        wait_for 10 pgrep -xf "sleep ${mark}5" >/dev/null
        "$MAINS" cancel -q "$id"
        ended "$id" 10
        wait_for 5 no_process "sleep $mark"
        [ "$(field "$id" .state)" = cancelled ]
    done
}

@test "a job past its memory dies alone, and its record says so" {
    [ -d /sys/fs/cgroup/memory ] || grep -q memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null || skip "no memory cgroup here"
    neighbour=$(job blue "$(shell 'sleep 3; echo survived')")
    id=$(job red "$(shell 'python3 -c "x = bytearray(400 << 20); print(len(x))"; sleep 60' '{"resources":{"memory":"64M"}}')")
    ended "$id" 15
    [ "$(field "$id" '.attempts[0].outcome')" = memory ]
    [ "$(field "$id" .state)" = failed ]
    [[ "$(field "$id" .reason)" == *memory* ]]
    ended "$neighbour" 15
    [ "$(field "$neighbour" .state)" = done ]
    # A file in /tmp is memory too: filling it is no way round.
    id=$(job red "$(shell 'head -c 400M /dev/zero >/tmp/x; sleep 60' '{"resources":{"memory":"64M"}}')")
    ended "$id" 15 || { "$MAINS" cancel -q "$id"; ended "$id" 15; }
    [ "$(field "$id" .usage.memory_peak_bytes)" -le $((72 << 20)) ]
}

@test "a job past its disk limit is stopped: one big file, or many small ones by a deaf one" {
    for text in 'exec head -c 400M /dev/zero >big' \
        'trap "" TERM XFSZ; i=0; while :; do head -c 1M /dev/zero >f$i; i=$((i + 1)); done'; do
        id=$(job red "$(shell "$text" '{"resources":{"disk":"32M"}}')")
        ended "$id" 20
        field "$id" '[.state, .reason, .attempts[0].outcome]'
        [ "$(field "$id" '.attempts[0].outcome')" = disk ]
        [[ "$(field "$id" .reason)" == *disk* ]]
        wait_for 20 test ! -d "$STATE/agent/attempts/$id.1/work"
    done
    # A job whose child died of it may go on: with what it was given.
    [ "$(said red 'head -c 400M /dev/zero >big; stat -c %s big' '{"resources":{"disk":"32M"}}')" = $((32 << 20)) ]
}

@test "a fork bomb ends with its job, and the network answers meanwhile" {
    id=$(job red "$(shell ': bombe; b() { b | b & }; b; sleep 60' '{"duration":"3s","grace":"0s","resources":{"memory":"256M"}}')")
    wait_for 15 started "$id" || :
    [ "$(ask red /whoami | jq -r .tenant)" = red ]
    [ "$(said blue 'echo fine')" = fine ]
    ended "$id" 30
    # Whatever it ran into, its supervisor was not the one that died of it.
    field "$id" '[.reason, (.attempts | length), .attempts[0].outcome]'
    [ "$(field "$id" '.attempts | length')" -eq 1 ]
    [[ "$(field "$id" '.attempts[0].outcome')" =~ ^(memory|time_limit|exited)$ ]] # exited: it could not fork
    wait_for 5 no_process '[:] bombe'
}

@test "what floods its log is cut at log_limit, and says so" {
    id=$(job red "$(shell 'yes | head -c 50M' '{"log_limit":"64K"}')")
    ended "$id" 20
    [ "$(ask red "/jobs/$id/logs" | wc -c)" -lt 70000 ]
    ask red "/jobs/$id/logs" | tail -n 1 | grep -q truncated
}

@test "--no-sandbox is refused where the operator did not allow it, and held to its uid where he did" {
    run as red run --scratch --no-sandbox -- id
    [ "$status" -eq 125 ]
    [[ "$output" == *sandbox* ]]
}

@test "secrets reach the job and nothing else: no answer, journal, log or command line has them" {
    secret=zq7-nobody-may-read-this-$RANDOM
    id=$(job red "$(jq -cn --arg s "$secret" '{run: "sleep 2; echo \"$PASS\" | sha256sum", secrets: {PASS: {value: $s}}}')")
    wait_for 10 started "$id"
    refute grep -aqs "$secret" /proc/[0-9]*/cmdline
    ended "$id"
    [ "$(ask red "/jobs/$id/logs" | cut -c1-64)" = "$(echo "$secret" | sha256sum | cut -c1-64)" ]
    ask admin "/jobs/$id" >"$DIR/told"
    as red show --json "$id" >>"$DIR/told"
    ask red "/jobs/$id" >>"$DIR/told"
    [ "$(grep -o '"PASS"' "$DIR/told" | wc -l)" -eq 3 ]
    refute grep -q "$secret" "$DIR/told"
    "$MAINS" journal export >"$DIR/export"
    [ -s "$DIR/export" ]
    refute grep -q "$secret" "$DIR/export"
    refute grep -aqrs "$secret" "$STATE"
    # Sealed for this tenant and network: the key is beside the journal, not in it.
    [ "$(stat -c %a "$STATE/secret.key")" = 600 ]
}

@test "another tenant's job is not there: to see, list, read, follow or cancel" {
    id=$(job red "$(shell 'echo mine; echo kept >kept; sleep 600' '{"outputs":["kept"],"name":"hidden"}')")
    wait_for 10 started "$id"
    for path in "/jobs/$id" "/jobs/$id/logs" "/jobs/$id/outputs" "/jobs/$id/outputs/kept" "/jobs/$id/why" "/jobs/$id/wait?timeout_s=0"; do
        [ "$(ask blue "$path" | jq -r .error.code)" = not_found ]
    done
    run as blue cancel "$id"
    [ "$status" -ne 0 ]
    [ "$(field "$id" .state)" = running ]
    [ "$(ask blue '/jobs?all=1&limit=1000' | jq '[.jobs[] | select(.tenant != "blue")] | length')" -eq 0 ]
    [ "$(ask blue '/jobs?name=hidden' | jq '.jobs | length')" -eq 0 ]
    [ "$(ask blue '/usage?group_by=tenant' | jq '[.rows[] | select(.key != "blue")] | length')" -eq 0 ]
    # Nor does its end, or anything else of it, come through the stream of events.
    for limit in 3 20; do # a slow machine may need longer for the first of them
        timeout $limit curl -sN -H "Authorization: Bearer $(cat "$DIR/token.blue")" "$(endpoint)/api/v1/events?after=0" >"$DIR/events" || :
        refute grep -q '"tenant":"blue"' "$DIR/events" || break
    done
    grep -q '"tenant":"blue"' "$DIR/events"
    refute grep -q '"tenant":"red"' "$DIR/events"
    as red cancel -q "$id"
}

@test "names in a work folder that lead out of it are followed by nobody" {
    id=$(job red "$(shell "ln -s $STATE/admin.token token; ln -s /etc/shadow shadow; mkdir d; ln -s / d/root; mkfifo pipe; ln \$0 hard 2>/dev/null; echo ok >ok" \
        '{"outputs":["*", "d/root/etc/passwd", "**"]}')")
    ended "$id" 10
    ask red "/jobs/$id/outputs" | jq -c '[.outputs[].path]'
    [ "$(ask red "/jobs/$id/outputs" | jq -c '[.outputs[].path]')" = '["ok"]' ]
}
