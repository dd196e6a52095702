#!/usr/bin/env bats
# How an agent reaches an API server: TLS with the cluster's own authority, client certificates and
# tokens; and what it says where that is not right.

load common.bash
load kubernetes.bash

setup_file() {
    command -v openssl >/dev/null || skip "no openssl to make certificates with"
    PKI=$(mktemp -d /var/tmp/mains-pki.XXXXXX)
    export PKI
    cd "$PKI"
    for ca in ca other; do
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$ca" -keyout $ca.key -out $ca.crt 2>/dev/null
    done
    for name in server client; do
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout $name.key -out $name.csr 2>/dev/null
        printf 'subjectAltName=IP:127.0.0.1\n' >$name.ext
        openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext -out $name.crt 2>/dev/null
    done
    kube_start --token sesame --tls server.crt server.key --client-ca ca.crt
    STATE=$(mktemp -d /var/tmp/mains-e2e.XXXXXX)/state
    export STATE
}
teardown_file() {
    network_stop
    kube_stop
    rm -rf "$PKI"
}

# config CA TOKEN [further keys of the user]
config() {
    kube_config "https://127.0.0.1:$(cat "$KUBE_DIR/port")" \
        "certificate-authority: $PKI/$1.crt" "token: $2${3:+, $3}"
}
CLIENT='client-certificate: $PKI/client.crt, client-key: $PKI/client.key'

# One agent in the foreground, which cannot start: what it says.
refusal() {
    local place
    place=$(mktemp -d "$KUBE_DIR/refused.XXXXXX")
    config "$@" >"$place/config"
    printf '{"executor":"kubernetes","kubernetes":{"kubeconfig":"%s"}}' "$place/config" >"$place/site.json"
    timeout 60 "$MAINS" agent --state "$place" --controller http://127.0.0.1:1 2>&1 3>&-
}

@test "TLS with the cluster's authority, a client certificate and a token" {
    mkdir -p "$STATE"
    config ca sesame "$(eval echo "$CLIENT")" >"$KUBE_DIR/config"
    printf '{"executor":"kubernetes","kubernetes":{"kubeconfig":"%s","default_image":"d"}}' "$KUBE_DIR/config" >"$STATE/site.json"
    network_start
    run mains run --scratch -- echo over TLS
    [ "$status" -eq 0 ]
    [[ $output == *"over TLS"* ]]
}

@test "another authority, a wrong token, no certificate: not one of them starts" {
    run refusal other sesame "$(eval echo "$CLIENT")"
    [ "$status" -ne 0 ]
    [[ $output == *"certificate"* ]]
    run refusal ca wrong "$(eval echo "$CLIENT")"
    [ "$status" -ne 0 ]
    [[ $output == *"Unauthorized (401)"* ]]
    run refusal ca sesame
    [ "$status" -ne 0 ]
}

@test "programs in a kubeconfig are not run" {
    run refusal ca sesame "exec: { command: touch, args: [ $KUBE_DIR/was-run ] }"
    [ "$status" -ne 0 ]
    [[ $output == *"exec: credential plugins are programs"* ]]
    [ ! -e "$KUBE_DIR/was-run" ]
}
