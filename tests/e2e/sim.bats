# `mains sim` as its user meets it: at once, side by side, from a network's own past, and refusing.

load common

setup() {
    ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    EXAMPLES=$ROOT/examples/sim
    DIR=$(mktemp -d /var/tmp/mains-e2e.XXXXXX)
    cd "$DIR" || return
}

teardown() {
    network_stop
    cd / && rm -rf "$DIR"
}

mains() { "$MAINS" "$@"; }
sim() { "$MAINS" sim --quiet "$@"; }

@test "somebody without a trace can start at once" {
    sim --fleet demo --load demo --jobs 2000 >out
    grep -q '^POLICY .*WAIT .*USED .*ENERGY .*CO2 .*COST' out
    grep -q '^default  *2000 ' out
    grep -q '^us-tx-01  *h100-sxm-80g ' out
}

@test "several policies stand side by side, as a table, as data and as a page that loads nothing" {
    sim -n 3000 -p "$EXAMPLES/fastest.yaml" -p "$EXAMPLES/exact.yaml" --faults "$EXAMPLES/faults.yaml" \
        --html page.html >out
    grep -q '^SITE .*fastest  *exact$' out
    grep -q 'GOODPUT .*LOST .*ETTR' out
    grep -q '</html>' page.html
    [ "$(grep -c '<svg' page.html)" -gt 10 ]
    run grep -E 'src=|href=|url\(|@import' page.html
    [ "$status" -ne 0 ]
    sim -n 3000 -p "$EXAMPLES/fastest.yaml" -p "$EXAMPLES/exact.yaml" --json >out.json
    jq -e '.version == 1 and ([.results[].policy] == ["fastest", "exact"])' out.json
    jq -e '.results[] | .series | [.queued_jobs, .devices_held, .watts, .carbon_ug_per_hour, .wait_ms.normal] |
        map(length) | unique | length == 1' out.json
    jq -e '.results[0].sites[0] | (.watts | length) > 0 and (.groups[0].held | length) > 0' out.json
}

@test "the same inputs give the same bytes, another seed does not" {
    sim -n 2000 --faults "$EXAMPLES/faults.yaml" --json >a
    sim -n 2000 --faults "$EXAMPLES/faults.yaml" --json >b
    cmp a b
    sim -n 2000 --faults "$EXAMPLES/faults.yaml" --json -s 2 >b
    run cmp -s a b
    [ "$status" -eq 1 ]
}

@test "a progress bar where there is a terminal, nothing of it elsewhere" {
    mains sim -n 2000 >out 2>err
    [ "$(cat err)" = "$(grep '^Simulated in ' err)" ]
    script -qec "'$MAINS' sim -n 150000 --offered 3" /dev/null >"tty"
    grep -qE '\[[^]]+\] [0-9]+/150000' tty
}

@test "a bad line is named with its file and line, and counted; --strict stops at it" {
    printf 'submit_s,run_s,gpus\n0,100,1\nx,3,4\n5,60,2\n8,9\n' >t.csv
    mains sim -t t.csv --format jobs >out 2>err
    grep -q '^mains: t.csv:3: submit_s: expected a time' err
    grep -q '^mains: t.csv:5: 2 fields' err
    grep -q '^2 lines of the trace could not be read' out
    [ "$(sim -t t.csv --format jobs --json | jq .load.lines_bad)" = 2 ]
    run mains sim -t t.csv --format jobs --strict
    [ "$status" -ne 0 ]
    [ "$output" = 'mains: t.csv:3: submit_s: expected a time, not "x"' ]
}

@test "a trace comes plain, packed or through a pipe; one with no end is refused" {
    printf '\xef\xbb\xbfsubmit_s,run_s,gpus\r\n0,100,1\r\n' >t.csv
    gzip -k t.csv && zstd -q t.csv
    sim -t t.csv --json | jq 'del(.load.source)' >plain
    for file in t.csv.gz t.csv.zst; do
        sim -t "$file" --json | jq 'del(.load.source)' | cmp - plain
    done
    sim -t <(cat t.csv) --json | jq 'del(.load.source)' | cmp - plain
    { head -c 6 t.csv | zstd -q && tail -c +7 t.csv | zstd -q; } >frames.zst
    sim -t frames.zst --json | jq 'del(.load.source)' | cmp - plain
    head -c 20 t.csv.zst >cut.zst
    run sim -t cut.zst --format jobs
    [ "$output" = "mains: cut.zst: damaged zstd: it ends early" ]
    head -c 40 t.csv.gz >cut.gz
    run sim -t cut.gz --format jobs
    [ "$output" = "mains: cut.gz: damaged gzip: it ends early" ]
    run sim -t /dev/zero --format jobs
    [ "$output" = "mains: /dev/zero:1: a line with no end in sight: no text" ]
}

@test "what an option is given for must be there" {
    printf 'submit_s,run_s,gpus\n0,100,1\n' >t.csv
    while IFS='|' read -r options message; do
        # shellcheck disable=SC2086  # words, on purpose
        run sim $options
        [ "$status" -eq 1 ]
        [ "$output" = "mains: $message" ]
    done <<'END'
-n 0|--jobs: expected a whole number from 1 to 20000000, not "0"
--until 0s|--until: expected some time, not "0s"
--days 3 -t t.csv|--days goes with a made-up --load
--strict|--strict goes with --trace
-l demo -t t.csv|--trace, --load and --journal are loads: give one of them
--chip nosuch -t t.csv|--chip: neither the catalogue nor fleet demo knows "nosuch"; the catalogue calls them h100-sxm-80g and the like
END
}

@test "a page is written whole, where it is said, or not at all" {
    echo mine >page.html
    ln -s page.html link.html
    run sim -n 10 --policy nosuch --html page.html
    [ "$status" -eq 1 ]
    run timeout 1 "$MAINS" sim -q -n 1000000 --html page.html
    [ "$status" -eq 124 ]
    [ "$(cat page.html)" = mine ]
    sim -n 10 --html link.html >/dev/null
    [ -L link.html ]
    grep -q '</html>' page.html
    mkfifo pipe
    cat pipe >got &
    sim -n 10 --html pipe >/dev/null
    wait $!
    [ -p pipe ]
    cmp got page.html
    mkdir folder
    for to in folder nosuch/page.html /dev/full; do
        run sim -n 10 --html "$to"
        [ "$status" -eq 1 ]
        [[ $output = *"mains: $to: "* ]]
    done
    [ "$(find . -name '*.tmp')" = "" ]
}

# One line, on stderr alone, that says what is wrong; and nothing is simulated.
@test "bad fleets, traces, policies, faults and tariffs get one clear line" {
    local kind rest text part bad=0
    while IFS= read -r row; do
        case $row in '#'* | '') continue ;; esac
        kind=${row%%|*} rest=${row#*|} part=${row##*|}
        text=${rest%|"$part"}
        printf '%b' "$text" >bad
        case $kind in
        fleet) set -- --fleet bad ;;
        trace) set -- --trace bad --format jobs --strict ;;
        policy) set -- --policy bad ;;
        faults) set -- --faults bad ;;
        tariff)
            { printf 'sites:\n  - name: a\n    tariff: ' && cat bad &&
                printf '    pools: [ { name: p, nodes: 1, cpus: 8, memory: 1Gi } ]\n'; } >whole
            mv whole bad
            set -- --fleet bad ;;
        esac
        code=0
        mains sim -n 10 "$@" >out 2>err || code=$?
        if [ "$code" -eq 0 ] || [ -s out ] || [ "$(wc -l <err)" -ne 1 ] || ! grep -qF -- "$part" err; then
            echo "$kind '$text': exit $code, $(head -n 3 err), expected '$part'" >&2
            bad=$((bad + 1))
        fi
    done <"$BATS_TEST_DIRNAME/cases/sim_bad.txt"
    [ "$bad" -eq 0 ]
}

@test "a network's journal, under another policy, fleet, tariff and outage" {
    network_start
    export MAINS_STATE=$STATE
    mains wait "$(mains submit --quiet --array 0-2 --cpus 1 --time 60s -- sleep 1)" >/dev/null
    sim --journal "$STATE" --json >was.json
    jq -e '.load.jobs == 3 and .results[0].jobs.done == 3' was.json
    sim --journal "$STATE" --write-fleet now.yaml
    [ "$(sim --journal "$STATE" --fleet now.yaml --json | jq -c '.results[0].price_micro')" = \
        "$(jq -c '.results[0].price_micro' was.json)" ]
    printf 'sites:\n  - name: one\n    tariff: { cpu_price: 3600 }\n    pools: [ { name: p, nodes: 1, cpus: 1, memory: 64Gi, disk: 1Ti } ]\n' >small.yaml
    sim --journal "$STATE" --fleet small.yaml --json >small.json
    jq -e '.results[0].jobs.done == 3 and .results[0].wait.all.max_ms > 0 and .results[0].price_micro >= 3000000' small.json
    printf 'windows: [ { site: one, kind: power, at: 0s, for: 1h } ]\n' >out.yaml
    sim --journal "$STATE" --fleet small.yaml --faults out.yaml --json >outage.json
    jq -e '.results[0].wait.all.max_ms >= 3599000' outage.json
    # One command each: more cards, a lost site, another order; beside what was.
    sim --journal "$STATE" --fleet small.yaml --what-if 'add: 2 nodes at one' --what-if 'lose: one for 1h' \
        --what-if 'order: deadline' --json >what.json
    jq -e '[.results[].policy] == ["as-journaled", "add: 2 nodes at one", "lose: one for 1h", "order: deadline"]' what.json
    jq -e '[.results[].cpus] == [1, 3, 1, 1]' what.json
    jq -e '.results[1].wait.all.max_ms == 0 and .results[2].wait.all.max_ms >= 3599000' what.json
    jq -e '.results[2].waited_for[0].code == "unreachable"' what.json
    sim --journal "$STATE" --fleet small.yaml --what-if 'lose: one for 1h' >out
    grep -q '^lose: one for 1h  *unreachable  *[0-9.]* %' out
    sim --journal "$STATE" --fleet small.yaml -p "$EXAMPLES/exact.yaml" --json | jq -e '.results[0].policy == "exact"'
    [ "$(jq -r '.results[0].policy' was.json)" = as-journaled ] # its tenants and their limits
    # Whole cells go with the tenants: others' jobs, which cannot be stopped, find none free.
    mains tenant set physics --cells "$(mains nodes --json | jq -r '.[0].site')/cpu:node=1" >/dev/null
    printf 'order: fifo\n' >fifo.yaml
    sim --journal "$STATE" -p fifo.yaml --json | jq -e '.results[0].jobs.done == 0'
    mains sim --journal "$STATE" --fleet small.yaml --json 2>err | jq -e '.results[0].jobs.done == 3'
    grep -q 'cells of physics at .* are left out' err
    network_stop
}

@test "example: a small fleet" {
    sim -f "$EXAMPLES/small.yaml" -l demo --offered 0.8 -p "$EXAMPLES/fastest.yaml" \
        -p "$EXAMPLES/greenest.yaml" --faults "$EXAMPLES/faults.yaml" --json >out.json
    jq -e '[.results[] | .jobs.done == .jobs.submitted and .faults.windows == 1] | all' out.json
}

@test "example: 60 sites, 20 chips, 100,000 devices" {
    sim -f demo-100k -l seren -n 20000 -p "$EXAMPLES/fastest.yaml" -p "$EXAMPLES/cheapest.yaml" --json >out.json
    jq -e '.fleet.sites == 60 and .fleet.devices > 99000' out.json
    jq -e '[.results[0].sites[].groups[].chip] | unique | length == 21' out.json # and "cpu"
    jq -e '[.results[] | .jobs.done > 0.98 * .jobs.submitted] | all' out.json
}

@test "example: 3,000 cards for 600 hours" {
    for seed in 1 2 3; do
        sim -f "$EXAMPLES/train-fleet.yaml" -t "$EXAMPLES/train.jobs.csv" \
            --faults "$EXAMPLES/train-faults.yaml" -s "$seed" --json >out.json
        # 36 node failures are expected: 380 nodes x 25 days x 3.79 a 1,000; goodput near 98.5 %
        jq -e '.results[0] | .jobs.done == 1 and .faults.node_failures >= 15 and .faults.node_failures <= 60 and
            .faults.goodput > 0.975 and .faults.goodput < 0.992 and .faults.ettr_restarted_jobs > 0.93' out.json
    done
}

@test "example: spare nodes beside a training" {
    sim -f "$EXAMPLES/train-fleet.yaml" -t "$EXAMPLES/train-shared.jobs.csv" --faults "$EXAMPLES/train-shared-faults.yaml" \
        -p "$EXAMPLES/no-spares.yaml" -p "$EXAMPLES/spares.yaml" --json >spares.json
    jq -c '[.results[].faults | .ettr_restarted_jobs, .goodput]' spares.json
    # It waits for nobody's node; that nodes stand by is paid for.
    jq -e '.results[1].faults.ettr_restarted_jobs > .results[0].faults.ettr_restarted_jobs + 0.05' spares.json
    jq -e '.results[1].faults.goodput < .results[0].faults.goodput and .results[1].faults.goodput > 0.97' spares.json
}

@test "example: a lost site" {
    sim -n 20000 --json >calm.json
    sim -n 20000 --faults "$EXAMPLES/lost-site.yaml" --json >lost.json
    jq -e '.results[0].faults.restarts > 0 and .results[0].faults.device_lost_ms > 0' lost.json
    [ "$(jq '.results[0].turnaround.mean_ms' lost.json)" -gt "$(jq '.results[0].turnaround.mean_ms' calm.json)" ]
}

@test "the commands of docs/sim-examples.md run, and are as many as it has examples" {
    cd "$ROOT" || return
    tools/sim_examples.py --list >"$DIR/commands"
    [ "$(wc -l <"$DIR/commands")" -ge 5 ]
    while read -r _ _ arguments; do
        # shellcheck disable=SC2086  # words, on purpose
        sim $arguments >"$DIR/out"
        grep -q '^POLICY ' "$DIR/out"
    done <"$DIR/commands"
}

# Doubles are allowed in scores, so this is worth a compiler of another make.
@test "gcc and clang builds give the same bytes" {
    command -v clang >/dev/null || skip "no clang is installed"
    build=$ROOT/build/clang
    if [ ! -f "$build/build.ninja" ]; then
        CC=clang meson setup "$build" "$ROOT" --buildtype=release >setup.log 2>&1 || { cat setup.log; false; }
    fi
    ninja -C "$build" src/cli/mains >build.log 2>&1 || { tail -n 20 build.log; false; }
    for args in "-n 20000 --faults $EXAMPLES/faults.yaml" \
        "-f demo-100k -l seren -n 20000 -p $EXAMPLES/greenest.yaml -p $EXAMPLES/fastest.yaml" \
        "-f $EXAMPLES/train-fleet.yaml -t $EXAMPLES/train.jobs.csv --faults $EXAMPLES/train-faults.yaml"; do
        # shellcheck disable=SC2086  # words, on purpose
        sim $args --json --html a.html >a.json
        # shellcheck disable=SC2086
        "$build/src/cli/mains" sim --quiet $args --json --html b.html >b.json
        cmp a.json b.json
        cmp a.html b.html
    done
}

@test "a fleet is filled by what a trace asks for, and the policy that fills it best is seen" {
    printf 'sn,cpu_milli,memory_mib,gpu,model\n' >nodes.csv
    for i in $(seq 20); do
        printf 'n%s,96000,393216,8,G2\nm%s,32000,262144,2,P100\n' "$i" "$i"
    done >>nodes.csv
    printf 'name,cpu_milli,memory_mib,num_gpu,gpu_milli\n' >pods.csv
    for i in $(seq 9); do
        printf 'p%s,4000,8192,1,1000\nq%s,6000,8192,1,810\nr%s,1000,4096,1,190\ns%s,2000,4096,1,470\n' "$i" "$i" "$i" "$i"
    done >>pods.csv
    printf 't,60000,65536,8,1000\nu,4000,4096,0,0\n' >>pods.csv
    echo 'fill: on' >on.yaml
    echo 'fill: off' >off.yaml
    sim --fleet nodes.csv --trace pods.csv --format openb --asked 100 -p off.yaml -p on.yaml --json >out.json
    jq -e '.results | map(.held_at_end) | .[0] > 0.5 and .[1] > .[0] and .[1] <= 1' out.json
    jq -e '.results[0].jobs | .done == 0 and .submitted == .cut_off + .never_started' out.json
    sim --fleet nodes.csv --trace pods.csv --format openb --asked 100 --what-if 'add: 800 G2 at openb' --json |
        jq -e '.results[1] | .devices == 1000 and .held_at_end < 0.3' # of what there then is
    sim --fleet nodes.csv --trace pods.csv --asked 100 -p on.yaml >out
    grep -qE '^As it was stopped, of the devices were held: on [0-9.]+ %' out
    run sim --asked 100
    [ "$status" -eq 1 ]
    grep -q -e '--asked goes with --trace' <<<"$output"
}

@test "cells: a tenant's own, refused where they cannot be whole, and what each tenant waited" {
    cat >cells.yaml <<'EOF'
sites:
  - { name: west, pools: [ { name: a, nodes: 4, cpus: 64, memory: 64G, devices: 4, chip: v100, rack_nodes: 2 } ] }
EOF
    printf 'submit_s,run_s,tasks,devices,class,tenant\n%s\n' 0,3600,4,4,low,all 60,600,2,4,normal,lab >cells.csv
    printf 'cells: [ { tenant: lab, site: west, chip: v100, racks: 3 } ]\n' >three.yaml
    printf 'cells: [ { tenant: lab, site: west, chip: v100, racks: 1 } ]\n' >one.yaml
    run mains sim -q --fleet cells.yaml --trace cells.csv --format jobs --policy three.yaml
    [ "$status" -eq 1 ]
    [[ $output == *"can keep 2 whole racks of v100 for tenant lab, not 3"* ]]
    mains sim -q --fleet cells.yaml --trace cells.csv --format jobs --policy one.yaml --json |
        jq -e '.results[0] | .jobs.attempts == 3 and
            (.tenants | map(select(.name == "lab")) | .[0].ended == 1 and .[0].wait_ms < 60000)'
}
