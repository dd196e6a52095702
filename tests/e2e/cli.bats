# Every command of the program, as a person uses it, on a network of its own.

load common

setup_file() {
    network_start
    export MAINS_STATE=$STATE
    DIR=$(dirname "$STATE")
    export DIR TOKEN
    cd "$DIR" || return
}

teardown_file() { network_stop; }

setup() { cd "$DIR" || return; }

mains() { "$MAINS" "$@"; }

@test "a command or option that is mistyped: one line, with what was meant" {
    run mains pss
    [ "$status" -eq 2 ]
    [ "$output" = 'mains: no command "pss": did you mean "ps"?' ]
    run mains ps --jsno
    [ "$status" -eq 2 ]
    [[ $output == *"did you mean --json?"* ]]
    run mains run --cpsu 2 -- true
    [ "$status" -eq 125 ]
    [[ $output == *"did you mean --cpus?"* ]]
}

@test "no network: says how to start one" {
    run mains ps --state "$DIR/none"
    [ "$status" -eq 1 ]
    [[ $output == *"mains up --detach"* ]]
    [ "${#lines[@]}" -eq 1 ]
}

@test "a second up on the same state says who holds it" {
    run mains up
    [ "$status" -eq 1 ]
    [[ $output == *"held by process $(cat "$STATE/lock")"* ]]
    [[ $output == *"$(endpoint)"* ]]
    run mains up --detach
    [ "$status" -eq 1 ]
    [[ $output == *"held by process"* ]]
}

@test "run: stdout, stderr and the exit code are the job's" {
    mains run -q -- sh -c 'echo to out; echo to err >&2; exit 7' >out 2>err || code=$?
    [ "$code" -eq 7 ]
    [ "$(cat out)" = "to out" ]
    [ "$(cat err)" = "to err" ]
}

@test "run: bytes pass unchanged" {
    head -c 300000 /dev/urandom >random
    mains run -q -- cat "$PWD/random" >copy
    cmp random copy
}

@test "run: 128 + signal, 124 at the time limit, 125 when mains fails" {
    run mains run -q -- sh -c 'kill -SEGV $$'
    [ "$status" -eq 139 ]
    run mains run -q --time 1s --grace 1s -- sleep 60
    [ "$status" -eq 124 ]
    code=0
    mains run -q -- /no/such/program 2>err || code=$?
    [ "$code" -ne 0 ]
    [ -s err ]
    run mains run --cpus none -- true
    [ "$status" -eq 125 ]
    [ "${#lines[@]}" -eq 1 ]
}

@test "run: works in the current folder, with what it is given" {
    mkdir -p here
    cd here
    mains run -q --env GREETING='hi there' -- sh -c 'pwd; echo "$GREETING" >made' >../out
    [ "$(cat ../out)" = "$PWD" ]
    [ "$(cat made)" = "hi there" ]
    mains run -q --scratch -- pwd >../out
    [ "$(cat ../out)" != "$PWD" ]
}

@test "run: a job file, a script with arguments, standard input" {
    printf 'name: from-file\nrun: echo "file $MAINS_JOB_NAME"\n' >job.yaml
    [ "$(mains run -q job.yaml)" = "file from-file" ]
    printf '#!/bin/sh\n#SBATCH --job-name=script\necho "$SLURM_JOB_NAME $1"\n' >job.sh
    [ "$(mains run -q job.sh word)" = "script word" ]
    [ "$(mains run -q - <job.yaml)" = "file from-file" ]
}

@test "run: the first Ctrl-C leaves, the second cancels" {
    "$MAINS" run -- sh -c 'echo begun; sleep 30' >out 2>err &
    pid=$!
    wait_for 10 grep -q begun out
    kill -INT "$pid"
    code=0
    wait "$pid" || code=$?
    [ "$code" -eq 130 ]
    grep -q "come back with: mains logs -f" err
    id=$(sed -n 's/.*mains logs -f \([0-9.]*\).*/\1/p' err)
    [ "$(mains show --json "$id" | jq -r .state)" = running ]
    mains cancel -q "$id"

    for try in 1 2 3 4 5; do # the second one has a second
        rm out err # what was said before is not what is waited for
        "$MAINS" run -- sh -c 'echo begun; sleep 30' >out 2>err &
        pid=$!
        wait_for 10 grep -q begun out
        kill -INT "$pid"
        wait_for 10 grep -q "come back" err
        kill -INT "$pid" || :
        code=0
        wait "$pid" || code=$?
        [ "$code" -eq 130 ]
        id=$(sed -n 's/.*mains logs -f \([0-9.]*\).*/\1/p' err)
        state=$(mains show --json "$id" | jq -r .state)
        [ "$state" != cancelled ] || break
        mains cancel -q "$id"
    done
    [ "$state" = cancelled ]
}

@test "submit, wait, show, logs, ps, usage: an array" {
    id=$(mains submit -q --name sums --array 0-4 -- sh -c 'echo "value $MAINS_ARRAY_VALUE"')
    mains wait -q "$id"
    [ "$(mains logs "$id.3")" = "value 3" ]
    mains show "$id.3" | grep -q '^state *done'
    [ "$(mains ps -a --name sums -q | wc -l)" -eq 5 ]
    [ "$(mains ps -a --name sums --json | jq 'map(.state) | unique | .[]')" = '"done"' ]
    mains usage | grep -q "^$id.3 "
    mains usage --by tenant --json | jq -e '.total.jobs >= 5'
    mains submit --array 0-1 -- true | grep -q "an array of 2 jobs"
    mains show "$id" | grep -q '^jobs *5: 5 done'
}

@test "wait: gives up in time, and exits as the job did" {
    id=$(mains submit -q -- sleep 30)
    run mains wait --timeout 1s "$id"
    [ "$status" -eq 124 ]
    mains cancel -q "$id"
    run mains wait "$id"
    [ "$status" -eq 130 ]
    id=$(mains submit -q --array 0-2 -- sh -c 'exit $MAINS_ARRAY_VALUE')
    run mains wait "$id"
    [ "$status" -eq 1 ]
}

@test "submit: the same key is the same job; a dry run is none" {
    a=$(mains submit -q --key k1 -- true)
    b=$(mains submit -q --key k1 -- true)
    [ "$a" = "$b" ]
    before=$(mains ps -a -q | wc -l)
    mains submit --dry-run -- true
    [ "$(mains ps -a -q | wc -l)" -eq "$before" ]
    run mains submit --dry-run --memory lots -- true
    [ "$status" -eq 1 ]
}

@test "logs: one stream, the tail, and following to the end" {
    id=$(mains submit -q -- sh -c 'for i in 1 2 3; do echo "line $i"; sleep 0.1; done; echo bad >&2')
    [ "$(mains logs -f --stdout "$id" | tail -n 1)" = "line 3" ]
    [ "$(mains logs --stderr "$id" 2>&1)" = bad ]
    [ "$(mains logs --stdout --tail 7 "$id")" = "line 3" ]
    run mains logs 999999
    [ "$status" -eq 1 ]
    run mains logs nonsense
    [ "$status" -eq 2 ]
}

@test "outputs: list, print, fetch" {
    id=$(mains submit -q --scratch --output 'r*' -- sh -c 'echo 42 >result; mkdir rest; echo x >rest/x')
    mains wait -q "$id"
    mains outputs "$id" | grep -q '^result'
    [ "$(mains outputs --print "$id" result)" = 42 ]
    mains outputs --get fetched "$id"
    [ "$(cat fetched/result)" = 42 ]
    [ "$(cat fetched/rest/x)" = x ]
}

@test "why and plan: nothing is started, the reason is one line, and what would help is listed" {
    run mains submit --cpus 4000 -- true
    [[ ${lines[1]} == "It waits: needs 4000 CPUs"* ]]
    id=${lines[0]%%:*}
    run mains why "$id"
    [ "$status" -eq 0 ]
    [[ ${lines[0]} == *4000* ]]
    [[ ${lines[1]} == "What would start it sooner"* ]]
    [[ $output == *"resources.cpus: "*" instead of 4000"* ]]
    mains why "$id" --json | jq -e '.changes[0].change == "resources.cpus" and .changes[0].site != null and
        .changes[0].price_micro > 0 and .candidates[0].fits_ever == false and .choice == null'
    mains show "$id" | grep -q '^why'
    mains cancel -q "$id"
    before=$(mains ps -a -q | wc -l)
    mains plan --time 1h -- true | grep -q '^\*'
    mains plan --json -- true | jq -e '.chosen == 0 and .changes == []'
    mains plan --json --cpus 4000 -- true | jq -e '.changes[0].change == "resources.cpus"'
    [ "$(mains ps -a -q | wc -l)" -eq "$before" ]
}

@test "nodes, devices, sites, version: tables and JSON" {
    mains nodes | grep -q ready
    mains nodes --json | jq -e 'length == 1'
    mains devices --json | jq -e 'type == "array"'
    mains sites --json | jq -e '.[0].reachable'
    mains sites | grep -q reachable
    mains version --json | jq -e '.version == .controller'
    mains doctor --json | jq -e 'length > 5'
}

@test "nodes: a cordoned one starts nothing, until it is used again" {
    node=$(mains nodes --json | jq -r '.[0].name')
    mains nodes --cordon "$node" --reason 'new memory'
    mains nodes --json | jq -e '.[0] | .state == "cordoned" and (.reason | startswith("new memory"))'
    id=$(mains submit -q -- true)
    run mains wait --timeout 1s "$id"
    [ "$status" -eq 124 ]
    mains nodes --uncordon "$node"
    mains wait -q "$id"
    run mains nodes --cordon nowhere
    [ "$status" -eq 1 ]
    [[ $output == *"mains nodes"* ]]
}

@test "what comes from others moves no cursor" {
    id=$(mains submit -q -- sleep 30)
    mains cancel -q --reason "$(printf '\033[31mred\033]0;title\007\nline')" "$id"
    mains wait -q "$id" || :
    for command in "ps -a" "show $id" "why $id" "events --after 0 --count 50"; do
        # shellcheck disable=SC2086
        timeout 10 "$MAINS" $command >out 2>&1 || :
        if grep -q "$(printf '\033')" out; then
            cat -v out
            return 1
        fi
    done
}

@test "token: made, used, removed" {
    token=$(mains token create --tenant physics --note 'a test' 2>/dev/null)
    url=$(endpoint)
    MAINS_TOKEN=$token mains ps --url "$url" --json | jq -e '. == []'
    id=$(mains token list --json | jq -r '.[] | select(.note == "a test") | .id')
    mains token remove "$id"
    run env MAINS_TOKEN="$token" "$MAINS" ps --url "$url"
    [ "$status" -eq 1 ]
    [[ $output == *token* ]]
}

@test "events: from the beginning, and no more than asked for" {
    run timeout 10 "$MAINS" events --after 0 --count 3 --json
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 3 ]
    echo "${lines[0]}" | jq -e .id
}

@test "plot: in the terminal and as SVG" {
    printf 'x,y\n1,1\n2,4\n3,9\n' >table.csv
    mains plot --svg plot.svg table.csv >out
    grep -q '</svg>' plot.svg
    [ "$(wc -l <out)" -gt 10 ]
    run mains plot --y nothing table.csv
    [ "$status" -eq 1 ]
}

@test "man pages: every command has one that groff takes" {
    command -v groff >/dev/null || skip "groff is not installed"
    for name in mains $(mains help | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
        mains help --man "$name" >page
        [ -z "$(groff -ww -z -man -Tascii page 2>&1)" ]
        [ "$name" = mains ] || [ -e "$(dirname "$MAINS")/mains-$name.1" ]
    done
}

@test "completion: bash completes commands, options, choices and jobs" {
    id=$(mains submit -q -- sleep 30)
    mains completion bash >complete.bash
    bash -n complete.bash
    # shellcheck disable=SC2016
    PATH=$(dirname "$MAINS"):$PATH bash -c '
        . ./complete.bash
        ask() { COMP_WORDS=(mains "$@"); COMP_CWORD=$#; _mains; echo "${COMPREPLY[*]}"; }
        ask ca
        ask run --cla
        ask run --class ur
        ask show ""
        ask completion z' >out
    mains cancel -q "$id"
    [ "$(sed -n 1p out)" = cancel ]
    [ "$(sed -n 2p out)" = --class ]
    [ "$(sed -n 3p out)" = urgent ]
    [[ " $(sed -n 4p out) " == *" $id "* ]]
    [ "$(sed -n 5p out)" = zsh ]
    if command -v zsh >/dev/null; then mains completion zsh | zsh -n; fi
    if command -v fish >/dev/null; then mains completion fish | fish -n; fi
}
