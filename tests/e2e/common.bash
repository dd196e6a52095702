# common.bash - a network of its own for each file of tests. Needs $MAINS (the program).

network_start() { # network_start [options of mains up]
    STATE=${STATE:-$(mktemp -d /var/tmp/mains-e2e.XXXXXX)/state}
    export STATE
    "$MAINS" up --detach --state "$STATE" --listen 127.0.0.1:0 "$@" >&2
    TOKEN=$(cat "$STATE/admin.token")
}

network_stop() {
    [ -n "${STATE:-}" ] || return 0
    "$MAINS" down --state "$STATE" --cancel >&2 2>/dev/null || :
    rm -rf "$(dirname "$STATE")"
    unset STATE
}

endpoint() { jq -r .url "$STATE/endpoint.json"; }

# The key of a network that serves TLS with a certificate of its own, as options of curl.
pinned() { jq -r '.pin // empty | "-k --pinnedpubkey sha256//\(.)"' "$STATE/endpoint.json"; }

# api METHOD PATH [BODY] [curl options]: prints the body; the status is the last line.
api() {
    local method=$1 path=$2 body=${3-}
    shift 2
    [ $# -eq 0 ] || shift
    # shellcheck disable=SC2046
    curl -sS -m 60 $(pinned) -X "$method" -H "Authorization: Bearer ${TOKEN}" -H 'Content-Type: application/json' \
        ${body:+--data-binary "$body"} -w '\n%{http_code}\n' "$@" "$(endpoint)$path"
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
    local left=$(($1 * 20))
    shift
    until "$@"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 0.05
    done
}

# wake SECONDS: the job whose shell sleeps so long (a number of its own) goes on now.
wake() {
    wait_for 10 pgrep -xf "sleep $1" >/dev/null
    pgrep -xf "sleep $1" | xargs kill
}

# jq 1.6 with -e says yes where nothing at all came in: as of a command that failed. Not here.
jq() {
    [[ ${1-} == -e* ]] || { command jq "$@"; return; }
    local said
    said=$(command jq "$@") && [ -n "$said" ] && printf '%s\n' "$said"
}

# refute COMMAND...: it must fail. (A line that begins with `!` never fails a test.)
refute() { ! "$@"; }

# Sums over the labels of a metric.
metric() {
    # shellcheck disable=SC2046
    curl -sS -m 10 $(pinned) -H "Authorization: Bearer $TOKEN" "$(endpoint)/metrics" |
        awk -v n="$1" '$1 == n || index($1, n "{") == 1 {s += $2} END {printf "%.0f\n", s}'
}

# The processes of the network of $STATE.
up_pid() { tr -dc 0-9 <"$STATE/lock"; }
controller_pid() { jq -r .pid "$STATE/endpoint.json"; }
agent_pid() { agent_of "$(up_pid)"; }
agent_of() { pgrep -P "$1" -f ' agent' | head -n 1; } # agent_of PID: of a `mains up` or `mains join`
is_other() { [ -n "$1" ] && [ "$1" != "$2" ]; }       # is_other NOW BEFORE: it is there, and not that one

# Its agent has a session.
connected() { "$MAINS" site show "$1" --state "$STATE" --json 2>/dev/null | jq -e .connected >/dev/null; }
