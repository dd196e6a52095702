#!/usr/bin/env bats
# What the owner of a site lets in: placed elsewhere, said why, held at the site itself.

load common

setup_file() {
    network_start --listen 127.0.0.2:0 --tls --site home --sandbox-off
    export TOKEN OTHER="$(dirname "$STATE")/other"
    token=$("$MAINS" site token lab --owner physics --state "$STATE" | sed 's/^mains join //')
    "$MAINS" join "$token" --state "$OTHER" --detach --sandbox-off --cpus 2
    wait_for 10 connected lab
}
teardown_file() {
    "$MAINS" down --state "$OTHER" >/dev/null 2>&1 || :
    network_stop
}

is_gone() { ! connected "$1"; }

policy() { # policy YAML: the agent of lab starts again with it
    "$MAINS" down --state "$OTHER"
    wait_for 10 is_gone lab
    printf '%s\n' "$1" >"$BATS_TEST_TMPDIR/site.yaml"
    "$MAINS" join --state "$OTHER" --detach --sandbox-off --cpus 2 --config "$BATS_TEST_TMPDIR/site.yaml"
    wait_for 10 connected lab
}
submit() { "$MAINS" submit --state "$STATE" --json "$@" | jq -r .id; }
state_of() { "$MAINS" show "$1" --state "$STATE" --json | jq -r .state; }
why() { "$MAINS" why "$1" --state "$STATE"; }
site_of() { "$MAINS" show "$1" --state "$STATE" --json | jq -r '.attempts[0].site // .allocation.site'; }

@test "a policy that makes no sense stops the site from joining, and says where" {
    "$MAINS" down --state "$OTHER"
    wait_for 10 is_gone lab
    printf 'policy:\n  hours: ["Mon 8-18"]\n' >"$OTHER/site.yaml"
    "$MAINS" join --state "$OTHER" --detach --sandbox-off
    says_so() { grep -q 'site.json: policy.hours\|site.yaml: policy.hours\|policy.hours: "Mon 8-18"' "$OTHER/up.log"; }
    wait_for 10 says_so
    printf 'policy:\n  tenant: [x]\n' >"$OTHER/site.yaml"
    unknown() { grep -q 'policy.tenant: unknown key' "$OTHER/up.log"; }
    wait_for 15 unknown
    rm "$OTHER/site.yaml"
}

@test "tenants: a job of another is told why, and starts when the policy is another" {
    policy 'policy: {tenants: [physics]}'
    job=$(submit --site lab -- true)
    run why "$job"
    [[ $output == *"the owner of lab does not let tenant local in"* ]]
    [ "$(state_of "$job")" = queued ]
    run "$MAINS" site show lab --state "$STATE"
    [[ $output == *"tenants  physics"* ]]
    free=$(submit -- true)
    "$MAINS" wait "$free" --state "$STATE"
    [ "$(site_of "$free")" = home ]
    policy 'policy: {tenants: [physics, local]}'
    "$MAINS" wait "$job" --state "$STATE"
    [ "$(site_of "$job")" = lab ]
}

@test "classes, and the plan says so" {
    policy 'policy: {classes: [low]}'
    run "$MAINS" plan --state "$STATE" --site lab -- true
    [[ $output == *"the owner of lab lets in no work of class normal"* ]]
    "$MAINS" run --state "$STATE" --site lab --class low -- true
}

@test "data: what may not come stays away, what may not leave stays there" {
    policy 'policy: {data: {come: [public], leave: [], here: [patients]}}'
    printf 'run: "true"\ndata: [patients]\n' >"$BATS_TEST_TMPDIR/job.yaml"
    job=$(submit "$BATS_TEST_TMPDIR/job.yaml")
    "$MAINS" wait "$job" --state "$STATE"
    [ "$(site_of "$job")" = lab ]
    printf 'run: "true"\ndata: [patients]\nwhere: {sites: {allow: [home]}}\n' >"$BATS_TEST_TMPDIR/job.yaml"
    job=$(submit "$BATS_TEST_TMPDIR/job.yaml")
    run why "$job"
    [[ $output == *"data labelled patients may not leave lab"* ]]
    printf 'run: "true"\ndata: [secret]\nwhere: {sites: {allow: [lab]}}\n' >"$BATS_TEST_TMPDIR/job.yaml"
    job=$(submit "$BATS_TEST_TMPDIR/job.yaml")
    run why "$job"
    [[ $output == *"data labelled secret may not come to lab"* ]]
}

@test "data that may not leave: neither outputs nor checkpoints nor logs go; what is made of data stays with its label" {
    policy 'policy: {data: {come: [public], leave: [papers], here: [patients, papers]}}'
    cd "$BATS_TEST_TMPDIR"
    left() { "$MAINS" artifacts ls "$1" --state "$STATE" --json | jq -r '[.artifacts[].path] | join(" ")'; }
    work='run: echo name >c; echo seen; cp c out.txt; sleep 1
outputs: [out.txt]
checkpoint: {path: c}'
    printf '%s\ndata: [patients]\n' "$work" >stays.yaml
    printf '%s\ndata: [papers]\n' "$work" >goes.yaml
    stays=$(submit stays.yaml)
    goes=$(submit --site lab goes.yaml)
    "$MAINS" wait "$stays" "$goes" --state "$STATE"
    [ "$(site_of "$stays")" = lab ]
    [ "$(left "$stays")" = "" ]
    [ "$(left "$goes")" = out.txt ]
    "$MAINS" show "$stays" --state "$STATE" --json | jq -e '.checkpoint == null or .checkpoint.stored == null' >/dev/null
    [ "$("$MAINS" logs "$goes" --state "$STATE")" = seen ]
    [ "$("$MAINS" logs "$stays" --state "$STATE")" = "mains: this log stays at site lab: data labelled patients may not leave it" ]
    grep -q 'stay here: data labelled patients may not leave' "$OTHER/up.log"
    grep -q 'its log was asked for and is refused' "$OTHER/up.log"
    [ -s "$OTHER/agent/attempts/$stays.1/outputs/out.txt" ] # for who is there
    # Another job that reads it inherits the label, whatever it says itself.
    printf 'run: cat in/out.txt\ninputs: [{from: "artifact:%s", to: in}]\n' "$goes" >reads.yaml
    reads=$(submit reads.yaml)
    "$MAINS" wait "$reads" --state "$STATE"
    "$MAINS" show "$reads" --state "$STATE" --json | jq -e '.spec.data == ["papers"]' >/dev/null
    policy 'policy: {data: {come: [public]}}'
    reads=$(submit --site lab reads.yaml)
    run why "$reads"
    [[ $output == *"data labelled papers may not come to lab"* ]]
    "$MAINS" cancel -q "$reads" --state "$STATE"
}

@test "hours: closed now, open in a while; without a duration never" {
    soon=$(date -u -d '+2 hours' +%H:%M)
    later=$(date -u -d '+4 hours' +%H:%M)
    policy "policy: {hours: [\"$soon-$later\"]}"
    job=$(submit --site lab --time 30m -- true)
    run why "$job"
    [[ $output == *"its owner's hours"* ]]
    job=$(submit --site lab -- true)
    run why "$job"
    [[ $output == *"it has no duration"* ]]
    job=$(submit --site lab --time 3h -- true)
    run why "$job"
    [[ $output == *"longer than lab is ever open"* ]]
    before=$(date -u -d '-1 hours' +%H:%M)
    policy "policy: {hours: [\"$before-$later\"]}"
    "$MAINS" run --state "$STATE" --site lab --time 30m -- true
}

@test "a price at least" {
    policy 'policy: {floor: {cpu_hour: 3600}}'
    job=$(submit --site lab -- sleep 1)
    "$MAINS" wait "$job" --state "$STATE"
    "$MAINS" show "$job" --state "$STATE" --json | jq -e '.usage.price_micro > 1000000'
}

moved_to() { # moved_to SITE KEY: of the plan of job.yaml
    "$MAINS" plan --state "$STATE" --json "$BATS_TEST_TMPDIR/job.yaml" | jq ".candidates[] | select(.site == \"$1\") | .$2"
}

@test "what moving files costs: a place is chosen by it, and a price is bounded" {
    policy 'policy: {link: {ingress: 5, rate: 1M}}'
    head -c 20000000 /dev/urandom >"$BATS_TEST_TMPDIR/big"
    tree=$("$MAINS" artifacts put "$BATS_TEST_TMPDIR/big" --state "$STATE" | grep -o '[0-9a-f]\{64\}' | head -n 1)
    job() { printf 'run: test -s big\nduration: 1m\ninputs: [{from: "store:%s", to: .}]\n%s\n' "$tree" "$1" >"$BATS_TEST_TMPDIR/job.yaml"; }
    job 'objective: cheapest'
    [ "$(moved_to lab move_bytes)" = 20000000 ]
    [ "$(moved_to lab move_price_micro)" = 100000 ]
    [ "$(moved_to home move_price_micro)" = 0 ]
    run "$MAINS" plan --state "$STATE" "$BATS_TEST_TMPDIR/job.yaml"
    [[ $output == *"19.1 MiB 19s 0.1"* ]]
    id=$(submit "$BATS_TEST_TMPDIR/job.yaml")
    "$MAINS" wait "$id" --state "$STATE"
    [ "$(site_of "$id")" = home ]
    job 'where: {sites: {allow: [lab]}}
max_price: 0.09'
    dear=$(submit "$BATS_TEST_TMPDIR/job.yaml")
    run why "$dear"
    [[ $output == *"may cost 0.1"*" by its duration where that is least (lab), and max_price is 0.09"* ]]
    [ "$(state_of "$dear")" = queued ]
    # It has come with another job, that may cost more: then it need not come again.
    job 'where: {sites: {allow: [lab]}}
max_price: 0.11'
    id=$(submit "$BATS_TEST_TMPDIR/job.yaml")
    "$MAINS" wait "$id" --state "$STATE"
    "$MAINS" wait "$dear" --state "$STATE"
    [ "$(moved_to lab move_bytes)" = 0 ]
    run "$MAINS" site show lab --state "$STATE"
    [[ $output == *"link     1 MiB a second, 5 a GB to there"* ]]
    measured() { "$MAINS" site show lab --state "$STATE" --json | jq -e '.freight.down_bytes_s > 100000' >/dev/null; }
    "$MAINS" run --state "$STATE" --site lab -- sleep 3 # its agent looks around while something runs
    wait_for 40 measured
}

prices() { # prices FIRST LATER: of this hour and the next, and of the one after
    local now=$(($(date +%s) / 3600 * 3600))
    printf 'time,price\n%s,%s\n%s,%s\n%s,%s\n' "$now" "$1" $((now + 3600)) "$1" $((now + 7200)) "$2"
}
price_is() { "$MAINS" site tariff lab --state "$STATE" --json | jq -e ".price_micro == $1" >/dev/null; }

@test "a tariff of a file: told, and told again when it is another" {
    file="$(dirname "$STATE")/prices.csv"
    prices 0.10 0.20 >"$file"
    policy "tariff: {series: \"$file\"}"
    wait_for 20 price_is 100000
    [ "$("$MAINS" site tariff lab --state "$STATE" --json | jq '.rows | length')" -ge 2 ]
    prices 0.30 0.20 >"$file"
    wait_for 50 price_is 300000
}

@test "a tariff of a URL; one that makes no sense changes nothing" {
    web="$(dirname "$STATE")/web"
    mkdir -p "$web"
    prices 0.41 0.20 >"$web/p.csv"
    python3 -u -m http.server --bind 127.0.0.1 --directory "$web" 0 >"$web/log" 2>&1 3>&- &
    server=$!
    wait_for 10 grep -q 'port [0-9]' "$web/log"
    port=$(sed -n 's/.*port \([0-9]*\) .*/\1/p' "$web/log" | head -n 1)
    policy "tariff: {url: \"http://127.0.0.1:$port/p.csv\", every: 10s}"
    wait_for 20 price_is 410000
    echo 'nonsense' >"$web/p.csv"
    refused() { grep -q 'tariff: .*p.csv' "$OTHER/up.log"; }
    wait_for 50 refused
    price_is 410000
    kill "$server"
}

@test "limits: the network uses less than the site offers, until it may again" {
    policy 'region: here'
    "$MAINS" site limits lab --cpus 1 --state "$STATE"
    job=$(submit --site lab --cpus 2 -- true)
    [ "$(state_of "$job")" = queued ]
    "$MAINS" run --state "$STATE" --site lab --cpus 1 -- true
    run "$MAINS" site show lab --state "$STATE"
    [[ $output == *"limits   1 CPUs"* ]]
    run "$MAINS" site limits lab --cpus many --state "$STATE"
    [ "$status" -eq 2 ]
    "$MAINS" site limits lab --cpus none --state "$STATE"
    "$MAINS" wait "$job" --state "$STATE"
}

@test "a node is cordoned by name" {
    node=$("$MAINS" nodes --state "$STATE" --json | jq -r '.[] | select(.site == "lab").name')
    "$MAINS" site cordon-node lab "$node" --reason dust --state "$STATE"
    "$MAINS" nodes --state "$STATE" --json | jq -e '.[] | select(.site == "lab") | .state == "cordoned"'
    "$MAINS" site uncordon-node lab "$node" --state "$STATE"
    "$MAINS" run --state "$STATE" --site lab -- true
}

@test "the owner's own work takes back what is lent" {
    policy 'policy: {own: {tenant: physics, share: 100}}'
    "$MAINS" token create --state "$STATE" --tenant physics >"$(dirname "$STATE")/physics"
    lent=$(submit --site lab --cpus 2 -- sleep 300)
    running() { [ "$(state_of "$1")" = running ]; }
    wait_for 20 running "$lent"
    own=$("$MAINS" submit --state "$STATE" --token-file "$(dirname "$STATE")/physics" --json --scratch --site lab --cpus 2 -- true | jq -r .id)
    "$MAINS" wait "$own" --state "$STATE"
    "$MAINS" show "$lent" --state "$STATE" --json | jq -e '.attempts[0].outcome == "preempted"'
    wait_for 20 running "$lent"
    "$MAINS" cancel "$lent" --state "$STATE"
}

@test "a site that is heard now and then: its work waits for that, and so do its results" {
    "$MAINS" down --state "$OTHER"
    wait_for 20 is_gone lab
    printf 'windows: [{period: 24s, duration: 8s}]\n' >"$BATS_TEST_TMPDIR/site.yaml"
    "$MAINS" join --state "$OTHER" --detach --sandbox-off --cpus 2 --config "$BATS_TEST_TMPDIR/site.yaml"
    wait_for 60 connected lab
    wait_for 60 is_gone lab # as planned
    job=$(submit --site lab --time 1m -- sleep 10)
    said_why() { [[ $(why "$job") == *"it is not always to be heard"* ]]; }
    wait_for 10 said_why
    running() { [ "$(state_of "$1")" = running ]; }
    wait_for 60 running "$job"
    connected lab
    wait_for 60 is_gone lab # it goes on there, and ends unheard
    running "$job"
    "$MAINS" wait "$job" --state "$STATE"
    connected lab
    "$MAINS" show "$job" --state "$STATE" --json | jq -e '.attempts | length == 1'
    run "$MAINS" site show lab --state "$STATE"
    [[ $output == *"heard    8s every 24s"* ]]
}
