#!/usr/bin/env bats
# Gangs over two sites that have no route to each other, only to the controller: the tasks reach each
# other through it, start and end together, and each site bills its own.

load common
load lab.bash

setup_file() {
    lab_need
    lab_start --lease 8s
    for site in west east south; do
        mkdir -p "$LAB_DIR/sites/$site"
        lab_enter $site
        lab_route $site
        # West is ten times as dear. South can be reached, and is by west, not by east.
        printf '{"tariff": {"cpu_price_micro_per_hour": %s}%s}\n' "$([ $site = west ] && echo 36000000 || echo 3600000)" \
            "$([ $site = south ] && echo ', "address": "10.77.50.2:7800"')" >"$LAB_DIR/sites/$site/site.json"
        [ $site != south ] || lab_wire west south 50
        lab_join $site "$LAB_ADDRESS:$LAB_PORT" --cpus 1 --config "$LAB_DIR/sites/$site/site.json"
    done
    cat >"$LAB_DIR/talk.py" <<'END'
import hashlib, os, socket, time

rank = int(os.environ["RANK"])
peers = [(a, int(p)) for a, p in (x.split(":") for x in os.environ["MAINS_PEERS"].split(","))]
blob = os.urandom(1 << 20) * 4


def whole(sock):
    data = bytearray()
    while True:
        piece = sock.recv(1 << 16)
        if not piece:
            return bytes(data)
        data += piece


def listen(address, port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen()
    return sock


own = listen(os.environ["MAINS_ADDRESS"], int(os.environ["MAINS_PORT"]))
if rank == 0:
    master = listen("0.0.0.0", int(os.environ["MASTER_PORT"]))
    conn, _ = master.accept()
    got = whole(conn)  # all of it, to the end that the other side has told
    conn.sendall(hashlib.sha256(got).hexdigest().encode())
    conn.close()
    back = socket.create_connection(peers[1], 20)  # and the other way round
    back.sendall(b"ping")
    back.shutdown(socket.SHUT_WR)
    print("rank 0 at", os.environ["MAINS_SITE"], "got", len(got), "and", whole(back).decode(), flush=True)
else:
    conn = socket.create_connection((os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])), 20)
    for at in range(0, len(blob), 1 << 17):  # slowly, where a link is to break meanwhile
        conn.sendall(blob[at:at + (1 << 17)])
        time.sleep(float(os.environ.get("PAUSE", "0")))
    conn.shutdown(socket.SHUT_WR)
    same = whole(conn).decode() == hashlib.sha256(blob).hexdigest()
    guest, _ = own.accept()
    guest.sendall(whole(guest).replace(b"i", b"o"))
    guest.close()
    print("rank 1 at", os.environ["MAINS_SITE"], "of", os.environ["WORLD_SIZE"], "same:", same, flush=True)
END
    export TALK="$LAB_DIR/talk.py"
}
teardown_file() { lab_stop; }

job() { lab_mains show "$1" --json; }
is_state() { [ "$(job "$1" | jq -r .state)" = "$2" ]; }
# Over both sites, and running at both.
gang() { # gang [options] -- COMMAND
    lab_mains submit --json --tasks 2 --across 2 --no-sandbox "$@" | jq -r .id
}

@test "what makes no sense is refused in one line" {
    run lab_mains submit --across 2 -- true
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == *"sites: expected 2 to 256 tasks, not 1"* ]]
    run lab_mains submit --across 2 --tasks 2 --site west -- true
    [ "$status" -eq 1 ]
    [[ $output == *"where.sites names one"* ]]
    run lab_mains submit --across 9 --tasks 2 -- true
    [ "$status" -ne 0 ]
    [[ $output == *"resources.sites: expected a whole number from 1 to 4"* ]]
}

@test "without it the gang waits; with it, it runs over both, and its tasks reach each other" {
    plain=$(lab_mains submit --json --tasks 2 -- true | jq -r .id)
    id=$(gang -- /usr/bin/python3 "$TALK")
    run lab_mains wait "$id"
    lab_mains logs "$id" --attempt 1 >&2 || :
    lab_mains logs "$id" --attempt 2 >&2 || :
    [ "$status" -eq 0 ]
    [ "$(job "$plain" | jq -r .state)" = queued ]
    lab_mains cancel "$plain"
    logs=$(lab_mains logs "$id" --attempt 2; lab_mains logs "$id" --attempt 1)
    [[ $logs == *"rank 0 at"*"got 4194304 and pong"* ]]
    [[ $logs == *"rank 1 at"*"of 2 same: True"* ]]
    [ "$(job "$id" | jq -r '[.attempts[].site] | sort | join(" ")')" = "east west" ]
}

@test "each site's row bills its own part, by its own tariff" {
    id=$(gang -- sleep 1)
    lab_mains wait "$id"
    job "$id" | jq -c '.attempts[]' >&2
    # 1 CPU: 36 a CPU-hour is 10,000 micros a CPU-second at west, a tenth of that at east.
    job "$id" | jq -e '[.attempts[] | (if .site == "west" then 10 else 1 end) as $rate
        | .usage.cpu_held_ms * $rate - .usage.price_micro | fabs <= 200 * $rate] | all and length == 2'
    sum=$(job "$id" | jq '[.attempts[].usage.price_micro] | add')
    [ "$(job "$id" | jq .usage.price_micro)" -eq "$sum" ]
}

# A gang whose tasks say that they run, then wait for a file.
waiting_gang() { # waiting_gang NAME [options]
    local name=$1
    shift
    # shellcheck disable=SC2016
    gang "$@" --env STAMPS --env NAME="$name" -- sh -c 'echo "$MAINS_EPOCH $MAINS_RANK $$ $MAINS_SITE" >>"$STAMPS/$NAME"
        while [ ! -e "$STAMPS/$NAME.go" ]; do sleep 0.1; done'
}
has_lines() { [ "$(cat "$STAMPS/$1" 2>/dev/null | wc -l)" -ge "$2" ]; }
as_site() { # as_site SITE [curl options]: the status, then the body
    lab_in ctl curl -sk -m 10 --cert "$(lab_state "$1")/site.crt" --key "$(lab_state "$1")/site.key" \
        -w '%{http_code} ' -o "$LAB_DIR/answer" "${@:2}"
    cat "$LAB_DIR/answer"
}

@test "nobody opens or hears a connection of another's attempt" {
    lab_mains site drain east
    id=$(waiting_gang own)
    wait_for 20 has_lines own 2
    url=https://$LAB_ADDRESS:$LAB_PORT/api/v1/site-session/tunnels
    two=$(job "$id" | jq -r '.across[] | "\(.site) \(.epoch)"')
    read -r first first_epoch <<<"$(head -n 1 <<<"$two")"
    read -r second second_epoch <<<"$(tail -n 1 <<<"$two")"
    run lab_mains show "$id"
    [[ $output == *"1 CPU on "*" ($first); 1 task at $second"* ]]
    [ "$(echo "$first $second" | tr ' ' '\n' | sort | tr '\n' ' ')" = "south west " ]
    wish() { printf '{"job": %s, "epoch": %s, "to": "%s", "port": %s}' "$id" "$1" "$2" "${3:-20001}"; }
    # It holds no part; it says that it holds another's; a job that is not.
    [[ $(as_site east -d "$(wish "$first_epoch" "$second")" "$url?site=east") == "403 "* ]]
    [[ $(as_site east -d "$(wish "$first_epoch" "$second")" "$url?site=$first") == "403 "* ]]
    [[ $(as_site east -d '{"job": 999, "epoch": 1, "to": "west", "port": 1}' "$url?site=east") == "403 "* ]]
    # Its own attempt, but not its own part's epoch, and not another site.
    [[ $(as_site "$first" -d "$(wish "$second_epoch" "$second")" "$url?site=$first") == "403 "* ]]
    [[ $(as_site "$first" -d "$(wish "$first_epoch" "$first")" "$url?site=$first") == "403 "* ]]
    [[ $(as_site "$first" -d "$(wish "$first_epoch" east)" "$url?site=$first") == "403 "* ]]
    [[ $(as_site "$first" -d '{"job": "x"}' "$url?site=$first") == "400 "* ]]
    # One that is: a third site neither reads nor writes nor ends it.
    port=$((10000 + (id % 10000 * 256 + 1) % 10000))
    tunnel=$(as_site "$first" -d "$(wish "$first_epoch" "$second" "$port")" "$url?site=$first" | sed 's/^200 //' | jq .tunnel)
    [ "$tunnel" -gt 0 ]
    [[ $(as_site east "$url/$tunnel?site=east&offset=0") == "404 "* ]]
    [[ $(as_site east -d x "$url/$tunnel?site=east&offset=0") == "404 "* ]]
    [[ $(as_site east -X DELETE "$url/$tunnel?site=east") == "404 "* ]]
    # Bytes that nobody has taken are not answered for.
    [[ $(as_site "$first" -m 1 -d x "$url/$tunnel?site=$first&offset=0") == "000 "* ]]
    [[ $(as_site "$first" -d x "$url/$tunnel?site=$first&offset=7") == "409 "* ]]
    grep -q "site east: a tunnel for job $id is refused: it holds no part" "$STATE/up.log"
    grep -q "site east: a call on a tunnel is refused" "$STATE/up.log"
    touch "$STAMPS/own.go"
    lab_mains wait "$id"
    [[ $(as_site "$first" -d "$(wish "$first_epoch" "$second")" "$url?site=$first") == "403 "* ]]
    is_closed() { [[ $(as_site "$first" -d x "$url/$tunnel?site=$first&offset=1") == "410 "* ]]; }
    wait_for 10 is_closed
    lab_mains site resume east
}

talk_at() { # talk_at SITE: with south, while the third takes nothing
    lab_mains site drain "$([ "$1" = west ] && echo east || echo west)"
    id=$(gang -- /usr/bin/python3 "$TALK")
    lab_mains wait "$id"
    [[ $(lab_mains logs "$id" --attempt 2) == *"rank 0 at $1 got 4194304 and pong"* ]]
    lab_mains site resume "$([ "$1" = west ] && echo east || echo west)"
}

@test "straight to the other site where its address answers, through the network where not" {
    talk_at east
    refute grep "straight to" "$(lab_state east)/up.log"
    # On a busy machine the answer may come too late; then it is asked for again after a minute.
    for _ in $(seq 30); do
        talk_at west
        straight=$(grep -c "job $id: a connection goes straight to site south" "$(lab_state west)/up.log") && break
        sleep 3
    done
    [ "$straight" -gt 0 ]
    # Who knows no number of a connection gets nothing there.
    said=$(lab_in west timeout 5 python3 -c 'import socket
s = socket.create_connection(("10.77.50.2", 7800))
s.sendall(b"mains tunnel 0000000000000001\n")
print(s.recv(9))')
    [ "$said" = "b''" ]
}

@test "a link that is down for less than the lease: what is carried goes on, whole" {
    id=$(gang --env PAUSE=0.08 -- /usr/bin/python3 "$TALK")
    wait_for 20 is_state "$id" running
    sleep 0.5
    lab_cut west
    sleep 2
    lab_mend west
    lab_mains wait "$id"
    logs=$(lab_mains logs "$id" --attempt 2; lab_mains logs "$id" --attempt 1)
    [[ $logs == *"got 4194304 and pong"* ]]
    [[ $logs == *"same: True"* ]]
    [ "$(job "$id" | jq '.attempts | length')" -eq 2 ]
}

@test "the controller is killed and comes back: what is carried goes on, whole" {
    id=$(gang --env PAUSE=0.08 -- /usr/bin/python3 "$TALK")
    wait_for 20 is_state "$id" running
    sleep 0.5
    pid=$(lab_controller_pid)
    kill -9 "$pid"
    is_back() { [ "$(lab_controller_pid)" != "$pid" ] && is_state "$id" done; }
    wait_for 40 is_back
    logs=$(lab_mains logs "$id" --attempt 2; lab_mains logs "$id" --attempt 1)
    [[ $logs == *"got 4194304 and pong"* ]]
    [[ $logs == *"same: True"* ]]
}

@test "a site dies: the other part is stopped, and the gang runs again, once" {
    lab_mains site drain south
    id=$(waiting_gang dies --on-unreachable move)
    wait_for 20 has_lines dies 2
    lab_mains site resume south
    lab_dies east
    wait_for 40 has_lines dies 4
    # What ran beside it is gone, and was before the next began.
    read -r _ _ pid _ <<<"$(grep ' west$' "$STAMPS/dies" | head -n 1)"
    refute kill -0 "$pid"
    touch "$STAMPS/dies.go"
    lab_mains wait "$id"
    sort -n "$STAMPS/dies" >&2
    [ "$(wc -l <"$STAMPS/dies")" -eq 4 ]
    [ "$(cut -d' ' -f1,2 "$STAMPS/dies" | sort | uniq -d | wc -l)" -eq 0 ]
    [ "$(tail -n 2 "$STAMPS/dies" | cut -d' ' -f4 | sort | tr '\n' ' ')" = "south west " ]
    job "$id" | jq -e '[.attempts[].outcome] | sort == ["exited", "exited", "lease", "stopped"]'
}
