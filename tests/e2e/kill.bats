# What was answered is done once, whatever is killed. MAINS_KILLS says how often (default 100).

load common

setup_file() {
    export WITNESS
    WITNESS=$(mktemp -d /var/tmp/mains-witness.XXXXXX)
    chmod 777 "$WITNESS"
    network_start
    export TOKEN
}

teardown_file() {
    network_stop
    rm -rf "$WITNESS"
}

# The same for the same number: a key that comes again must come with the same job.
# Each job proves that no other attempt of it runs (mkdir is atomic), and notes its start and end.
job_body() {
    cat <<EOF
{"name":"witness-$1","workdir":"$WITNESS","resources":{"cpus":1,"memory":"64M"},
 "run":"mkdir running.$1 || echo $1 >>doubled\ndate +%s%3N >>starts.$1\nsleep 0.$(($1 * 7 % 30 + 10))\nrmdir running.$1\ndate +%s%3N >>ends.$1\nexit $(($1 % 7 == 0 ? 3 : 0))"}
EOF
}

# Submit until it is answered 201 (or 200: the key was known), as a careful client does.
submit_all() {
    local i code
    for i in $(seq "$1" "$2"); do
        while :; do
            code=$(curl -s -m 20 -o "$WITNESS/answer.$i" -w '%{http_code}' -X POST \
                -H "Authorization: Bearer $TOKEN" -H "Idempotency-Key: witness-$i" \
                --data-binary "$(job_body "$i")" "$(endpoint)/api/v1/jobs") || code=000
            case $code in 200 | 201) break ;; 4*) cat "$WITNESS/answer.$i" >&2; return 1 ;; esac
            sleep 0.05
        done
        jq -r .id "$WITNESS/answer.$i" >>"$WITNESS/answered"
    done
}

all_ended() {
    [ "$(sqlite3 -readonly "$STATE/history.db" 'SELECT count(*) FROM jobs' 2>/dev/null || echo 0)" -ge "$1" ]
}

@test "kill -9 of controller, agent or both at random moments: every job ends once, the books balance" {
    kills=${MAINS_KILLS:-100}
    jobs=500
    submit_all 1 250 & first=$!
    submit_all 251 500 & second=$!
    killed=0
    while [ "$killed" -lt "$kills" ]; do
        sleep "0.$((RANDOM % 5))$((RANDOM % 10))"
        case $((RANDOM % 3)) in
        0) victims=$(controller_pid) ;;
        1) victims=$(agent_pid) ;;
        2) victims="$(controller_pid) $(agent_pid)" ;;
        esac
        # shellcheck disable=SC2086
        kill -9 $victims 2>/dev/null && killed=$((killed + 1))
    done
    wait "$first"
    wait "$second"
    wait_for 300 all_ended "$jobs"

    # Every answered job has exactly one recorded end, and it is the right one.
    [ "$(wc -l <"$WITNESS/answered")" -eq "$jobs" ]
    [ "$(sort -u "$WITNESS/answered" | wc -l)" -eq "$jobs" ]
    [ "$(sqlite3 "$STATE/history.db" 'SELECT count(*) FROM jobs')" -eq "$jobs" ]
    # None ran twice at once; each process that began came to its end, and each job ran once.
    [ ! -e "$WITNESS/doubled" ]
    for i in $(seq "$jobs"); do
        [ "$(wc -l <"$WITNESS/ends.$i")" -eq 1 ]
        [ "$(wc -l <"$WITNESS/starts.$i")" -eq 1 ]
    done
    [ "$(sqlite3 "$STATE/history.db" "SELECT count(*) FROM jobs WHERE state = 'failed' AND exit_code = 3")" -eq $((jobs / 7)) ]
    [ "$(sqlite3 "$STATE/history.db" "SELECT count(*) FROM jobs WHERE state = 'done' AND exit_code = 0")" -eq $((jobs - jobs / 7)) ]
    # The ledger equals what ran: one row an attempt, in time with what each job itself wrote down,
    # one CPU held throughout, and no two attempts of a job at once.
    [ "$(sqlite3 "$STATE/history.db" 'SELECT count(*) FROM attempts WHERE outcome = 0')" -eq "$jobs" ]
    [ "$(sqlite3 "$STATE/history.db" 'SELECT count(*) FROM attempts WHERE cpu_held_ms <> wall_ms OR wall_ms <> released_ms - granted_ms')" -eq 0 ]
    [ "$(sqlite3 "$STATE/history.db" 'SELECT count(*) FROM attempts a JOIN attempts b USING (job_id) WHERE a.epoch < b.epoch AND a.released_ms > b.granted_ms')" -eq 0 ]
    held=$(sqlite3 "$STATE/history.db" 'SELECT sum(wall_ms) FROM attempts WHERE outcome = 0')
    ran=0
    for i in $(seq "$jobs"); do ran=$((ran + $(cat "$WITNESS/ends.$i") - $(cat "$WITNESS/starts.$i"))); done
    [ "$held" -ge "$ran" ]
    [ "$(sqlite3 "$STATE/history.db" 'SELECT sum(wall_ms) FROM jobs')" -eq "$(sqlite3 "$STATE/history.db" 'SELECT sum(wall_ms) FROM attempts')" ]
    # The journal is whole, and derived history can be made again from it, the same.
    sqlite3 "$STATE/history.db" 'SELECT * FROM jobs ORDER BY id; SELECT * FROM attempts ORDER BY job_id, epoch' >"$WITNESS/before"
    "$MAINS" down --state "$STATE"
    "$MAINS" journal verify --state "$STATE"
    "$MAINS" history rebuild --state "$STATE"
    sqlite3 "$STATE/history.db" 'SELECT * FROM jobs ORDER BY id; SELECT * FROM attempts ORDER BY job_id, epoch' >"$WITNESS/after"
    diff "$WITNESS/before" "$WITNESS/after"
}
