# What jobs say of their work and of topology, as a user meets it: learned, shown, waited for.

load common

setup_file() {
    STATE=$(mktemp -d /var/tmp/mains-e2e.XXXXXX)/state
    export STATE
    mkdir -p "$STATE"
    chmod 700 "$STATE"
    echo '{"domains": {"rack": "r7"}}' >"$STATE/site.json"
    network_start
    export MAINS_STATE=$STATE
    DIR=$(dirname "$STATE")
    export DIR TOKEN
}

teardown_file() { network_stop; }

setup() { cd "$DIR" || return; }

mains() { "$MAINS" "$@"; }

@test "a class of work is declared, planned by, learned and listed" {
    run mains rates
    [ "$status" -eq 0 ]
    [[ $output == *"No rates"* ]]
    cat >job.yaml <<'YAML'
run: sleep 0.3
duration: 1m
work: {class: nap, units: 3, seconds_per_unit: {cpu: 5}}
YAML
    mains plan job.yaml | grep -q '5 s declared +-30%'
    run mains rates # a plan changes nothing
    [[ $output == *"No rates"* ]]
    mains run job.yaml
    learned() { mains rates --json | jq -e '.rates[0].runs == 1'; }
    wait_for 30 learned
    mains rates --json | jq -e '.rates[0] | .class == "nap" and .tenant == "local" and .chip == "cpu" and
        .source == "learned" and .declared_seconds == 5 and .seconds_per_unit < 5'
    mains rates | grep -q '^nap  *local  *cpu  *1 .*learned'
    api GET '/api/v1/rates?class=nap&gang=4' >answer
    head -n 1 answer | jq -e '.rates | length == 1 and .[0].source == "carried"'
    run api GET '/api/v1/rates?gang=0'
    [ "${lines[-1]}" = 400 ]
}

@test "why tells the pace of a job that waits" {
    id=$(mains submit --json --begin 1h job.yaml | jq -r .id)
    mains why "$id" | grep -q 'Its work: .* s a unit (learned of 1 run'
    mains cancel "$id"
}

@test "a gang that no rack can hold waits, and why says so; wrong keys are refused" {
    cpus=$(mains nodes --json | jq '.[0].cpus')
    printf 'run: "true"\ntasks: %s\ntopology: {within: rack, hard: true}\n' "$cpus" >fits.yaml
    mains run fits.yaml
    printf 'run: "true"\ntopology: {within: row}\n' >bad.yaml
    run mains submit bad.yaml
    [ "$status" -ne 0 ]
    [[ $output == *"bad.yaml:2:20: topology.within: expected "* ]]
    printf 'run: "true"\nwork: {units: 3}\n' >bad.yaml
    run mains submit bad.yaml
    [[ $output == *"work: expected class"* ]]
    run mains submit --mixed -- true
    [ "$status" -ne 0 ]
    [[ $output == *"mixed: expected several tasks, each with whole devices"* ]]
    mains nodes --json | jq -e '.[0].rack == "r7"'
}

@test "expected fill is switched on and off, and stays after a restart" {
    mains policy | grep -q '^fill *off$'
    mains policy --fill on | grep -q '^fill *on$'
    mains run -- true
    kill -9 "$(controller_pid)"
    wait_for 30 sh -c '"$MAINS" policy 2>/dev/null | grep -q "^fill *on$"'
    mains run -- true
    mains policy --fill off | grep -q '^fill *off$'
    mains journal verify
}

@test "a job with an rpo is asked to save so often, and told how often" {
    cat >saves.yaml <<'X'
checkpoint: {path: saved, signal: USR1}
rpo: 4s
run: |
  n=0; trap 'n=$((n + 1)); echo $n >saved.new; mv saved.new saved' USR1
  echo "every $MAINS_CHECKPOINT_EVERY"
  while [ $n -lt 2 ]; do sleep 0.1; done
  echo "saved $n times"
X
    run mains run --quiet saves.yaml
    [ "$status" -eq 0 ]
    [ "$output" = "$(printf 'every 4\nsaved 2 times')" ]
    echo '{"rpo": "1s", "run": "true"}' >bad.json
    run mains submit bad.json
    [[ $output == *"rpo: expected checkpoint.path"* ]]
}

@test "what needs less goes first, and why says so" {
    [ "$(nproc)" -gt 1 ] || skip "one CPU has no widths"
    mains policy --order predicted | grep -q '^order *predicted$'
    mains run -n narrow -- true
    all=$(mains submit -q -c "$(nproc)" -n all -- sleep 300)
    runs() { mains show "$1" --json | jq -e '.state == "running"'; }
    wait_for 30 runs "$all"
    wide=$(mains submit -q -c "$(nproc)" -n wide -- true)
    narrow=$(mains submit -q -n narrow -- true)
    mains why "$wide" | grep -q 'Its place: it has had nothing of'
    mains why "$narrow" | grep -q 'Its place: the last of its user, name and width took about'
    [ "$(mains why "$wide" --json | jq .ahead)" -eq 1 ]
    kill -9 "$(controller_pid)"
    one_ahead() { [ "$(mains why "$1" --json 2>/dev/null | jq .ahead)" = 1 ]; }
    wait_for 30 one_ahead "$wide"
    mains policy | grep -q '^order *predicted$'
    mains cancel "$all"
    mains wait "$wide" "$narrow"
    run mains policy --order lottery
    [ "$status" -ne 0 ]
    mains policy --order fair | grep -q '^order *fair$'
    mains journal verify
}
