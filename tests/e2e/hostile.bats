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

# judge NAME PATTERN STATUS: of $DIR/out and $DIR/err; prints what is wrong.
judge() {
    local problem=
    [ "$3" -ne 0 ] || problem="it was taken"
    [ "$3" -lt 126 ] || problem="exit status $3"
    [ ! -s "$DIR/out" ] || problem="something on stdout"
    [ "$(wc -l <"$DIR/err")" -eq 1 ] || problem="not one line"
    ! LC_ALL=C tr -d '\n' <"$DIR/err" | LC_ALL=C grep -q '[[:cntrl:]]' || problem="control characters"
    grep -qE -e "$2" "$DIR/err" || problem="it does not say /$2/"
    [ -z "$problem" ] || printf '%s: %s (exit %s)\n' "$1" "$problem" "$3"
    [ -z "$problem" ] && [ -z "${SHOW:-}" ] || sed "s/^/    /" "$DIR/err" | cat -v | head -n 4
    [ -z "$problem" ]
}

@test "job files and scripts: every bad one gets one clear line and changes nothing" {
    before=$(fingerprint)
    mkdir -p "$DIR/files"
    cd "$DIR/files"
    awk '/^#/ && !name {next} /^==== / {if (name) close(name); name = $2; want = 1; printf "" >name; next}
         want {print >(name ".says"); close(name ".says"); want = 0; next} {print >name}' "$CASES/hostile_files.txt"
    count=0 wrong=0
    for says in *.says; do
        status=0
        timeout 10 "$MAINS" submit "${says%.says}" >"$DIR/out" 2>"$DIR/err" || status=$?
        judge "${says%.says}" "$(cat "$says")" "$status" || wrong=$((wrong + 1))
        count=$((count + 1))
    done
    # What no table can hold.
    head -c 2000000 /dev/zero | tr '\0' '#' >large.yaml
    printf 'run: "true"\nname: \xff\xfe\n' >not-utf8.yaml
    printf 'run: "tr\0ue"\n' >nul.yaml
    { printf 'env: {A: '; printf '[%.0s' $(seq 5000); } >deep.yaml
    head -c 4096 /bin/true >binary.sh
    for file in large.yaml not-utf8.yaml nul.yaml deep.yaml binary.sh; do
        status=0
        timeout 10 "$MAINS" submit "$file" >"$DIR/out" 2>"$DIR/err" </dev/null || status=$?
        judge "$file" "$file" "$status" || wrong=$((wrong + 1))
        count=$((count + 1))
    done
    echo "$count cases, $wrong wrong"
    [ "$wrong" -eq 0 ]
    [ "$count" -ge 40 ]
    [ "$(fingerprint)" = "$before" ]
}

@test "command lines: every bad one gets one clear line and changes nothing" {
    before=$(fingerprint)
    mkdir -p "$DIR/empty"
    cd "$DIR/empty"
    count=0 wrong=0
    while read -r line; do
        case $line in '' | '#'*) continue ;; esac
        says=$(sed 's/ *| [^|]*$//' <<<"$line")
        eval "set -- ${line##*| }"
        status=0
        timeout 10 "$MAINS" "$@" >"$DIR/out" 2>"$DIR/err" </dev/null || status=$?
        judge "mains ${line##*| }" "$says" "$status" || wrong=$((wrong + 1))
        count=$((count + 1))
    done <"$CASES/hostile_cli.txt"
    echo "$count cases, $wrong wrong"
    [ "$wrong" -eq 0 ]
    [ "$count" -ge 60 ]
    [ "$(fingerprint)" = "$before" ]
}
