# The state folder and the process tree: up, down, journal, history.

load common

setup() {
    network_start
    export MAINS_STATE=$STATE
    DIR=$(dirname "$STATE")
    cd "$DIR" || return
}

teardown() { network_stop; }

mains() { "$MAINS" "$@"; }
parent() { cat "$STATE/lock"; }
children() { pgrep -P "$1" | sort; }
none_alive() { ! kill -0 "$@" 2>/dev/null; }

@test "up --detach: files are private, and the log is there" {
    [ "$(stat -c %a "$STATE")" = 700 ]
    [ "$(stat -c %a "$STATE/admin.token")" = 600 ]
    grep -q answers "$STATE/up.log"
}

@test "a child that dies is started again, at the same address" {
    url=$(endpoint)
    pid=$(jq .pid "$STATE/endpoint.json")
    kill -9 "$pid"
    wait_for 10 mains ps
    [ "$(endpoint)" = "$url" ]
    [ "$(jq .pid "$STATE/endpoint.json")" != "$pid" ]
    [ "$(mains run -q -- echo again)" = again ]
}

@test "kill -9 of the parent takes the children with it; the next up goes on" {
    mains run -q -- true
    pid=$(parent)
    # shellcheck disable=SC2046
    set -- $(children "$pid")
    [ $# -ge 2 ]
    kill -9 "$pid"
    wait_for 10 none_alive "$1"
    wait_for 10 none_alive "$2"
    mains up --detach --listen 127.0.0.1:0
    [ "$(mains ps -a -q | wc -l)" -eq 1 ]
    [ "$(mains run -q -- echo on)" = on ]
}

@test "down leaves running jobs running; the next up takes their end" {
    id=$(mains submit -q -- sh -c 'sleep 930001; echo survived')
    wait_for 10 eval "mains show --json $id | jq -e '.state == \"running\"' >/dev/null"
    run mains down
    [ "$status" -eq 0 ]
    [[ $output == *"1 job goes on"* ]]
    run mains down
    [ "$status" -eq 0 ]
    [[ $output == *"Nothing runs"* ]]
    wake 930001
    wait_for 20 test -e "$STATE/agent/ended/$id.1"
    mains up --detach --listen 127.0.0.1:0
    mains wait -q "$id"
    [ "$(mains logs "$id")" = survived ]
}

@test "down --cancel leaves nothing running" {
    mains submit -q --array 0-3 -- sleep 60
    mains down --cancel
    mains up --detach --listen 127.0.0.1:0
    [ "$(mains ps -q | wc -l)" -eq 0 ]
    [ "$(mains ps -a --in cancelled -q | wc -l)" -eq 4 ]
}

@test "up in the foreground stops in order at SIGTERM" {
    mains down -q
    "$MAINS" up --listen 127.0.0.1:0 >out 2>err &
    pid=$!
    wait_for 20 grep -q "mains is up" out
    [ "$(mains run -q -- echo hello)" = hello ]
    kill -TERM "$pid"
    wait "$pid"
    run mains ps
    [ "$status" -eq 1 ]
}

@test "up says why the controller did not start" {
    mains down -q
    run mains up --detach --listen 203.0.113.7:0
    [ "$status" -ne 0 ]
    [[ $output == *203.0.113.7* ]]
    rm -f "$STATE"/journal.db*
    mkdir "$STATE/journal.db"
    run mains up --detach --listen 127.0.0.1:0
    [ "$status" -eq 1 ]
    [[ $output == *journal.db* ]]
    [[ $output == *"did not start"* ]]
}

@test "journal: verify, export, import into a fresh state, and the same again" {
    mains run -q -- true
    id=$(mains submit -q --array 0-2 -- true)
    mains wait -q "$id"
    mains journal verify | grep -q "the chain is whole"
    mains down -q
    mains journal verify --json | jq -e '.ok and .submitted == 4'
    mains journal export >journal.ndjson
    [ "$(jq -s 'map(.seq) == [range(1; length + 1)]' journal.ndjson)" = true ]
    mains journal import --state "$DIR/fresh" <journal.ndjson | grep -q ", as it was exported"
    [ "$(mains journal verify --state "$DIR/fresh" --json | jq -r .hash)" = \
        "$(mains journal verify --json | jq -r .hash)" ]
    run mains journal import --state "$DIR/fresh" --file journal.ndjson
    [ "$status" -eq 1 ]
    [[ $output == *"is there already"* ]]
    # A changed line is found out, and nothing is left of the import.
    sed '2s/"seq":2/"seq":3/' journal.ndjson >bad.ndjson
    run mains journal import --state "$DIR/bad" --file bad.ndjson
    [ "$status" -eq 1 ]
    [[ $output == *"line 2"* ]]
    [ ! -e "$DIR/bad/journal.db" ]
    MAINS_STATE=$DIR/fresh mains up --detach --listen 127.0.0.1:0
    [ "$(mains ps -a -q --state "$DIR/fresh" | wc -l)" -eq 4 ]
    mains down -q --state "$DIR/fresh"
}

@test "history: rebuilt from the journal" {
    mains run -q -- true
    run mains history rebuild
    [ "$status" -eq 1 ]
    [[ $output == *"stop it first"* ]]
    mains down -q
    rm -f "$STATE"/history.db*
    mains history rebuild | grep -q rebuilt
    mains up --detach --listen 127.0.0.1:0
    [ "$(mains ps -a -q | wc -l)" -eq 1 ]
}

@test "doctor: says what is wrong and what to do" {
    chmod 644 "$STATE/admin.token"
    run mains doctor
    [ "$status" -eq 1 ]
    [[ $output == *"chmod 600"* ]]
    chmod 600 "$STATE/admin.token"
    run mains doctor
    [[ $output == *"answers at $(endpoint)"* ]]
}

@test "down --cancel ends with many queued jobs, whatever their number" {
    mains submit -q --array 0-19999 --begin 2099-01-01T00:00:00Z -- true
    mains submit -q -- sleep 600
    run mains down --cancel --timeout 20s
    [ "$status" -eq 0 ]
    [[ $output == *"mains is down"* ]]
    mains up --detach --listen 127.0.0.1:0
    [ -z "$(mains ps -q)" ]
}

@test "cancel --all takes what its options name" {
    keep=$(mains submit -q --name keep --begin 2099-01-01T00:00:00Z -- true)
    mains submit -q --name drop --array 0-9 --begin 2099-01-01T00:00:00Z -- true
    run mains cancel --name drop
    [ "$status" -eq 2 ]
    run mains cancel --all "$keep"
    [ "$status" -eq 2 ]
    run mains cancel --all --name drop
    [ "$status" -eq 0 ]
    [ "$output" = "10 jobs cancelled" ]
    [ "$(mains ps -q)" = "$keep" ]
}

@test "tenant set, show, list" {
    run mains tenant set physics --jobs 2 --devices 0.5
    [ "$status" -eq 0 ]
    [[ $output == *"0 / 2"*"0 / -"*"0 / 0.5"* ]]
    mains tenant set physics --jobs none
    [ "$(mains tenant show physics --json | jq -c '[.jobs_max, .cpus_max, .devices_milli_max]')" = '[null,null,500]' ]
    mains tenant list | grep -q '^physics'
    run mains tenant set physics
    [ "$status" -eq 2 ]
    run mains tenant set physics --cpus many
    [ "$status" -eq 2 ]
    [[ $output == *--cpus* ]]
}

@test "tenant set --cells: refused, set, shown, lent to nobody who cannot be stopped" {
    site=$(mains nodes --json | jq -r '.[0].site')
    run mains tenant set physics --cells "$site/cpu:nod=1"
    [ "$status" -eq 2 ]
    [[ $output == *"expected node=N"* ]]
    run mains tenant set physics --cells "$site/cpu:node=2"
    [ "$status" -eq 1 ]
    [[ $output == *"can keep 1 whole node of cpu"* ]]
    run mains tenant set physics --cells "$site/cpu:node=1"
    [ "$status" -eq 0 ]
    [[ $output == *"CELL"*"node "* ]]
    [ "$(mains tenant show physics --json | jq -c '.cells | map([.site, .chip, .level, .nodes])')" = \
        "[[\"$site\",\"cpu\",\"node\",1]]" ]
    run mains tenant set chemistry --jobs 7 --cells "$site/cpu:node=1"
    [ "$status" -eq 1 ]
    mains tenant list >tenants
    grep -q physics tenants
    refute grep -q chemistry tenants # nothing of it is set
    job=$(mains submit -q -- true)
    mains why "$job" | grep -q "guaranteed to others"
    mains down -q
    mains up --detach --listen 127.0.0.1:0
    mains tenant set physics --cells "$site/cpu:none" >/dev/null
    mains wait -q "$job"
}

@test "what is not UTF-8 text is refused, not left out of what is asked" {
    for options in "move 1 --to elsewhere --reason" "resize 1 --tasks 2 --reason" \
        "tenant set physics --cells"; do
        # shellcheck disable=SC2086
        run mains $options $'\xff/cpu:node=1'
        [ "$status" -eq 2 ]
        [[ $output == *"not UTF-8 text"* ]]
    done
}

@test "up: a child that cannot start is told of at once" {
    mkdir -m 700 other
    echo '{"nmae": "x"}' >other/site.json
    SECONDS=0
    run mains up --detach --state "$PWD/other" --listen 127.0.0.1:0
    [ "$status" -eq 1 ]
    [[ $output == *"site.json: nmae: unknown key"* ]]
    [[ $output == *"the agent did not start"* ]]
    rm other/site.json
    run mains up --state "$PWD/other" --listen "127.0.0.1:$(endpoint | grep -o '[0-9]*$')"
    [ "$status" -eq 1 ]
    [[ $output == *"the controller did not start"* ]]
    [ "$SECONDS" -lt 15 ]
    run mains down --state "$PWD/other"
    [[ $output == *"Nothing runs"* ]]
}

@test "inputs that are not there, and no sandbox where none may go without, are refused when submitted" {
    printf 'run: cat data\ninputs: [data]\n' >job.yaml
    run mains submit job.yaml
    [ "$status" -eq 1 ]
    [[ $output == *"inputs[0]: $PWD/data: No such file or directory"* ]]
    mkfifo data
    run mains submit --dry-run job.yaml
    [ "$status" -eq 1 ]
    [[ $output == *"expected a file or a folder"* ]]
    rm data
    echo here >data
    [ "$(mains run -q job.yaml)" = here ]
    rm data
    first=$(mains submit -q -- sh -c "echo made > $PWD/data")
    [ "$(mains run -q --after "$first" job.yaml)" = made ]
    run mains submit --no-sandbox -- true
    [ "$status" -eq 1 ]
    [[ $output == *"--allow-no-sandbox"* ]]
    [ -z "$(mains ps -q)" ]
}

@test "ps shows the newest, and says how to see more" {
    for i in 1 2 3 4 5; do mains run -q --name "n$i" -- true; done
    run mains ps -a --limit 2
    [[ $output != *n3* && $output == *n4*n5*"the newest 2; --limit N"* ]]
    [ "$(mains ps -a --limit 3 --json | jq -r '[.[].name] | join(" ")')" = "n3 n4 n5" ]
    [ "$(mains ps -a -q --limit 0 | wc -l)" -eq 5 ]
    [ "$(mains ps -a -q --since 1h | wc -l)" -eq 5 ]
    [ -z "$(mains ps -a -q --since 2098-01-01)" ]
    run mains ps --since never
    [ "$status" -eq 2 ]
}

@test "site forget ends what a renamed site held; its name is refused until it is readmitted" {
    old=$(mains sites --json | jq -r '.[0].name')
    id=$(mains submit -q -- sleep 20)
    wait_for 10 eval "mains show --json $id | jq -e '.state == \"running\"' >/dev/null"
    run mains site forget "$old"
    [ "$status" -eq 1 ]
    [[ $output == *"is connected"* ]]
    mains down
    mv "$STATE/agent" "$STATE/agent.gone"
    mains up --detach --listen 127.0.0.1:0 --site renamed
    mains cancel -q "$id"
    [ "$(mains show --json "$id" | jq -r .state)" = stopping ]
    mains site forget "$old" --reason 'renamed'
    [ "$(mains show --json "$id" | jq -r .state)" = cancelled ]
    mains sites | grep -q "^$old .*forgotten"
    mains nodes --json | jq -e --arg old "$old" 'length > 0 and all(.site != $old)'
    mains down
    run timeout 30 "$MAINS" up --detach --listen 127.0.0.1:0 --site "$old"
    mains site readmit "$old"
    wait_for 20 eval "mains sites | grep -q '^$old .* reachable'"
    [ "$(mains run -q -- echo back)" = back ]
}

@test "usage names its jobs; the history's views say outcomes in words" {
    mains run -q --name melt -- true
    mains run -q --name frost -- sh -c 'exit 3' || :
    mains usage | grep -q '^1 .*melt'
    mains usage --by tenant | grep -q '^local'
    mains usage --json | jq -e '[.rows[].name] == ["melt", "frost"]'
    mains down
    for again in 1 2; do
        [ "$(python3 -c 'import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute("SELECT outcome FROM jobs_readable ORDER BY id").fetchall(),
      db.execute("SELECT outcome FROM attempts_readable ORDER BY job_id").fetchall())' "$STATE/history.db")" = \
            "[('exited',), ('exited',)] [('exited',), ('exited',)]" ]
        mains history rebuild
    done
    mains up --detach --listen 127.0.0.1:0
}

@test "the command line goes before the environment: --token-file, --state, \$MAINS_TOKEN" {
    mains token create --tenant red >red.token 2>/dev/null
    whoami() { # by whose token a job is submitted
        local id
        id=$("$MAINS" submit -q "$@" --scratch -- true)
        env -u MAINS_TOKEN -u MAINS_TOKEN_FILE -u MAINS_URL "$MAINS" show --json "$id" | jq -r .tenant
    }
    [ "$(whoami)" = local ]
    [ "$(MAINS_TOKEN=$(cat red.token) whoami)" = red ]
    [ "$(MAINS_TOKEN=$(cat red.token) whoami --state "$STATE")" = local ]
    [ "$(MAINS_TOKEN=nonsense whoami --state "$STATE" --token-file "$PWD/red.token")" = red ]
    [ "$(MAINS_TOKEN_FILE=$PWD/red.token whoami)" = red ]
    [ "$(MAINS_URL=http://127.0.0.1:1 whoami --state "$STATE")" = local ]
}

@test "metrics: a token is asked for where the API listens beyond loopback" {
    command -v openssl >/dev/null || skip "no openssl to make a certificate"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -keyout key.pem -out cert.pem 2>/dev/null
    curl -sSf "$(endpoint)/metrics" | grep -q mains_jobs
    for open in "" --metrics-open; do
        # shellcheck disable=SC2086
        "$MAINS" controller --state "$PWD/wide" --listen 0.0.0.0:0 --cert cert.pem --key key.pem $open 2>wide.log &
        pid=$!
        wait_for 10 eval "[ \"\$(jq .pid wide/endpoint.json)\" = $pid ]"
        port=$(jq -r .url wide/endpoint.json | grep -o '[0-9]*$')
        status=$(curl -sk -o /dev/null -w '%{http_code}' "https://127.0.0.1:$port/metrics")
        [ "$status" = "$([ -n "$open" ] && echo 200 || echo 401)" ]
        curl -skf -H "Authorization: Bearer $(cat wide/admin.token)" "https://127.0.0.1:$port/metrics" | grep -q mains_jobs
        kill "$pid"
        wait "$pid"
    done
}

@test "policy: how many starts are promised, and whether work is moved for gangs, are settings" {
    mains policy | grep -q '^reservations  4$'
    mains policy --reservations 1 --defrag on | grep -q '^defrag        on$'
    mains policy --order fair --assign on --json | jq -e '.reservations == 1 and .defrag and .assign'
    run mains policy --reservations 17
    [ "$status" -eq 2 ]
    [ "${#lines[@]}" = 1 ]
    mains policy --reservations 4 --defrag off --assign off
}
