# Bad job files, scripts, requests and command lines: each gets one clear line, and nothing changes.
# The cases are tables in cases/. SHOW=1 prints what each is told.

load common

setup_file() {
    command -v python3 >/dev/null || skip "python3 is not here"
    network_start
    export MAINS_STATE=$STATE CASES=$BATS_TEST_DIRNAME/cases
    DIR=$(dirname "$STATE")
    local role
    echo mains_0000000000000000000000000000000000000000000 >"$DIR/token.wrong"
    cp "$STATE/admin.token" "$DIR/token.admin"
    cp "$STATE/site.token" "$DIR/token.site"
    "$MAINS" token create --json --role operator | jq -r .token >"$DIR/token.operator"
    for role in tenant other; do
        "$MAINS" token create --json --role tenant --tenant "$role" | jq -r .token >"$DIR/token.$role"
    done
    PLACE=$(api GET /api/v1/nodes | head -n 1 | jq -r '.nodes[0] | "site=\(.site) node=\(.name)"')
    TOKEN=$(cat "$DIR/token.tenant")
    JOB=$(api POST /api/v1/jobs '{"name":"bait","begin":"1d","run":"true"}' | head -n 1 | jq -r .id)
    DONE=$(api POST /api/v1/jobs '{"run":"echo x >result; ln -s /etc/passwd link; mkdir folder; echo y >folder/y","outputs":["result","link","folder"]}' | head -n 1 | jq -r .id)
    api GET "/api/v1/jobs/$DONE/wait" >/dev/null
    TOKEN=$(cat "$DIR/token.admin")
    export TOKEN DIR PLACE JOB DONE
}

teardown_file() { network_stop; }

# All that a refused request could have changed.
fingerprint() {
    api GET /api/v1/journal/status | head -n 1 | jq -c .last_seq
    api GET '/api/v1/jobs?all=1&limit=1000' | head -n 1 | jq -c '[.jobs[] | [.id, .state]]'
    api GET /api/v1/tokens | head -n 1 | jq -c '[.tokens[] | [.id, .role, .revoked_at]]'
    api GET /api/v1/nodes | head -n 1 | jq -c '[.nodes[] | [.name, .state]]'
}

@test "API: every bad request gets one clear line and changes nothing" {
    before=$(fingerprint)
    # shellcheck disable=SC2086
    python3 "$CASES/hostile_api.py" table "$(endpoint)" "$CASES/hostile_api.txt" "$DIR" \
        job="$JOB" done="$DONE" $PLACE
    [ "$(fingerprint)" = "$before" ]
}

@test "HTTP: bodies of 1 GB, endless headers and bytes that are no HTTP are cut off, and memory stays small" {
    before=$(fingerprint)
    python3 "$CASES/hostile_api.py" raw "$(endpoint)" "$DIR/token.admin"
    [ "$(fingerprint)" = "$before" ]
    [ "$(awk '/^VmHWM/ {print $2}' "/proc/$(controller_pid)/status")" -lt 400000 ]
}
