# lab.bash - sites far apart, on one machine: a network namespace for the controller and one for each
# site, links between them that can be slow, lossy, one-way or cut. Needs root; $MAINS is the program.
#
#   lab_start [options of mains up]      the controller, alone in its namespace
#   lab_site NAME [options of mains join]  a site that joins with a token, over TLS
#   lab_far NAME [...]                   the same behind a shaper: `lab_shape NAME latency 1000`, ...
#   lab_campus NAME                      the same on a real Slurm (as an ordinary user)
#   lab_cut | lab_mend NAME              its link goes down; comes up
#   lab_windows NAME PERIOD DURATION     a plan of contacts in seconds, as site.yaml for lab_site --config; then
#   lab_follow NAME PERIOD DURATION      its link is up in these windows, and only then, until lab_unfollow
#   lab_drop NAME in|out|both PERCENT    of its packets, by chance (100: nothing passes); lab_pass NAME
#   lab_rate NAME RATE                   as tc says it: 10mbit
#   lab_clock NAME|ctl SECONDS           its wall clock is so much ahead (LAB_CLOCKS=1 before lab_start)
#   lab_stop                             all of it away
#
# Names of namespaces are the run's own, so that several labs may stand beside each other.

LAB_HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAB_ADDRESS=10.77.0.1
LAB_PORT=7743

# One line when it cannot be done here.
lab_need() {
    LAB_TOOLS=$(dirname "$MAINS")/../../tests/tools
    [ "$(id -u)" -eq 0 ] || skip "needs root: makes network namespaces"
    command -v ip >/dev/null || skip "needs iproute2"
    ip netns add "mains-probe-$$" 2>/dev/null || skip "no network namespaces can be made here"
    ip netns del "mains-probe-$$"
    [ -x "$LAB_TOOLS/shaper" ] || skip "tests/tools/shaper is not built"
    export LAB_TOOLS
}
lab_need_nft() {
    command -v nft >/dev/null || skip "needs nftables"
    lab_in ctl nft list ruleset >/dev/null 2>&1 || skip "this kernel has no nftables"
}

lab_in() { # lab_in PLACE COMMAND...: in its network
    local place=$1
    shift
    nsenter --net="/run/netns/mains-$LAB-$place" -- "$@"
}

lab_place() { # lab_place PLACE: a namespace of its own
    ip netns add "mains-$LAB-$1"
    lab_in "$1" ip link set lo up
}

# A wire between two places: lab_wire A B N gives them 10.77.N.1 and 10.77.N.2.
lab_wire() {
    ip link add "wl$3" netns "mains-$LAB-$1" type veth peer name "wl$3" netns "mains-$LAB-$2"
    lab_in "$1" ip addr add "10.77.$3.1/30" dev "wl$3"
    lab_in "$2" ip addr add "10.77.$3.2/30" dev "wl$3"
    lab_in "$1" ip link set "wl$3" up
    lab_in "$2" ip link set "wl$3" up
}

lab_start() {
    LAB=$(printf '%x' "$$")$RANDOM
    LAB_DIR=$(mktemp -d /var/tmp/mains-lab.XXXXXX)
    STATE=$LAB_DIR/net/state
    STAMPS=$LAB_DIR/stamps
    mkdir -p "$LAB_DIR/net" "$STAMPS" "$LAB_DIR/sites"
    chmod 755 "$LAB_DIR" "$LAB_DIR/sites"
    chmod 1777 "$STAMPS"
    export LAB LAB_DIR STATE STAMPS
    : >"$LAB_DIR/numbers"
    lab_place ctl
    lab_in ctl ip addr add "$LAB_ADDRESS/32" dev lo
    lab_controller "$@"
    # The site that comes with every controller takes part in nothing here.
    lab_mains site drain hub >/dev/null
}
lab_controller() {
    printf '%s\n' "$*" >"$LAB_DIR/up.options"
    # shellcheck disable=SC2046
    lab_in ctl env $(lab_clock_env ctl) "$MAINS" up --detach --state "$STATE" --listen "$LAB_ADDRESS:$LAB_PORT" --site hub --cpus 9 \
        --sandbox-off --allow-no-sandbox "$@" >&2 3>&-
}

lab_mains() { lab_in ctl "$MAINS" "$1" --state "$STATE" "${@:2}"; }

lab_number() { grep -n "^$1\$" "$LAB_DIR/numbers" | cut -d: -f1; }
# The number of a new place, from 1.
lab_enter() {
    echo "$1" >>"$LAB_DIR/numbers"
    lab_place "$1"
}
lab_state() { echo "$LAB_DIR/sites/$1/state"; }
lab_connected() { lab_mains site show "$1" --json 2>/dev/null | jq -e .connected >/dev/null; }
lab_reachable() { lab_mains sites --json | jq -e --arg s "$1" '(.sites? // .)[] | select(.name == $s) | .reachable' >/dev/null; }
lab_unreachable() { ! lab_reachable "$1"; }
# The site itself has noticed that it is alone.
lab_alone() {
    grep -hE 'agent: (no session|session [0-9]+ with)' "$(lab_state "$1")/up.log" | tail -n 1 | grep -q 'no session'
}

lab_route() { # lab_route NAME: the controller's own address, by its wire
    local n
    n=$(lab_number "$1")
    lab_wire ctl "$1" "$n"
    lab_in "$1" ip route add "$LAB_ADDRESS" via "10.77.$n.1"
}

# lab_join NAME ADDRESS [options of mains join]
lab_join() {
    local name=$1 address=$2 token
    mkdir -p "$LAB_DIR/sites/$name"
    token=$(lab_mains site token "$name" --address "$address" | sed 's/^mains join //')
    shift 2
    # shellcheck disable=SC2046
    lab_in "$name" env $(lab_clock_env "$name") "$MAINS" join "$token" --state "$(lab_state "$name")" --detach --sandbox-off "$@" >&2 3>&-
    wait_for 60 lab_connected "$name"
}
# A clock of its own for a place: the wall clock only, as of a machine that somebody sets.
lab_clock() { echo "$2" >"$LAB_DIR/shift.$1"; }
lab_clock_env() {
    [ -n "${LAB_CLOCKS:-}" ] || return 0
    [ -e "$LAB_DIR/shift.$1" ] || lab_clock "$1" 0
    echo "LD_PRELOAD=$(realpath "$LAB_TOOLS/clockshift.so")" "CLOCK_SHIFT_FILE=$LAB_DIR/shift.$1" \
        "ASAN_OPTIONS=${ASAN_OPTIONS:-}:verify_asan_link_order=0"
}
lab_rejoin() { # what was stopped is started again
    local name=$1
    shift
    lab_in "$name" "$MAINS" join --state "$(lab_state "$name")" --detach --sandbox-off "$@" >&2 3>&-
}

lab_site() {
    lab_enter "$1"
    lab_route "$1"
    lab_join "$1" "$LAB_ADDRESS:$LAB_PORT" "${@:2}"
}

# Between site and controller stands a namespace that only passes on what the shaper carries.
lab_far() {
    local n
    lab_enter "$1"
    n=$(lab_number "$1")
    lab_place "wan$n"
    lab_wire "wan$n" "$1" "$n"
    lab_wire ctl "wan$n" "$((n + 100))"
    lab_in "wan$n" ip route add "$LAB_ADDRESS" via "10.77.$((n + 100)).1"
    lab_in "wan$n" "$LAB_TOOLS/shaper" "10.77.$n.1:$LAB_PORT" "$LAB_ADDRESS:$LAB_PORT" "$LAB_DIR/shaper.$n" >/dev/null 2>&1 </dev/null 3>&- &
    echo $! >>"$LAB_DIR/pids"
    wait_for 10 test -S "$LAB_DIR/shaper.$n"
    lab_join "$1" "10.77.$n.1:$LAB_PORT" "${@:2}"
}
lab_shape() { "$LAB_TOOLS/shaper" tell "$LAB_DIR/shaper.$(lab_number "$1")" "${@:2}"; }

# The cluster's daemons live in the site's own namespace, so their ports are nobody else's.
lab_has_slurm() { command -v sbatch >/dev/null && [ -x /usr/sbin/slurmctld ] && command -v munged >/dev/null; }
lab_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
lab_campus() {
    local name=$1 home=$LAB_DIR/sites/$1 token
    lab_enter "$name"
    lab_route "$name"
    mkdir -p "$home"
    chmod 755 "$home"
    lab_in "$name" timeout 90 "$LAB_HERE/slurm/start.sh" "$home/slurm" 4 16 4 27917 >&2 3>&- || {
        ip netns del "mains-$LAB-$name"
        sed -i "/^$name\$/d" "$LAB_DIR/numbers"
        return 1
    }
    mkdir "$home/net"
    printf '{"executor": "slurm"}\n' >"$home/net/site.json"
    chown -R 65534:65534 "$home/net"
    token=$(lab_mains site token "$name" --address "$LAB_ADDRESS:$LAB_PORT" | sed 's/^mains join //')
    (cd "$home/net" && HOME=$home/net SLURM_CONF=$home/slurm/slurm.conf lab_in "$name" setpriv --reuid 65534 \
        --regid 65534 --clear-groups "$MAINS" join "$token" --state "$home/net/state" --config "$home/net/site.json" \
        --detach >&2 3>&-)
    ln -s net/state "$home/state"
    wait_for 60 lab_connected "$name"
}

lab_cut() { lab_in ctl ip link set "wl$(lab_number "$1")" down; }
lab_mend() { lab_in ctl ip link set "wl$(lab_number "$1")" up; }
lab_dies() { # lab_dies PLACE: all that runs there, and nobody there sees another end
    local signal
    for signal in STOP KILL; do
        ip netns pids "mains-$LAB-$1" | xargs -r kill -$signal 2>/dev/null || : # some end with others
    done
}
lab_windows() {
    printf 'windows: [{period: %ss, duration: %ss}]\n' "$2" "$3" >"$LAB_DIR/windows.$1.yaml"
    echo "$LAB_DIR/windows.$1.yaml"
}
# Milliseconds into the period.
lab_phase() { echo $(($(date +%s%3N) % ($1 * 1000))); }
lab_in_window() { [ "$(lab_phase "$1")" -lt $(($2 * 1000)) ]; }
lab_out_of_window() { ! lab_in_window "$@"; }
lab_follow() {
    rm -f "$LAB_DIR/unfollow"
    (
        while [ ! -e "$LAB_DIR/unfollow" ]; do
            at=$(lab_phase "$2")
            if [ "$at" -lt $(($3 * 1000)) ]; then
                lab_mend "$1"
                left=$(($3 * 1000 - at))
            else
                lab_cut "$1"
                left=$(($2 * 1000 - at))
            fi
            sleep "$((left / 1000)).$(printf %03d $((left % 1000)))"
        done
    ) >/dev/null 2>&1 </dev/null 3>&- &
    echo $! >>"$LAB_DIR/pids"
}
lab_unfollow() {
    touch "$LAB_DIR/unfollow"
    lab_mend "$1"
}
lab_rate() {
    local n
    n=$(lab_number "$1")
    lab_in ctl tc qdisc replace dev "wl$n" root tbf rate "$2" burst 32kbit latency 400ms
    lab_in "$1" tc qdisc replace dev "wl$n" root tbf rate "$2" burst 32kbit latency 400ms
}
lab_drop() {
    local rule="numgen random mod 100 < $3 counter drop" in=accept out=accept
    [ "$3" -lt 100 ] || rule='counter drop'
    [ "$2" = out ] || in=$rule
    [ "$2" = in ] || out=$rule
    lab_pass "$1"
    lab_in "$1" nft -f - <<END
table inet lab {
    chain in { type filter hook input priority 0; iifname "wl*" jump bad_in; }
    chain out { type filter hook output priority 0; oifname "wl*" jump bad_out; }
    chain bad_in { $in; }
    chain bad_out { $out; }
}
END
}
lab_pass() { lab_in "$1" nft delete table inet lab 2>/dev/null || :; }

# Processes, by who holds a state folder.
lab_up_pid() { tr -dc 0-9 <"$1/lock"; }
lab_child() { pgrep -P "$(lab_up_pid "$1")" -f " $2" | head -n 1; }
lab_agent_pid() { lab_child "$(lab_state "$1")" agent; }
lab_controller_pid() { lab_child "$STATE" controller; }

# --- jobs that stamp ---------------------------------------------------------------------------
# Shell text around BODY: each rank writes when it begins and ends (the machine's own clock since it
# was booted, which no test steps) into a file of this attempt's own.
lab_run_text() { # lab_run_text BODY
    cat <<END
s="$STAMPS/\$MAINS_JOB_ID.\$MAINS_EPOCH.\$MAINS_RANK"
umask 0
read -r up rest </proc/uptime; echo "begin \$up \$MAINS_SITE" >>"\$s"
( $1
)
code=\$?
read -r up rest </proc/uptime; echo "end \$up \$code" >>"\$s"
exit \$code
END
}
# lab_job BODY [JQ of more keys]: the job as JSON
lab_job() {
    local more=${2-}
    [ -n "$more" ] || more='{}'
    jq -n --arg run "$(lab_run_text "$1")" '{run: $run, resources: {cpus: 1}} * ('"$more"')'
}
# lab_batch FILE: one job a line, all or none; prints the ids
lab_batch() {
    lab_in ctl curl -sSk --pinnedpubkey "sha256//$(jq -r .pin "$STATE/endpoint.json")" -m 60 \
        -H "Authorization: Bearer $(cat "$STATE/admin.token")" -H 'Content-Type: application/x-ndjson' \
        --data-binary "@$1" "$(endpoint)/api/v1/jobs/batch" | jq -r ".ids[]"
}
lab_submit() { lab_job "$@" | lab_mains submit --quiet -; }

lab_state_of() { lab_mains show --json "$1" 2>/dev/null | jq -r .state; }
lab_is() { [ "$(lab_state_of "$1")" = "$2" ]; }
lab_attempts() { lab_mains show --json "$1" | jq '.attempts | length'; }
lab_live() { lab_mains ps --json --limit 0 | jq length; }
lab_quiet() { [ "$(lab_live)" -eq 0 ]; }

# Every attempt in the history is one that ran, once; nothing ran beside itself; all time was counted.
lab_books() { python3 "$LAB_HERE/books.py" "$STAMPS" "$STATE/history.db"; }

lab_stop() {
    local name pid
    [ -n "${LAB:-}" ] || return 0
    [ -z "${BATS_VERBOSE_LOGS:-}" ] || tail -n 50 "$LAB_DIR"/net/state/up.log "$LAB_DIR"/sites/*/state/up.log >&2
    while read -r name; do
        lab_mend "$name" 2>/dev/null || :
        lab_pass "$name"
    done <"$LAB_DIR/numbers"
    timeout 60 nsenter --net="/run/netns/mains-$LAB-ctl" -- "$MAINS" down --state "$STATE" --cancel --timeout 10s >/dev/null 2>&1 || :
    while read -r name; do
        "$MAINS" down --state "$(lab_state "$name")" >/dev/null 2>&1 || :
        [ ! -d "$LAB_DIR/sites/$name/slurm" ] || "$LAB_HERE/slurm/stop.sh" "$LAB_DIR/sites/$name/slurm" 3>&- || :
    done <"$LAB_DIR/numbers"
    [ ! -e "$LAB_DIR/pids" ] || while read -r pid; do kill "$pid" 2>/dev/null || :; done <"$LAB_DIR/pids"
    for name in $(ip netns list | awk '{print $1}' | grep "^mains-$LAB-"); do
        ip netns pids "$name" | xargs -r kill -9 2>/dev/null || :
        ip netns del "$name"
    done
    rm -rf "$LAB_DIR"
    unset LAB STATE
}
