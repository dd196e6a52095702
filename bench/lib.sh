# shellcheck shell=sh
# lib.sh - what the benches share: a network of their own, Slurm beside it, and one figure a line.
# Sourced. Needs $MAINS (the program) and $BENCH_BIN (the folder of the C benches).

bench_dir=$(mktemp -d "${TMPDIR:-/var/tmp}/mains-bench.XXXXXX")
state=$bench_dir/state
slurm_dir=
shared_slurm=$(dirname "$0")/../tests/e2e/slurm

bench_leave() {
    if [ "$fleet_count" -gt 0 ]; then
        fleet_down # what is said to run there has no processes, and nobody is left to cancel it
        "$MAINS" down --state "$state" >/dev/null 2>&1 || :
    fi
    "$MAINS" down --state "$state" --cancel >/dev/null 2>&1 || :
    if [ -n "$slurm_dir" ]; then "$shared_slurm/stop.sh" "$slurm_dir" >/dev/null 2>&1 || :; fi
    rm -rf "$bench_dir"
}
trap bench_leave EXIT
trap 'exit 130' INT TERM

# network_up [OPTIONS]: a fresh network on a free port; sets $url and $token_file.
pin=
network_up() {
    "$MAINS" up --detach --state "$state" --listen 127.0.0.1:0 "$@" >&2
    url=$(jq -r .url "$state/endpoint.json")
    token_file=$state/admin.token
    pin=$(jq -r '.pin // ""' "$state/endpoint.json")
}

ask() { # curl, as the admin of this network
    curl -sS ${pin:+-k --pinnedpubkey "sha256//$pin"} -H "Authorization: Bearer $(cat "$token_file")" "$@"
}

network_down() { # what is still queued stays in the journal, which goes with the folder
    "$MAINS" down --state "$state" >&2
}

api() { # api METHOD PATH: the body on stdout
    ask -X "$1" "$url$2"
}

metric() { # metric NAME: the sum over its labels
    ask "$url/metrics" |
        awk -v n="$1" '$1 == n || index($1, n "{") == 1 {s += $2} END {printf "%.0f\n", s}'
}

# slurm_up: use the user's own cluster, else one on loopback; fails when there is neither.
slurm_up() {
    if sinfo -h >/dev/null 2>&1; then return 0; fi
    [ -x "$shared_slurm/start.sh" ] || return 1
    slurm_dir=$bench_dir/slurm
    "$shared_slurm/start.sh" "$slurm_dir" 1 16 4 16917 >&2 || { slurm_dir=; return 1; }
    export SLURM_CONF=$slurm_dir/slurm.conf
}

now_ns() { date +%s%N; }

# rate COUNT START_NS END_NS
rate() { awk -v c="$1" -v a="$2" -v b="$3" 'BEGIN {printf "%.1f", c / ((b - a) / 1e9)}'; }

# median of the words given
median() { printf '%s\n' "$@" | sort -g | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

# figure NAME VALUE UNIT GOAL PEER PEER_VALUE NOTE
#   GOAL: ">=15000", "<10", ">=20x" (times the peer), or "" for none. PEER "" = no peer.
figure() {
    awk -v name="$1" -v value="$2" -v unit="$3" -v goal="$4" -v peer="$5" -v pv="$6" -v note="$7" '
    function q(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); return "\"" s "\"" }
    BEGIN {
        ratio = (pv != "" && pv + 0 > 0) ? value / pv : ""
        holds = "null"
        if (goal != "") {
            op = substr(goal, 1, 1); rest = substr(goal, 2)
            if (substr(rest, 1, 1) == "=") { op = op "="; rest = substr(rest, 2) }
            times = (rest ~ /x$/); limit = rest + 0
            have = times ? ratio : value
            if (have != "") {
                if (op == ">=") ok = have >= limit; else if (op == "<=") ok = have <= limit
                else if (op == "<") ok = have < limit; else ok = have > limit
                holds = ok ? "true" : "false"
            }
        }
        printf "{\"name\":%s,\"value\":%s,\"unit\":%s,\"goal\":%s,\"holds\":%s,\"peer\":%s,\"peer_value\":%s,\"ratio\":%s,\"note\":%s}\n",
            q(name), value + 0, q(unit), goal == "" ? "null" : q(goal), holds,
            peer == "" ? "null" : q(peer), pv == "" ? "null" : pv + 0,
            ratio == "" ? "null" : sprintf("%.2f", ratio), note == "" ? "null" : q(note)
    }'
}

# A fleet of made-up sites under this network: see there.
. "$(dirname "$0")/../tests/e2e/fleet.sh"
