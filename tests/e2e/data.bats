#!/usr/bin/env bats
# What jobs save goes through the network: a checkpoint that was made at one site is gone on from at
# another.

load common

setup_file() {
    network_start --listen 127.0.0.2:0 --tls --site home --sandbox-off
    export TOKEN WHERE="$(dirname "$STATE")"
    for site in east west; do
        "$MAINS" join "$("$MAINS" site token $site --state "$STATE" | sed 's/^mains join //')" \
            --state "$WHERE/$site" --detach --sandbox-off >&2
        wait_for 20 connected $site
    done
}
teardown_file() {
    for site in east west; do
        "$MAINS" down --state "$WHERE/$site" >/dev/null 2>&1 || :
    done
    network_stop
}

job_is() { [ "$("$MAINS" show "$1" --state "$STATE" --json | jq -r .state)" = "$2" ]; }
# A network's word on what it holds of a job.
checkpoint_of() { "$MAINS" show "$1" --state "$STATE" --json | jq -r '.checkpoint.manifest // ""'; }
has_checkpoint() { [ -n "$(checkpoint_of "$1")" ]; }
has_other_checkpoint() { # has_other_checkpoint JOB MANIFEST: than that
    local held
    held=$(checkpoint_of "$1")
    [ -n "$held" ] && [ "$held" != "$2" ]
}
# What the network's store holds for a job: its roots, and for how many hours more each does.
held() { (cd "$STATE/store/roots" && ls | grep "^$1" || :); }
hours_left() { echo $((($(cut -d' ' -f2 "$STATE/store/roots/$1") - $(date +%s%3N)) / 3600000)); }
# The supervisor of a job's attempt at a site; what it runs dies with it.
supervisor_of() { cut -d' ' -f1 <"$WHERE/$1/agent/attempts/$2.$3/run"; }
drain() { "$MAINS" site drain "$1" --state "$STATE"; }
resume() { "$MAINS" site resume "$1" --state "$STATE"; }

# Counts on from its checkpoint, a step each time a file `step` comes into the folder $1.
steps_job() {
    cat <<EOF
name: steps
checkpoint: {path: ckpt}
run: |
  n=0
  if [ "\$MAINS_RESTORED" = 1 ]; then n=\$(cat ckpt/n); fi
  echo "attempt \$MAINS_ATTEMPT at \$MAINS_SITE begins at \$n"
  mkdir -p ckpt
  while [ ! -e "$1/end" ]; do
    if [ -e "$1/step" ]; then
      rm "$1/step"; n=\$((n + 1))
      head -c 300000 /dev/zero | tr '\\0' "\$n" >ckpt/data.new && mv ckpt/data.new ckpt/data
      echo \$n >ckpt/n.new && mv ckpt/n.new ckpt/n
    fi
    sleep 0.05
  done
  echo "ends at \$n"
EOF
}

@test "a job goes on at another site from the checkpoint that the network holds" {
    steps_job "$BATS_TEST_TMPDIR" >"$BATS_TEST_TMPDIR/job.yaml"
    drain west
    drain home
    job=$("$MAINS" submit --state "$STATE" --json "$BATS_TEST_TMPDIR/job.yaml" | jq -r .id)
    wait_for 30 job_is "$job" running
    touch "$BATS_TEST_TMPDIR/step"
    wait_for 30 has_checkpoint "$job"
    first=$(checkpoint_of "$job")
    touch "$BATS_TEST_TMPDIR/step"
    wait_for 30 has_other_checkpoint "$job" "$first"
    holds_the_newest() { [ "$(held "ckpt-$job-")" = "ckpt-$job-$(checkpoint_of "$job")" ]; }
    wait_for 10 holds_the_newest
    [ "$(hours_left "$(held "ckpt-$job-")")" -ge $((89 * 24)) ]
    drain east
    resume west
    kill -9 "$(supervisor_of east "$job" 1)"
    at_west() { [ -e "$WHERE/west/agent/attempts/$job.2/run" ]; }
    wait_for 60 at_west
    touch "$BATS_TEST_TMPDIR/end"
    run "$MAINS" wait "$job" --state "$STATE"
    [ "$status" -eq 0 ]
    run "$MAINS" logs "$job" --state "$STATE"
    [[ $output == *"attempt 1 at east begins at 0"* ]]
    [[ $output == *"attempt 2 at west begins at 2"* ]]
    [[ $output == *"ends at 2"* ]]
    # Of a job that has ended a day more; collection takes it from there.
    a_day_more() { [ "$(hours_left "$(held "ckpt-$job-")")" -le 24 ]; }
    wait_for 10 a_day_more
    resume east
    resume home
}

@test "with an rto the newest checkpoint waits where the job would go on" {
    { steps_job "$BATS_TEST_TMPDIR"; echo 'rto: 30s'; } >"$BATS_TEST_TMPDIR/job.yaml"
    drain west
    drain home
    job=$("$MAINS" submit --state "$STATE" --json "$BATS_TEST_TMPDIR/job.yaml" | jq -r .id)
    wait_for 30 job_is "$job" running
    resume west
    touch "$BATS_TEST_TMPDIR/step"
    wait_for 30 has_checkpoint "$job"
    waits_at_west() { has_checkpoint "$job" && grep -qs "$(checkpoint_of "$job")" "$WHERE/west/agent/store/roots/pre-$job"; }
    wait_for 30 waits_at_west
    [ ! -e "$WHERE/east/agent/store/roots/pre-$job" ]
    touch "$BATS_TEST_TMPDIR/end"
    "$MAINS" wait "$job" --state "$STATE"
    resume home
}

@test "outputs of a site elsewhere are artifacts: listed, fetched, verified, with where they come from" {
    cd "$BATS_TEST_TMPDIR"
    cat >job.yaml <<'EOF'
name: makes
env: {LEVEL: "3"}
outputs: [out/, "*.txt"]
run: |
  mkdir -p out/deep; seq 200000 >out/deep/numbers; echo "level $LEVEL" >note.txt; : >out/empty
EOF
    job=$("$MAINS" submit --state "$STATE" --site east --json job.yaml | jq -r .id)
    "$MAINS" wait "$job" --state "$STATE"
    run "$MAINS" artifacts ls "$job" --state "$STATE" --json
    [ "$(jq -r '[.artifacts[].path] | sort | join(" ")' <<<"$output")" = "note.txt out/deep/numbers out/empty" ]
    [ "$(jq -r '.artifacts[] | select(.path == "note.txt") | .digest' <<<"$output")" = "$(echo "level 3" | b2sum -l 256 | cut -d' ' -f1)" ]
    [ "$(jq -r '.provenance | .site + " " + .name + " " + .environment[0]' <<<"$output")" = "east makes LEVEL" ]
    [ "$(hours_left "out-$job.1")" -ge $((89 * 24)) ]
    "$MAINS" artifacts get "$job" got --state "$STATE"
    seq 200000 | cmp - got/out/deep/numbers
    [ "$(cat got/note.txt)" = "level 3" ]
    [ -f got/out/empty ]
    jq -e '.job.run and .versions.mains and .exit_code == 0' got.provenance.json
    "$MAINS" artifacts verify "$job" got --state "$STATE"
    echo more >>got/note.txt
    run "$MAINS" artifacts verify "$job" got --state "$STATE"
    [ "$status" -eq 1 ]
    [ "$output" = "note.txt: differs" ]
    run "$MAINS" artifacts get "$job" got --state "$STATE"
    [ "$status" -eq 1 ]
    # The older command shows them as well.
    [ "$("$MAINS" outputs --state "$STATE" --print "$job" note.txt)" = "level 3" ]
    [ "$("$MAINS" outputs --state "$STATE" --print "$job" out/deep/numbers | cksum)" = "$(seq 200000 | cksum)" ]
    run "$MAINS" outputs --state "$STATE" --print "$job" out/none
    [ "$status" -eq 1 ]
}

@test "artifacts of the site on this machine; a rerun says whether it left the same" {
    cd "$BATS_TEST_TMPDIR"
    printf 'outputs: [a]\nrun: echo same >a\n' >same.yaml
    printf 'outputs: [a]\nrun: date +%%N >a\n' >other.yaml
    same=$("$MAINS" submit --state "$STATE" --site home --json same.yaml | jq -r .id)
    other=$("$MAINS" submit --state "$STATE" --site home --json other.yaml | jq -r .id)
    "$MAINS" wait "$same" "$other" --state "$STATE"
    [ "$("$MAINS" artifacts ls "$same" --state "$STATE" --json | jq -r '.artifacts[0].path')" = a ]
    "$MAINS" rerun -q "$same" --state "$STATE"
    run "$MAINS" rerun -q "$other" --state "$STATE"
    [ "$status" -eq 1 ]
    [ "$output" = "a: differs" ]
    run "$MAINS" rerun -q 99999 --state "$STATE"
    [ "$status" -eq 2 ]
}

@test "what is put comes back the same, and what is no name, or not there, is told in one line" {
    cd "$BATS_TEST_TMPDIR"
    mkdir -p tree/sub && head -c 30000000 /dev/urandom >tree/sub/random && echo x >tree/x
    name=$("$MAINS" artifacts put tree --state "$STATE")
    [[ $name == store:* ]]
    "$MAINS" artifacts get "$name" back --state "$STATE"
    diff -r tree back
    for bad in store:1 "store:$(printf '0%.0s' {1..64})" 77777; do
        run "$MAINS" artifacts get "$bad" nowhere --state "$STATE"
        [ "$status" -eq 1 ]
        [ "${#lines[@]}" -eq 1 ]
        [ ! -e nowhere ]
    done
}

@test "inputs: uploaded paths, store:, artifact:, addresses with a digest, a site's own path" {
    cd "$BATS_TEST_TMPDIR"
    mkdir -p conf/deep web && echo one >conf/deep/one && echo two >two.txt && echo web >web/w.txt
    python3 -u -m http.server --bind 127.0.0.1 --directory web 0 >web.log 2>&1 3>&- &
    server=$!
    port_told() { grep -q 'port [0-9]' web.log; }
    wait_for 10 port_told
    port=$(grep -o 'port [0-9]*' web.log | cut -d' ' -f2)
    printf 'outputs: [res]\nrun: mkdir res; echo left >res/l\n' >first.yaml
    first=$("$MAINS" submit --state "$STATE" --site west --json first.yaml | jq -r .id)
    name=$("$MAINS" artifacts put conf --state "$STATE")
    cat >job.yaml <<EOF
after: [$first]
inputs:
  - conf
  - {from: two.txt, to: sub/renamed, executable: true}
  - {from: "$name", to: tree}
  - {from: "$name/deep/one", to: one-of-it}
  - {from: "artifact:$first/res/l", to: left}
  - {from: "artifact:$first", to: .}
  - {from: "http://127.0.0.1:$port/w.txt", digest: "sha256:$(sha256sum web/w.txt | cut -d' ' -f1)"}
  - {from: "site:east:$PWD/two.txt", to: of-site}
run: |
  cat conf/deep/one sub/renamed tree/deep/one one-of-it left res/l w.txt of-site | tr '\n' ' '
  [ -x sub/renamed ] && echo "at \$MAINS_SITE"
EOF
    job=$("$MAINS" submit --state "$STATE" --json job.yaml | jq -r .id)
    "$MAINS" wait "$job" --state "$STATE" || "$MAINS" show "$job" --state "$STATE"
    [ "$("$MAINS" logs "$job" --state "$STATE")" = "one two one one left left web two at east" ]
    # What came with a digest is there without its server.
    kill $server
    again=$("$MAINS" rerun -q "$job" --state "$STATE" || :)
    [[ $again == *"left the same"* ]]
}

@test "outputs go to a folder of a site's machine, and the job to that site" {
    cd "$BATS_TEST_TMPDIR"
    mkdir -p kept
    cat >job.yaml <<EOF
outputs: [{from: "*.txt", to: "site:west:$PWD/kept/"}, {from: one.bin, to: "site:west:$PWD/kept/one"}]
run: echo "at \$MAINS_SITE" >a.txt; echo one >one.bin
EOF
    job=$("$MAINS" submit --state "$STATE" --json job.yaml | jq -r .id)
    "$MAINS" wait "$job" --state "$STATE"
    [ "$(cat kept/a.txt)" = "at west" ]
    [ "$(cat kept/one)" = one ]
    "$MAINS" run -q --state "$STATE" --scratch -o "b.txt:site:east:$PWD/kept/b" -- sh -c 'echo "at $MAINS_SITE" >b.txt'
    [ "$(cat kept/b)" = "at east" ]
    for to in site:west:kept "site:west:$PWD/../x" site::/x; do
        printf 'outputs: [{from: a, to: "%s"}]\nrun: "true"\n' "$to" >job.yaml
        run "$MAINS" submit --state "$STATE" job.yaml
        [ "$status" -ne 0 ]
        grep -q "site:NAME:/an/absolute/path" <<<"$output"
    done
    printf 'inputs: [{from: "site:east:%s"}]\noutputs: [{from: a, to: "site:west:/x"}]\nrun: "true"\n' "$PWD/job.yaml" >job.yaml
    run "$MAINS" submit --state "$STATE" job.yaml
    [ "$status" -ne 0 ]
    grep -q "cannot be at east and at another site" <<<"$output"
}

@test "inputs that will not come fail the job in one line" {
    cd "$BATS_TEST_TMPDIR"
    none=store:$(printf '0%.0s' {1..64})
    for from in "$none/x" artifact:99999/x; do
        printf 'inputs: [{from: "%s", to: x}]\nrun: "true"\n' "$from" >job.yaml
        job=$("$MAINS" submit --state "$STATE" --site east --json job.yaml | jq -r .id)
        run "$MAINS" wait "$job" --state "$STATE"
        [ "$status" -ne 0 ]
        "$MAINS" show "$job" --state "$STATE" --json | jq -e '.reason | contains("cannot be fetched")'
    done
    printf 'inputs: [{from: "rclone:x:y", to: x}]\nrun: "true"\n' >job.yaml
    run env PATH="$BATS_TEST_TMPDIR" "$MAINS" submit --state "$STATE" job.yaml
    [ "$status" -eq 1 ]
    [[ $output == *"rclone is not installed here"* ]]
}

# Saves without a rest: a folder of two files, each renamed; and one file, ten times as often.
restless_jobs() {
    cat <<'EOF' >folder.yaml
name: restless
checkpoint: {path: ckpt}
run: |
  n=0; mkdir -p ckpt
  if [ "$MAINS_RESTORED" = 1 ]; then cmp ckpt/a ckpt/b && echo "goes on whole at $(cat ckpt/a)"; exit; fi
  while :; do
    n=$((n + 1)); for f in a b; do echo $n >ckpt.$f && mv ckpt.$f ckpt/$f; done
    sleep 0.25
    while [ -e "$HOLD" ]; do echo $n >"$HOLD"; sleep 0.05; done
  done
EOF
    cat <<'EOF' >file.yaml
name: hasty
checkpoint: {path: one}
run: |
  n=0
  if [ "$MAINS_RESTORED" = 1 ]; then [ "$(wc -l <one)" -eq 20001 ] && echo "goes on whole at $(head -n 1 one)"; exit; fi
  while :; do
    n=$((n + 1)); seq $n $((n + 20000)) >one.new; mv one.new one
    sleep 0.02
  done
EOF
}

@test "what is saved many times a second travels all the same, whole" {
    cd "$BATS_TEST_TMPDIR"
    restless_jobs
    folder=$("$MAINS" submit --state "$STATE" --site east --env=HOLD="$PWD/hold" --json folder.yaml | jq -r .id)
    file=$("$MAINS" submit --state "$STATE" --site east --json file.yaml | jq -r .id)
    for job in "$folder" "$file"; do
        wait_for 60 has_checkpoint "$job"
        wait_for 60 has_other_checkpoint "$job" "$(checkpoint_of "$job")"
        # What a killed job leaves is taken as it is: not between its two files, then.
        touch hold && chmod 666 hold
        [ "$job" != "$folder" ] || wait_for 20 test -s hold
        kill -9 "$(supervisor_of east "$job" 1)"
        "$MAINS" wait "$job" --state "$STATE"
        "$MAINS" logs "$job" --state "$STATE" | grep -q "goes on whole at "
    done
}

# Counts in memory; writes its checkpoint only when it is asked to.
asked_job() {
    cat <<EOF
name: asked
grace: 20s
checkpoint: {path: n, signal: USR1}
run: |
  n=0; [ "\$MAINS_RESTORED" = 1 ] && n=\$(cat n)
  echo "at \$MAINS_SITE from \$n"
  trap 'echo \$n >n.new; mv n.new n' USR1
  while [ ! -e "$1/end" ]; do
    [ -e "$1/step" ] && rm "$1/step" && n=\$((n + 1)) && echo "\$n" >"$1/count"
    sleep 0.05
  done
EOF
}

@test "a job that moves goes on from what it saved when it was asked to stop" {
    asked_job "$BATS_TEST_TMPDIR" >"$BATS_TEST_TMPDIR/job.yaml"
    job=$("$MAINS" submit --state "$STATE" --site east,west --json "$BATS_TEST_TMPDIR/job.yaml" | jq -r .id)
    wait_for 30 job_is "$job" running
    counted() { [ "$(cat "$BATS_TEST_TMPDIR/count" 2>/dev/null)" = "$1" ]; }
    for n in 1 2 3; do
        touch "$BATS_TEST_TMPDIR/step"
        wait_for 30 counted $n
    done
    site=$("$MAINS" show "$job" --state "$STATE" --json | jq -r .allocation.site)
    other=east
    [ "$site" = east ] && other=west
    "$MAINS" move "$job" --to $other --state "$STATE"
    begun() { "$MAINS" logs "$job" --state "$STATE" | grep -q "at $other from 3"; }
    wait_for 60 begun
    touch "$BATS_TEST_TMPDIR/end"
    "$MAINS" wait "$job" --state "$STATE"
}

@test "agent and controller are killed while a job runs; its next checkpoint is stored all the same" {
    steps_job "$BATS_TEST_TMPDIR" >"$BATS_TEST_TMPDIR/job.yaml"
    job=$("$MAINS" submit --state "$STATE" --site east --json "$BATS_TEST_TMPDIR/job.yaml" | jq -r .id)
    wait_for 30 job_is "$job" running
    touch "$BATS_TEST_TMPDIR/step"
    wait_for 30 has_checkpoint "$job"
    first=$(checkpoint_of "$job")
    kill -9 "$(agent_of "$(tr -dc 0-9 <"$WHERE/east/lock")")"
    kill -9 "$(controller_pid)"
    touch "$BATS_TEST_TMPDIR/step"
    wait_for 60 has_other_checkpoint "$job" "$first"
    second=$(checkpoint_of "$job")
    kill -9 "$(supervisor_of east "$job" 1)"
    again() { [ -e "$WHERE/east/agent/attempts/$job.2/run" ]; }
    wait_for 60 again
    [ "$(checkpoint_of "$job")" = "$second" ]
    touch "$BATS_TEST_TMPDIR/end"
    "$MAINS" wait "$job" --state "$STATE"
    [[ $("$MAINS" logs "$job" --state "$STATE") == *"attempt 2 at east begins at 2"* ]]
    [ "$("$MAINS" show "$job" --state "$STATE" --json | jq '.attempts | length')" -eq 2 ]
}

@test "a site puts nothing into other sites' jobs, and nonsense is refused" {
    url=$(endpoint)/api/v1
    pin="sha256//$(jq -r .pin "$STATE/endpoint.json")"
    ask() { curl -sk --pinnedpubkey "$pin" -m 20 -o "$BATS_TEST_TMPDIR/answer" -w '%{http_code}' "$@"; }
    west=(--cert "$WHERE/west/site.crt" --key "$WHERE/west/site.key")
    steps_job "$BATS_TEST_TMPDIR" >"$BATS_TEST_TMPDIR/job.yaml"
    job=$("$MAINS" submit --state "$STATE" --site east --json "$BATS_TEST_TMPDIR/job.yaml" | jq -r .id)
    wait_for 30 job_is "$job" running
    name=$("$MAINS" artifacts put "$BATS_TEST_TMPDIR/job.yaml" --state "$STATE" | cut -d: -f2)
    for kind in checkpoint outputs; do
        said="{\"kind\":\"$kind\",\"job\":$job,\"epoch\":1,\"manifest\":\"$name\",\"saved_ms\":9000000000000}"
        [ "$(ask "${west[@]}" --data "$said" "$url/site-session/stored?site=west")" = 409 ]
        [ "$(ask "${west[@]}" --data "$said" "$url/site-session/stored?site=east")" = 403 ]
        [ "$(ask --data "$said" "$url/site-session/stored?site=west")" = 401 ]
    done
    [ "$(ask "${west[@]}" "$url/site-session/inputs?site=west&job=$job&epoch=1")" = 409 ]
    [ -z "$(checkpoint_of "$job")" ]
    [ "$(ask "${west[@]}" --data '{"kind":"soup"}' "$url/site-session/stored?site=west")" = 400 ]
    [ "$(ask "${west[@]}" --data 'no manifest' -X PUT "$url/store/manifests")" = 400 ]
    [ "$(ask "${west[@]}" --data 'no chunks' "$url/store/chunks")" = 400 ]
    [ "$(ask "${west[@]}" --data 'short' "$url/store/chunks/get")" = 400 ]
    [ "$(ask "${west[@]}" "$url/store/manifests/zz")" = 400 ]
    [ "$(ask "${west[@]}" "$url/store/manifests/$(printf '0%.0s' {1..64})/missing")" = 404 ]
    [ "$(ask --data 'x' "$url/store/chunks")" = 401 ]
    head -c 20000000 /dev/zero >"$BATS_TEST_TMPDIR/big"
    [ "$(ask "${west[@]}" --data-binary @"$BATS_TEST_TMPDIR/big" "$url/store/chunks")" = 413 ]
    # A manifest whose chunks have not come is not taken for a checkpoint, from the right site either.
    east=(--cert "$WHERE/east/site.crt" --key "$WHERE/east/site.key")
    chunk=$(printf 'a%.0s' {1..64})
    printf 'mains-manifest 1\nf 644 5 n\n%s 5\nend 1 1\n' "$chunk" >"$BATS_TEST_TMPDIR/manifest"
    [ "$(ask "${east[@]}" -X PUT --data-binary @"$BATS_TEST_TMPDIR/manifest" "$url/store/manifests")" = 200 ]
    [ "$(jq .missing "$BATS_TEST_TMPDIR/answer")" = 1 ]
    said="{\"kind\":\"checkpoint\",\"job\":$job,\"epoch\":1,\"manifest\":\"$(jq -r .manifest "$BATS_TEST_TMPDIR/answer")\",\"saved_ms\":1}"
    [ "$(ask "${east[@]}" --data "$said" "$url/site-session/stored?site=east")" = 400 ]
    [[ $(cat "$BATS_TEST_TMPDIR/answer") == *"have not come"* ]]
    "$MAINS" cancel -q "$job" --state "$STATE"
}

@test "a store that is full says so, and takes again what it has room for" {
    small=$BATS_TEST_TMPDIR/small/state
    "$MAINS" up --detach --state "$small" --listen 127.0.0.1:0 --store 3MiB --sandbox-off >&2
    head -c 2000000 /dev/urandom >"$BATS_TEST_TMPDIR/one"
    head -c 9000000 /dev/urandom >"$BATS_TEST_TMPDIR/two"
    "$MAINS" artifacts put "$BATS_TEST_TMPDIR/one" --state "$small"
    run "$MAINS" artifacts put "$BATS_TEST_TMPDIR/two" --state "$small"
    "$MAINS" down --state "$small" >/dev/null
    [ "$status" -eq 1 ]
    [ "${#lines[@]}" -eq 1 ]
    [[ $output == *"store is full"* ]]
}

@test "a retry on the same machine finds what the failed attempt saved, in the sandbox as well" {
    home=$BATS_TEST_TMPDIR/home/state
    "$MAINS" up --detach --state "$home" --listen 127.0.0.1:0 >&2
    "$MAINS" token create --role tenant --tenant guests --state "$home" --json | jq -r .token >"$BATS_TEST_TMPDIR/token"
    cat >"$BATS_TEST_TMPDIR/job.yaml" <<'EOF'
retries: 2
checkpoint: {path: deep/ckpt}
inputs: [{content: "7", to: start}]
run: |
  if [ "$MAINS_RESTORED" = 1 ]; then
    [ "$(cat deep/ckpt/n)" = 7 ] && [ -O deep/ckpt/n ] && echo 8 >deep/ckpt/n && echo good; exit
  fi
  mkdir -p deep/ckpt; cp start deep/ckpt/n; exit 3
EOF
    run env MAINS_TOKEN="$(cat "$BATS_TEST_TMPDIR/token")" "$MAINS" run --url "$(jq -r .url "$home/endpoint.json")" "$BATS_TEST_TMPDIR/job.yaml"
    "$MAINS" down --state "$home" --cancel >/dev/null
    [ "$status" -eq 0 ]
    [[ $output == *good* ]]
}

@test "what a site's link may carry is bounded by its owner" {
    cd "$BATS_TEST_TMPDIR"
    "$MAINS" down --state "$WHERE/west" >/dev/null
    echo '{"link_rate": "2MiB"}' >site.json
    "$MAINS" join --state "$WHERE/west" --detach --sandbox-off --config site.json
    wait_for 30 connected west
    # Three at a time, down and up: 18 MB at 2 MiB a second, less what may go at once and be on its way.
    printf 'inputs: [big]\noutputs: [left]\nrun: cksum <big; head -c 3000000 /dev/urandom >left\n' >job.yaml
    jobs=
    began=$(date +%s%N)
    for n in 1 2 3; do
        head -c 3000000 /dev/urandom >big
        cksum <big >sum$n
        jobs="$jobs $("$MAINS" submit --state "$STATE" --site west --json job.yaml | jq -r .id)"
    done
    # shellcheck disable=SC2086
    "$MAINS" wait $jobs --state "$STATE"
    [ $(($(date +%s%N) - began)) -gt 5000000000 ]
    for n in 1 2 3; do
        "$MAINS" logs "$(cut -d' ' -f$((n + 1)) <<<"$jobs")" --state "$STATE" | cmp - sum$n
    done
}
