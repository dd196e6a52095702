#!/usr/bin/env bats
# A local site over several machines: the site's agent beside its controller, node agents in networks
# of their own that dial it. Gangs over them, and what may happen to them.

load common
load lab.bash

setup_file() {
    lab_need
    # A node's lease is a third of the site's and a fifth more: 7.2 s.
    lab_start --lease 18s --nodes-listen "$LAB_ADDRESS:7744"
    lab_mains site resume hub >/dev/null
    lab_in ctl sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
}
teardown_file() { lab_stop; }

node_token() { lab_mains node token "$@" | sed 's/^mains node join //'; }
node_start() { # node_start NAME [TOKEN]
    lab_in "$1" "$MAINS" node join ${2:+"$2"} --state "$(lab_state "$1")" --detach --sandbox-off --cpus 2 >&2 3>&-
}
node_place() { # a network of its own, routed to the others
    lab_enter "$1"
    lab_route "$1"
    lab_in "$1" ip route add default via "10.77.$(lab_number "$1").1"
}
node_mend() { # its link is up again, and with it its routes
    lab_mend "$1"
    lab_in "$1" ip route replace "$LAB_ADDRESS" via "10.77.$(lab_number "$1").1"
    lab_in "$1" ip route replace default via "10.77.$(lab_number "$1").1"
}
node_add() {
    node_place "$1"
    mkdir -p "$LAB_DIR/sites/$1"
    node_start "$1" "$(node_token --name "$1")"
    wait_for 30 node_is "$1" ready
}
heard() { lab_mains node list 2>/dev/null | awk -v n="$1" '$1 == n && $2 == "heard" {found = 1} END {exit !found}'; }
agent_is_other() { is_other "$(lab_child "$STATE" agent)" "$1" && heard n1 && heard n2 && heard n3; } # the site's own
node_is() { lab_mains nodes --json | jq -e --arg n "$1" --arg s "$2" '.[] | select(.name == $n) | .state == $s' >/dev/null; }
ready_to() { # ready_to N: so many ranks have stamped
    [ "$(find "$STAMPS" -name "$1.$2.*" | wc -l)" -eq "$3" ]
}
# gang BODY [JQ]: a task on each of two nodes, none of them the site's own
gang() {
    local more=${2-}
    [ -n "$more" ] || more='{}'
    lab_job "$1" '{tasks: {count: 2, per_node: 1}} * ('"$more"')' | lab_mains submit --quiet -
}
job() { lab_mains show --json "$1"; }
job_is() { [ "$(job "$1" | jq -r .state)" = "$2" ]; }
at_epoch() { [ "$(job "$1" | jq -r .epoch)" -eq "$2" ] && job_is "$1" running; }
until_file() { echo "while [ ! -e $LAB_DIR/$1 ]; do sleep 0.1; done"; }
# Both attempts of a job by what each rank wrote while it ran: the later began when none of the
# earlier lived any more.
apart() { # apart ID
    awk '{ n = split(FILENAME, p, "."); e = p[n - 1]
           if (!(e in first) || $2 < first[e]) first[e] = $2
           if ($2 > last[e]) last[e] = $2 }
         END { exit !((1 in last) && (2 in first) && last[1] < first[2]) }' "$STAMPS/$1".*
}
ticks() { echo "while [ ! -e $LAB_DIR/$1 ]; do read -r up rest </proc/uptime; echo \"tick \$up\" >>\"\$s\"; sleep 0.1; done"; }

@test "a site that was not asked to takes no nodes" {
    run "$MAINS" node token --state "$BATS_TEST_TMPDIR/none"
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == *"--nodes-listen"* ]]
}

@test "a token that is garbled, of another kind, expired or used is refused in one line" {
    good=$(node_token --name spare)
    x=$BATS_TEST_TMPDIR/x
    for bad in "${good%?}" "${good}x" hello; do
        run lab_in ctl "$MAINS" node join "$bad" --state "$x"
        [ "$status" -eq 1 ]
        [ "${#lines[@]}" -eq 1 ]
        [[ $output == *"join token"* ]]
    done
    run lab_in ctl "$MAINS" join "$good" --state "$x"
    [ "$status" -eq 1 ]
    [[ $output == *"mains node join"* ]]
    site=$(lab_mains site token other --address "$LAB_ADDRESS:$LAB_PORT" | sed 's/^mains join //')
    run lab_in ctl "$MAINS" node join "$site" --state "$x"
    [ "$status" -eq 1 ]
    [[ $output == *"is a site's"* ]]
    late=$(node_token --name late --expires 1s)
    sleep 1.1
    run lab_in ctl "$MAINS" node join "$late" --state "$x"
    [ "$status" -eq 1 ]
    [[ $output == *"has expired"* ]]
    [ ! -e "$x/joined.json" ]
    run lab_mains node token --name "$(hostname)"
    [ "$status" -eq 1 ]
    [[ $output == *"choose another name"* ]]
}

@test "nodes join, and show with the site's own" {
    node_place n1
    token=$(node_token --name n1)
    node_start n1 "$token"
    wait_for 30 node_is n1 ready
    run lab_in ctl "$MAINS" node join "$token" --state "$BATS_TEST_TMPDIR/twice"
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == *"was used already"* ]]
    node_add n2
    node_add n3
    [ "$(lab_mains nodes --json | jq 'map(select(.site == "hub")) | length')" -eq 4 ]
    [ "$(stat -c %a "$(lab_state n1)/site.key" "$STATE/agent/nodes/ca.key" "$STATE/agent/nodes/door.json" | sort -u)" = 600 ]
    heard n1
    lab_mains node list | grep -q 'n1 .*10\.77\.'
}

@test "a node speaks for itself only, and nobody else at all" {
    url=https://$LAB_ADDRESS:7744/api/v1
    pin="sha256//$(jq -r .pin "$STATE/agent/nodes/door.json")"
    tls=(lab_in ctl curl -sk --pinnedpubkey "$pin" -m 10 -o /dev/null -w '%{http_code}')
    as_n1=(--cert "$(lab_state n1)/site.crt" --key "$(lab_state n1)/site.key")
    [ "$("${tls[@]}" "$url/nodes")" = 401 ]
    [ "$("${tls[@]}" -X POST "$url/site-session/reports")" = 401 ]
    [ "$("${tls[@]}" -H "Authorization: Bearer $(cat "$STATE/admin.token")" "$url/nodes")" = 401 ]
    [ "$("${tls[@]}" "${as_n1[@]}" "$url/nodes")" = 404 ]
    [ "$("${tls[@]}" "${as_n1[@]}" "$url/site-session/inputs?site=n1&job=1&epoch=1")" = 409 ]
    [ "$("${tls[@]}" "${as_n1[@]}" -X POST -d '{"type":"alive","boot_ms":1}' "$url/site-session/reports?session=1")" = 409 ]
}

@test "a gang over three machines finds itself by its rendezvous variables; one log has all of it" {
    id=$(lab_submit 'python3 - <<\END
import os, socket, time
rank, size, node = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), os.environ["MAINS_NODE"]
at = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if rank == 0:
    server = socket.create_server(("", at[1]))
    for i in range(size - 1):
        peer, _ = server.accept()
        print("heard", peer.makefile().readline().strip(), flush=True)
else:
    for i in range(100):
        try:
            peer = socket.create_connection(at, 5)
            break
        except OSError:
            time.sleep(0.1)
    peer.sendall(f"rank {rank} of {size} on {node}\n".encode())
    print("said", rank, os.environ["NODE_RANK"], open(os.environ["MAINS_HOSTFILE"]).read().count("slots=1"), flush=True)
END
' '{tasks: {count: 3, per_node: 1}}')
    lab_mains wait "$id" || :
    lab_mains logs "$id" >"$BATS_TEST_TMPDIR/log" 2>&1
    cat "$BATS_TEST_TMPDIR/log"
    job_is "$id" done
    [ "$(grep -c '^heard rank [12] of 3 on ' "$BATS_TEST_TMPDIR/log")" -eq 2 ]
    grep -q '^said 1 1 3$' "$BATS_TEST_TMPDIR/log"
    grep -q '^said 2 2 3$' "$BATS_TEST_TMPDIR/log"
    [ "$(job "$id" | jq '.usage.cpu_ms > 0 and .usage.energy_mj > 0')" = true ]
}

@test "the first to fail ends all of it" {
    lab_mains site cordon-node hub "$(hostname)" >/dev/null
    id=$(gang 'if [ "$RANK" = 1 ]; then exit 7; fi; sleep 60')
    run lab_mains wait "$id"
    [ "$status" -ne 0 ]
    [ "$(job "$id" | jq -r '"\(.exit_code) \(.reason)"')" = "7 exit code 7: node n2: rank 1 ended first" ]
}

@test "what one process would have to start elsewhere is refused with a reason" {
    id=$(gang 'true' '{launch: "once"}')
    says() { job "$id" | jq -r .reason | grep -q 'start nothing on each other'; }
    wait_for 20 says
    lab_mains cancel "$id" >/dev/null
}

@test "the agent of a node is killed, then the site's: what runs is adopted, its log is whole" {
    body="i=0; while [ ! -e $LAB_DIR/adopted ]; do echo \"\$RANK \$i\"; i=\$((i + 1)); sleep 0.05; done; echo \"\$RANK \$i last\"; echo \"\$RANK\" >result"
    id=$(gang "$body" '{outputs: ["result"]}')
    wait_for 20 job_is "$id" running
    before=$(lab_agent_pid n1)
    kill -9 "$before"
    back() { is_other "$(lab_agent_pid n1)" "$before" && heard n1; }
    wait_for 20 back
    before=$(lab_child "$STATE" agent)
    kill -9 "$before"
    wait_for 20 agent_is_other "$before"
    sleep 1
    touch "$LAB_DIR/adopted"
    lab_mains wait "$id"
    [ "$(lab_attempts "$id")" -eq 1 ]
    lab_mains logs "$id" >"$BATS_TEST_TMPDIR/log"
    for rank in 0 1; do
        grep "^$rank " "$BATS_TEST_TMPDIR/log" >"$BATS_TEST_TMPDIR/$rank"
        awk '$2 != NR - 1 && !($3 == "last" && $2 == NR - 1) {exit 1}' "$BATS_TEST_TMPDIR/$rank"
        tail -n 1 "$BATS_TEST_TMPDIR/$rank" | grep -q last
    done
    # What it leaves is the first node's, whose agent had begun anew.
    [ "$(lab_mains artifacts ls "$id" --json | jq -c '[.artifacts[] | [.path, .bytes]]')" = '[["result",2]]' ]
}

@test "a machine dies with all that is on it: the gang is lost as a whole and runs again elsewhere" {
    id=$(gang "$(ticks dead)")
    wait_for 20 ready_to "$id" 1 2
    lab_dies n1
    wait_for 10 node_is n1 cordoned
    wait_for 30 at_epoch "$id" 2
    touch "$LAB_DIR/dead"
    lab_mains wait "$id"
    [ "$(job "$id" | jq -c '[.attempts[].outcome]')" = '["lost","exited"]' ]
    apart "$id"
    node_start n1
    wait_for 20 node_is n1 ready
}

@test "a node that is cut off stops its part itself, before it runs again" {
    id=$(gang "$(ticks cut)")
    wait_for 20 ready_to "$id" 1 2
    lab_cut n1
    wait_for 30 at_epoch "$id" 2
    touch "$LAB_DIR/cut"
    lab_mains wait "$id"
    apart "$id"
    node_mend n1
    wait_for 20 node_is n1 ready
    [ "$(lab_attempts "$id")" -eq 2 ]
}

@test "the site is not heard by the network: what may move ends on its nodes before its lease does" {
    id=$(gang "$(ticks moved)" '{on_unreachable: "move"}')
    stays=$(gang "$(until_file moved)")
    wait_for 20 ready_to "$id" 1 2
    wait_for 20 ready_to "$stays" 1 2
    kill -STOP "$(lab_controller_pid)"
    stopped() { [ -z "$(find "$STAMPS" -name "$id.1.*" -newermt '-4 seconds')" ]; }
    wait_for 60 stopped || { kill -CONT "$(lab_controller_pid)"; false; }
    kill -CONT "$(lab_controller_pid)"
    wait_for 30 at_epoch "$id" 2
    touch "$LAB_DIR/moved"
    lab_mains wait "$id" "$stays"
    apart "$id"
    [ "$(lab_attempts "$stays")" -eq 1 ]
}

@test "files of a node go to the network, and come back to another" {
    run="[ -e state ] && { cat state; echo done >result; exit 0; }; echo \"kept by \$MAINS_NODE\" >state; $(until_file stored); exit 9"
    id=$(jq -n --arg run "$run" '{run: $run, resources: {cpus: 2}, checkpoint: {path: "state"}, outputs: ["result"], retries: 1}' |
        lab_mains submit --quiet -)
    stored() { [ "$(job "$id" | jq -r '.checkpoint.manifest // ""')" != "" ]; }
    wait_for 30 stored
    touch "$LAB_DIR/stored"
    lab_mains wait "$id"
    lab_mains logs "$id" | grep -q 'kept by n'
    [ "$(cd "$BATS_TEST_TMPDIR" && lab_mains outputs "$id" | grep -c result)" -eq 1 ]
}

@test "the owner's rules of export hold for nodes, too" {
    printf 'policy: {data: {leave: [], here: [patients]}}\n' >"$STATE/site.yaml"
    before=$(lab_child "$STATE" agent)
    kill -9 "$before"
    wait_for 20 agent_is_other "$before"
    id=$(jq -n '{run: "echo name >result; cp result c; echo seen; sleep 1", resources: {cpus: 1}, data: ["patients"],
        outputs: ["result"], checkpoint: {path: "c"}}' | lab_mains submit --quiet -)
    lab_mains wait "$id"
    [ "$(lab_mains artifacts ls "$id" --json | jq -r '[.artifacts[].path] | join(" ")')" = "" ]
    [ "$(job "$id" | jq -r '.checkpoint.manifest // "none"')" = none ]
    lab_mains logs "$id" | grep -q 'this log stays at site hub'
    ls "$LAB_DIR"/sites/n*/state/agent/attempts/"$id".1/outputs/result # for who is there
    rm "$STATE/site.yaml"
}

@test "a node that was removed is no node any more" {
    lab_mains node remove n3
    wait_for 10 node_is n3 gone
    [ "$(lab_in ctl curl -sk --pinnedpubkey "sha256//$(jq -r .pin "$STATE/agent/nodes/door.json")" -m 10 -o /dev/null \
        -w '%{http_code}' --cert "$(lab_state n3)/site.crt" --key "$(lab_state n3)/site.key" \
        -X POST "https://$LAB_ADDRESS:7744/api/v1/site-session/reports")" = 401 ]
    node_is n3 gone
}
