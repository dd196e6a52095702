# kubernetes.bash - a fake API server, and a network whose one site is before it. After common.bash.

FAKE=$BATS_TEST_DIRNAME/../fake/kube_api.py

kube_start() { # kube_start [options of the fake]
    command -v python3 >/dev/null || skip "no python3 for the fake API server"
    KUBE_DIR=$(mktemp -d /var/tmp/mains-kube.XXXXXX)
    export KUBE_DIR
    python3 "$FAKE" --dir "$KUBE_DIR" "$@" >"$KUBE_DIR/port" 2>"$KUBE_DIR/fake.log" 3>&- &
    echo $! >"$KUBE_DIR/pid"
    wait_for 20 test -s "$KUBE_DIR/port"
}

kube_stop() {
    [ -n "${KUBE_DIR:-}" ] || return 0
    kill "$(cat "$KUBE_DIR/pid")" 2>/dev/null || :
    rm -rf "$KUBE_DIR"
}

kube_url() { echo "http://127.0.0.1:$(cat "$KUBE_DIR/port")"; }

kube_config() { # kube_config [URL] [further keys of the cluster] [keys of the user]
    printf 'apiVersion: v1\nkind: Config\ncurrent-context: fake\n'
    printf 'clusters: [ { name: fake, cluster: { server: "%s"%s } } ]\n' "${1:-$(kube_url)}" "${2:+, $2}"
    printf 'users: [ { name: me, user: { %s } } ]\n' "${3-}"
    printf 'contexts: [ { name: fake, context: { cluster: fake, user: me, namespace: lent } } ]\n'
}

# A network on it. What is told is put into `kubernetes` of site.json; @PLACE is the state folder's
# parent.
kube_network() { # kube_network [JSON of further keys]
    local more=${1:-{\}}

    STATE=$(mktemp -d /var/tmp/mains-e2e.XXXXXX)/state
    export STATE
    mkdir -p "$STATE"
    kube_config >"$KUBE_DIR/config"
    jq -n --arg c "$KUBE_DIR/config" --argjson more "${more//@PLACE/$(dirname "$STATE")}" \
        '{executor: "kubernetes", kubernetes: ({kubeconfig: $c, default_image: "debian:12"} + $more)}' \
        >"$STATE/site.json"
    network_start
}

control() { curl -sS -m 20 -X POST --data-binary "$1" "$(kube_url)/control"; }
mains() { "$MAINS" "$1" --state "$STATE" "${@:2}"; }
submit() { mains submit --quiet --scratch "$@"; }
state_of() { mains show --json "$1" | jq -r .state; }
is_state() { [ "$(state_of "$1")" = "$2" ]; }
pods_of() {
    local all
    all=$(control '{}') && { jq -r '.pods[]' <<<"$all" | grep -c -- "-$1-[0-9]*-[0-9]*-[0-9a-z]*\$" || :; }
}
# How often pods of a job really began.
starts_of() { grep -c -- "-$1-[0-9]* " "$KUBE_DIR/starts" || :; }
